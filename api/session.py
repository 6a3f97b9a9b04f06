"""Log in, out, and who am I: the cookie that lets a native EventSource in.

The cookie is ``__Host-`` (RFC 6265bis §4.1.3.2): this host only, secure, the whole path; HttpOnly,
so that no script can read the token; SameSite=Strict, so that no other site can use it.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from quart import Blueprint, Response, request

from api.auth import COOKIE, Verifier, foreign, refusal, token_of
from api.keys import Unauthenticated
from api.problem import problem
from livestate.access import Forbidden, Identity

MAX_BODY_BYTES = 16 * 1024
MAX_COOKIE_BYTES = 4096  # name and value; a browser drops a longer one (RFC 6265bis §5.6)


def session_routes(verifier: Verifier) -> Blueprint:
    """``/api/v1/session``: POST ``{"token": …}`` logs in, GET tells who, DELETE logs out."""
    routes = Blueprint("session", __name__)

    @routes.post("/api/v1/session")
    async def login() -> Response:
        if request.mimetype != "application/json":  # a form of another site cannot send this
            return problem(415, "Send application/json.")
        if foreign(request):
            return problem(403, "A page of another site may not log anybody in here.")
        if (request.content_length or MAX_BODY_BYTES + 1) > MAX_BODY_BYTES:
            return problem(413, f"At most {MAX_BODY_BYTES} bytes, with a Content-Length.")
        try:
            token = orjson.loads(await request.get_data())["token"]
            if not isinstance(token, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            return problem(400, 'Send {"token": "…"}.')
        try:
            identity = verifier.verify(token)
        except (Unauthenticated, Forbidden) as error:
            return refusal(error)
        if len(COOKIE) + len(token.encode()) > MAX_COOKIE_BYTES:
            return problem(413, "This token is good, but too long for a browser's cookie.")
        response = _told(identity)
        response.set_cookie(
            COOKIE, token, max_age=max(0, int(identity.expires_at - time.time())), path="/",
            secure=True, httponly=True, samesite="Strict",
        )  # fmt: skip
        return response

    @routes.get("/api/v1/session")
    async def who() -> Response:
        try:
            return _told(verifier.verify(token_of(request)))
        except (Unauthenticated, Forbidden) as error:
            return refusal(error)

    @routes.delete("/api/v1/session")
    async def logout() -> Response:
        if foreign(request):
            return problem(403, "A page of another site may not log anybody out here.")
        response = Response(status=204, headers={"Cache-Control": "no-store"})
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    return routes


def _told(identity: Identity) -> Response:
    told: dict[str, Any] = {"role": identity.role, "expires_at": int(identity.expires_at * 1000)}
    if identity.company_id is not None:
        told["company_id"] = identity.company_id
    return Response(orjson.dumps(told), content_type="application/json",
                    headers={"Cache-Control": "no-store"})  # fmt: skip
