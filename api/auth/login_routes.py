"""``/login`` where browsers log in at an identity provider.

``GET /login`` sends the browser to the provider, ``GET /login/callback`` brings it back and begins
a session. Wall displays use :mod:`api.auth.device_routes`.
"""

from __future__ import annotations

import html
import logging
from typing import Final
from urllib.parse import quote

from quart import Blueprint, Response, request

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.login_flow import page_to_return_to
from api.auth.oidc_login import FAILED, OidcLogin, refusal_of
from api.auth.oidc_messages import ProviderRefused, Tokens
from api.http.site import relative

log = logging.getLogger("livestate.login")

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Log in · Live calls</title>
  <link rel="icon" href="%(root)sstatic/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="%(root)sstatic/styles/base.css">
  <link rel="stylesheet" href="%(root)sstatic/styles/pages.css">
</head>
<body class="login">
  <main>
  <h1>You are not logged in</h1>
  <p role="alert">%(reason)s</p>
  <p><a class="button" href="%(root)slogin?next=%(next)s">Log in again</a></p>
  </main>
</body>
</html>
"""


def login_routes(login: OidcLogin) -> Blueprint:
    routes = Blueprint("oidc", __name__)

    @routes.get("/login")
    async def begin() -> Response:
        back_to = page_to_return_to(request.args.get("next"))
        wall = "wall=1" in back_to and "here" not in request.args
        if wall and login.device.supported:
            return _redirect(relative(request, f"/login/device?next={quote(back_to, safe='')}"))
        pending = login.flow.begin(back_to)
        try:
            where = login.provider.authorization_url(
                state=pending.state, nonce=pending.nonce, verifier=pending.verifier
            )
        except Unavailable as error:
            return _failed(503, error.reason, back_to)
        response = _redirect(where)
        login.set_pending(response, pending)
        return response

    @routes.get("/login/callback")
    async def come_back() -> Response:
        back_to = page_to_return_to(None)
        try:
            pending = login.flow.returned(login.pending_cookie(), request.args.get("state"))
            back_to = pending.next
            _check_callback(login.provider.client.issuer)
            if not login.logins.take():
                return _failed(503, "too many logins at once: try again in a moment", back_to)
            tokens: Tokens = await login.provider.redeem(
                request.args.get("code", ""), nonce=pending.nonce, verifier=pending.verifier
            )
            return await login.complete(tokens, _redirect(relative(request, back_to)))
        except FAILED as error:
            if isinstance(error, ProviderRefused):
                log.warning("the provider refused a login: %s", error)
            return _failed(*refusal_of(error), back_to)

    return routes


def _check_callback(issuer: str) -> None:
    """Raises Unauthenticated if the callback comes from another provider (RFC 9207), and
    ProviderRefused if it carries an error (RFC 6749 §4.1.2.1)."""
    named = request.args.get("iss")
    if named is not None and named != issuer:
        raise Unauthenticated("the answer is of another provider: begin again")
    if "error" in request.args:
        raise ProviderRefused(
            request.args["error"][:100], request.args.get("error_description", "")[:300]
        )


def _redirect(where: str) -> Response:
    return Response(status=303, headers={"Location": where, "Cache-Control": "no-store"})


def _failed(status: int, reason: str, back_to: str) -> Response:
    text = html.escape(f"{reason[:1].upper()}{reason[1:]}.".replace("..", "."))
    page = _PAGE % {
        "root": relative(request, "/"),
        "reason": text,
        "next": quote(back_to, safe=""),
    }
    return Response(page, status, content_type="text/html; charset=utf-8")
