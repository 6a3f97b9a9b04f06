"""Logouts that the provider starts: OpenID Connect Front-Channel and Back-Channel Logout."""

from __future__ import annotations

import logging

from quart import Blueprint, Response, request

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.oidc_login import OidcLogin
from api.http.problem import problem

log = logging.getLogger("livestate.login")


def provider_logout_routes(login: OidcLogin) -> Blueprint:
    routes = Blueprint("provider_logout", __name__)

    @routes.get("/login/frontchannel")
    async def frontchannel() -> Response:
        """Loaded in a frame of the provider's page, without our cookies: it ends the session whose
        id at the provider it names, and nothing else."""
        issuer, sid = request.args.get("iss"), request.args.get("sid")
        if issuer != login.provider.client.issuer or not sid:
            return problem(400, "This needs iss and sid of the identity provider.")
        if not login.searches.take():
            return problem(503, "Too many logouts at once.", {"Retry-After": "1"})
        try:
            await login.sessions.end_matching(sid=sid, subject=None)
        except Unavailable as error:
            return problem(503, error.reason)
        return Response(b"", content_type="text/html; charset=utf-8")

    @routes.post("/login/backchannel")
    async def backchannel() -> Response:
        """The provider itself posts a signed logout token."""
        form = await request.form
        try:
            claims = login.provider.logout_token(form.get("logout_token", ""))
            sid, subject = claims.get("sid"), claims.get("sub")
            ended = await login.sessions.end_matching(
                sid=sid if isinstance(sid, str) else None,
                subject=subject if isinstance(subject, str) else None,
            )
        except Unauthenticated as error:
            return problem(400, error.reason)
        except Unavailable as error:
            return problem(503, error.reason)
        log.info("the provider ended sessions: sessions=%d", ended)
        return Response(b"", headers={"Cache-Control": "no-store"})

    return routes
