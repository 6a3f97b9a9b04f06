"""A login at an identity provider, for the routes: its parts, its cookies and its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson
from quart import Response, request

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.device_login import DeviceLogin
from api.auth.login_flow import LOGIN_SECONDS, START, Budget, LoginFlow, Pending
from api.auth.oidc import Provider
from api.auth.oidc_messages import ProviderRefused, Tokens
from api.auth.session import set_login_cookie
from api.auth.sessions import Sessions
from api.http.headers import cookies
from api.http.site import Site
from livestate.state.access import Forbidden


@dataclass(frozen=True, slots=True)
class OidcLogin:
    """The parts of a login that the routes use."""

    provider: Provider
    sessions: Sessions
    flow: LoginFlow
    device: DeviceLogin
    clock: Callable[[], float]  # seconds since the Unix epoch
    public_url: str
    device_page: Callable[[], Response]
    site: Site
    # A shift that logs in within the same minute fits into the burst.
    logins: Budget = field(default_factory=lambda: Budget(10, 100, time.monotonic))
    searches: Budget = field(default_factory=lambda: Budget(1, 20, time.monotonic))

    def status(self) -> dict[str, Any]:
        """For ``/statusz``."""
        return {
            "known": len(self.sessions),
            "refreshes": dict(self.sessions.refreshes),
            "trouble": self.sessions.trouble,
            "provider_trouble": self.provider.trouble,
            "provider_keys": len(self.provider.keys.keys),
            "provider_keys_trouble": self.provider.keys.trouble,
        }

    def at_provider(self, id_token: str | None) -> str | None:
        """The address at which the browser also ends its session at the provider (OpenID Connect
        RP-Initiated Logout §2); None if the provider has no such page."""
        address = self.provider.endpoint("end_session_endpoint")
        if address is None or id_token is None:
            return None
        query = {
            "id_token_hint": id_token,
            "client_id": self.provider.client.client_id,
            "post_logout_redirect_uri": f"{self.public_url}{START}",
        }
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    async def complete(self, tokens: Tokens, response: Response) -> Response:
        """Begin the session of ``tokens``, and add its cookie to ``response``."""
        cookie, identity = await self.sessions.begin(tokens)
        set_login_cookie(response, self.site, cookie, identity.expires_at - self.clock())
        response.delete_cookie(
            self.site.pending_cookie,
            path=self.site.cookie_path,
            secure=True,
            httponly=True,
            samesite="Lax",
        )
        return response

    def pending_cookie(self) -> str | None:
        """The request's cookie of a login under way; None if there is none or more than one."""
        found = cookies(request.headers.getlist("Cookie"), self.site.pending_cookie)
        return found[0] if len(found) == 1 else None

    def set_pending(self, response: Response, pending: Pending) -> None:
        response.set_cookie(
            self.site.pending_cookie,
            self.flow.sealed(pending),
            max_age=LOGIN_SECONDS,
            path=self.site.cookie_path,
            secure=True,
            httponly=True,
            samesite="Lax",
        )


def refusal_of(error: Exception) -> tuple[int, str]:
    """Status and reason of a failed login, for a person. Other errors are raised again."""
    if isinstance(error, Unauthenticated | Forbidden):
        return 403, error.reason
    if isinstance(error, ProviderRefused):
        return 403, f"The identity provider refused: {error}"
    if isinstance(error, Unavailable):
        return 503, error.reason
    raise error


FAILED = (Unauthenticated, Forbidden, ProviderRefused, Unavailable)


def json_response(value: Any, status: int = 200) -> Response:
    return Response(
        orjson.dumps(value), status, {"Cache-Control": "no-store"}, content_type="application/json"
    )
