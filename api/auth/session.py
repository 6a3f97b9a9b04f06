"""``/api/v1/session``: login, logout, and the cookie that a native EventSource sends.

The cookie is ``__Host-`` (RFC 6265bis §4.1.3.2): this host only, secure, the whole path; below a
path it is ``__Secure-`` (:mod:`api.http.site`). HttpOnly, so that no script can read the token;
SameSite=Strict, so that no other site can use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import orjson
from quart import Blueprint, Response, request

from api.auth.claims import LONGEST_SECONDS, Unauthenticated
from api.auth.session_entry import is_session
from api.auth.verifier import Verifier, bearer_of, foreign, refusal
from api.http.problem import problem
from api.http.site import Site
from livestate.state.access import Forbidden, Identity

MAX_BODY_BYTES = 16 * 1024
MAX_COOKIE_BYTES = 4096  # name and value; a browser drops a longer one (RFC 6265bis §5.6)


def session_routes(
    verifier: Verifier,
    at_provider: Callable[[str | None], str | None] | None = None,
    sending_seconds: Callable[[str, str], float | None] | None = None,
) -> Blueprint:
    """``/api/v1/session``: POST logs in, GET tells who, DELETE logs out. ``at_provider`` gives the
    address that ends the provider's session of an ID token. ``sending_seconds`` gives how long
    the stream of a subject's page (by its ``reader``) has been open."""
    routes = Blueprint("session", __name__)

    @routes.post("/api/v1/session")
    async def login() -> Response:
        return await _log_in(verifier)

    @routes.get("/api/v1/session")
    async def who() -> Response:
        """With ``reader`` also for how many seconds the service has been sending to the stream of
        that page: one that receives nothing learns that something between holds it back."""
        try:
            identity = verifier.verify(verifier.token_of(request))
        except (Unauthenticated, Forbidden) as error:
            return refusal(error)
        reader, seconds = request.args.get("reader"), None
        if reader is not None and sending_seconds is not None:
            seconds = sending_seconds(identity.subject, reader)
        return _session_document(identity, seconds)

    @routes.delete("/api/v1/session")
    async def logout() -> Response:
        if foreign(request):
            return problem(403, "A page of another site may not log anybody out here.")
        elsewhere = None
        with contextlib.suppress(Unauthenticated):
            token = verifier.token_of(request)
            if verifier.sessions is not None and is_session(token):
                id_token = await verifier.sessions.end(token)
                elsewhere = at_provider(id_token) if at_provider is not None else None
            else:
                verifier.log_out(token)
        return _logged_out(verifier.site, elsewhere)

    return routes


async def _log_in(verifier: Verifier) -> Response:
    """By ``Authorization: Bearer`` without a body, which the proxy need not wait for, or by a
    JSON body. A page of another site can send neither without CORS."""
    bodiless = not request.mimetype and not request.content_length
    try:
        by_header = bodiless and bearer_of(request) is not None
    except Unauthenticated as error:
        return refusal(error)
    if not by_header and request.mimetype != "application/json":
        return problem(415, "Send application/json, or an Authorization header and no body.")
    if foreign(request):
        return problem(403, "A page of another site may not log anybody in here.")
    if not by_header and (request.content_length or 0) > MAX_BODY_BYTES:
        return problem(413, f"At most {MAX_BODY_BYTES} bytes.")
    try:
        token = verifier.token_of(request) if by_header else _token_in(await request.get_data())
        identity = verifier.verify(token)
    except (ValueError, KeyError, TypeError):
        return problem(400, 'Send {"token": "…"}.')
    except (Unauthenticated, Forbidden) as error:
        return refusal(error)
    if len(verifier.site.login_cookie) + len(token.encode()) > MAX_COOKIE_BYTES:
        return problem(413, "This token is good, but too long for a browser's cookie.")
    response = _session_document(identity)
    set_login_cookie(response, verifier.site, token, identity.expires_at - verifier.now())
    return response


def _logged_out(site: Site, elsewhere: str | None) -> Response:
    """``elsewhere``: the address at which the browser also ends its session at the provider."""
    if elsewhere is None:
        response = Response(status=204, headers={"Cache-Control": "no-store"})
    else:
        response = Response(
            orjson.dumps({"end_session": elsewhere}),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )
    response.delete_cookie(
        site.login_cookie,
        path=site.cookie_path,
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    return response


def _token_in(body: str | bytes) -> str:
    token = orjson.loads(body)["token"]
    if not isinstance(token, str):
        raise TypeError
    return token


def set_login_cookie(response: Response, site: Site, value: str, seconds: float) -> None:
    """Log the browser in. The cookie lasts as long as its login, at most 400 days."""
    response.set_cookie(
        site.login_cookie,
        value,
        max_age=max(0, min(int(seconds), LONGEST_SECONDS)),
        path=site.cookie_path,
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def _session_document(identity: Identity, sending_seconds: float | None = None) -> Response:
    claims: dict[str, Any] = {
        "role": identity.role,
        "subject": identity.subject,
        "expires_at": int(identity.expires_at * 1000),
    }
    if identity.company_id is not None:
        claims["company_id"] = identity.company_id
    if sending_seconds is not None:
        claims["sending_seconds"] = round(sending_seconds, 1)
    return Response(
        orjson.dumps(claims), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
