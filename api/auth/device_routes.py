"""``/login/device``: logs a wall display in by a code, confirmed on a phone (RFC 8628)."""

from __future__ import annotations

from quart import Blueprint, Response, request

from api.auth.claims import Unavailable
from api.auth.oidc_login import FAILED, OidcLogin, json_response, refusal_of
from api.auth.oidc_messages import ProviderRefused, Tokens
from api.auth.verifier import foreign
from api.http.problem import problem

_FOREIGN = "A page of another site may not log anybody in here."
_LATER = {"Retry-After": "10"}


def device_routes(login: OidcLogin) -> Blueprint:
    routes = Blueprint("device", __name__)

    @routes.get("/login/device")
    async def page() -> Response:
        return login.device_page()

    @routes.post("/login/device")
    async def begin() -> Response:
        if foreign(request):
            return problem(403, _FOREIGN)
        if not login.logins.take():
            return problem(503, "Too many logins at once.", _LATER)
        try:
            pending, shown = await login.device.begin(request.args.get("next"))
        except (Unavailable, ProviderRefused) as error:
            return problem(503, f"No code can be had now: {error}", _LATER)
        response = json_response(shown.as_json())
        login.set_pending(response, pending)
        return response

    @routes.post("/login/device/poll")
    async def poll() -> Response:
        if foreign(request):
            return problem(403, _FOREIGN)
        try:
            pending = login.flow.opened(login.pending_cookie())
            if not login.logins.take():
                return problem(503, "Too many logins at once.", _LATER)
            found = await login.device.poll(pending)
            if isinstance(found, Tokens):
                return await login.complete(found, json_response({"next": pending.next}))
        except FAILED as error:
            status, reason = refusal_of(error)
            return problem(status, reason, _LATER if status == 503 else None)
        response = json_response({"interval": found.interval}, 202)
        login.set_pending(response, found)
        return response

    return routes
