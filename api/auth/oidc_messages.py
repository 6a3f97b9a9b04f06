"""What passes between the service and an identity provider: its client, tokens and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from livestate.contract.errors import LivestateError

_REFUSALS: Final = frozenset({
    "invalid_grant", "access_denied", "login_required", "interaction_required", "consent_required",
    "account_selection_required",
})  # fmt: skip


class ProviderRefused(LivestateError):
    """The provider refused a request; ``error`` is its code (RFC 6749 §5.2)."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.error = error

    @property
    def final(self) -> bool:
        return self.error in _REFUSALS


@dataclass(frozen=True, slots=True)
class Client:
    """This service as a client of the provider. Without a secret it is public, with PKCE."""

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str
    scopes: str = "openid profile offline_access"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A verified response of the token endpoint. ``claims``: those of the ID token, and those that
    it lacks from an access token that is a JWT of the same provider."""

    claims: Mapping[str, Any]
    access_token: str
    refresh_token: str | None
    id_token: str | None
    expires_at: float  # seconds since the epoch
