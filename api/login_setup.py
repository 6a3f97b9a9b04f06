"""Makes the parts of logins from the settings; a part of the composition root, api.service.

Bearer tokens are always verified. Browsers log in at an identity provider where
``LIVESTATE_OIDC_ISSUER`` is set, else with a token that they paste.
"""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import urlsplit

from redis.asyncio import Redis

from api.auth.claim_paths import ClaimRules, parse_role_map
from api.auth.device_login import DeviceLogin
from api.auth.keys import KeySet
from api.auth.login_flow import LoginFlow
from api.auth.logout import Logouts
from api.auth.oidc import Provider
from api.auth.oidc_login import OidcLogin
from api.auth.oidc_messages import Client
from api.auth.revocation import Revocations
from api.auth.session_store import Cipher, SessionStore
from api.auth.sessions import Sessions
from api.auth.verifier import Verifier
from api.http.address import on_loopback
from api.http.site import Site
from api.settings import Settings
from api.texts import page_response
from livestate.store.keys import Keys


def make_verifier(
    settings: Settings, redis: Redis, keys: Keys
) -> tuple[Verifier, OidcLogin | None]:
    """The verifier of all logins, and the provider's routes where there is one."""
    rules = ClaimRules(
        settings.jwt_role_claim,
        settings.jwt_company_claim,
        parse_role_map(settings.role_map) if settings.role_map else {},
    )
    logouts = Logouts(time.time, redis, keys)
    login = _oidc_login(settings, rules, logouts, redis, keys)
    verifier = Verifier(
        KeySet(settings.jwt_jwks, demo=on_loopback(settings.bind), ca_file=settings.jwt_ca_file),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        rules=rules,
        revocations=Revocations(settings.revoked),
        logouts=logouts,
        remembered=2 * settings.max_streams,
        sessions=login.sessions if login else None,
        site=site_of(settings),
    )
    return verifier, login


def site_of(settings: Settings) -> Site:
    """How browsers reach the service."""
    origins = settings.cors_origins.split(",") if settings.cors_origins else []
    return Site(urlsplit(settings.public_url or "").path, frozenset(origins))


def _oidc_login(
    settings: Settings, rules: ClaimRules, logouts: Logouts, redis: Redis, keys: Keys
) -> OidcLogin | None:
    if settings.oidc_issuer is None:
        return None
    if not (settings.oidc_client_id and settings.public_url and settings.session_key):
        raise ValueError("LIVESTATE_OIDC_ISSUER needs the other settings of docs/login.md")
    client = Client(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        f"{settings.public_url}/login/callback",
        settings.oidc_scopes,
    )
    provider = Provider(client, ca_file=settings.jwt_ca_file)
    cipher = Cipher(settings.session_key)
    sessions = Sessions(
        provider,
        rules,
        SessionStore(redis, cipher, keys),
        logouts,
        clock=time.time,
        seconds=settings.session_days * 86_400,
        grace_seconds=settings.oidc_grace_seconds,
    )
    return OidcLogin(
        provider,
        sessions,
        LoginFlow(cipher, time.time),
        DeviceLogin(provider, time.time),
        time.time,
        settings.public_url,
        partial(page_response, "device.html"),
        site_of(settings),
    )
