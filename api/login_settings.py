"""The settings of logins, a part of all settings (``api/settings.py``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from api.setting_types import (
    ClaimPath,
    Origins,
    PublicUrl,
    RoleMap,
    Scopes,
    SessionKey,
    number,
    url,
)


class LoginSettings(BaseSettings):
    """Bearer tokens, and browsers that log in at an OpenID Connect provider (docs/login.md)."""

    jwt_jwks: str | None = Field(
        None,
        description="Keys that sign logins: a JWKS (RFC 7517) as a file or an http(s) URL. Without "
        "it no login is possible.",
    )
    jwt_issuer: str = Field("livestate-demo", description="`iss` that a token must carry.")
    jwt_audience: str = Field("livestate", description="`aud` that a token must carry.")
    jwt_role_claim: ClaimPath = Field(
        "role",
        description="Claim that holds the role: a name, or a path such as `realm_access.roles`. "
        "`roles[]` is a list.",
    )
    jwt_company_claim: ClaimPath = Field(
        "company_id", description="Claim that holds a user's company, as a name or a path."
    )
    role_map: RoleMap = Field(
        "",
        description="The provider's names of roles, and ours: `noc-team=noc,admins=admin`. Unset, "
        "the provider uses `admin`, `operator`, `noc` and `user`.",
    )
    jwt_ca_file: str | None = Field(
        None,
        description="Certificates (PEM) to trust at the identity provider, instead of the system's "
        "store.",
    )
    revoked: str | None = Field(
        None,
        description="UTF-8 file with one revoked token id (`jti`) or subject (`sub`) per line, "
        "read again when it changes; affected streams end within 5 s. It must exist and may be "
        "empty. If it becomes unreadable, the last good list applies.",
    )
    oidc_issuer: Annotated[str, url("https", "http")] | None = Field(
        None,
        description="OpenID Connect provider at which browsers log in, exactly as it names itself "
        "(docs/login.md). Unset, browsers log in by links with a token.",
    )
    oidc_client_id: str | None = Field(None, description="Client id of livestate at the provider.")
    oidc_client_secret: str | None = Field(
        None, description="Its secret there. Unset for a public client."
    )
    oidc_scopes: Scopes = Field(
        "openid profile offline_access",
        description="Scopes of a login. `offline_access` is left out if the provider does not "
        "support it.",
    )
    oidc_grace_seconds: Annotated[float, number(0, 86_400, "seconds")] = Field(
        3600.0,
        description="How long sessions stay valid beyond their expiry while the provider cannot be "
        "reached.",
    )
    public_url: PublicUrl | None = Field(
        None,
        description="Address of the page for browsers, such as `https://noc.example` or, below a "
        "path, `https://noc.example/live`. Register `<this>/login/callback` at the provider.",
    )
    cors_origins: Origins | None = Field(
        None,
        description="Other origins whose pages may read the API with their user's login: "
        "`https://portal.example,https://wall.example:8443`.",
    )
    session_key: SessionKey | None = Field(
        None,
        description="Encrypts sessions in Redis: at least 32 random characters. Several, separated "
        "by commas, replace a key without a logout: the newest first.",
    )
    session_days: Annotated[float, number(0.01, 400, "days")] = Field(
        30.0,
        description="Longest time that a browser stays logged in, however often its session is "
        "refreshed. Up to 400 for a wall.",
    )
