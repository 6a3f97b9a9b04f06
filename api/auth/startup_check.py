"""Checks the settings of logins once, before the service starts.

The start is refused if the list of revocations cannot be read (revoked logins would be let in), or
if the demo key would be accepted on an address that other machines can reach.
"""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import urlsplit

from api.auth import demo_key
from api.auth.keys import KeySet
from api.auth.revocation import Revocations, RevocationsUnreadable
from api.http.address import on_loopback

log = logging.getLogger("livestate.logins")

WARNING: Final = (
    "logins are signed with the demo key: any user who can read its directory can log in with any "
    "role; use your identity provider's keys for anything but a trial on one machine"
)
PLAIN_HTTP: Final = (
    "browsers keep the login cookie over HTTPS or on localhost only. Put a TLS proxy in front and "
    "set LIVESTATE_PUBLIC_URL to its https:// address (docs/proxies.md); programs with a bearer "
    "token need neither"
)


class StartRefused(Exception):
    """The service must not start with these settings; says why and what to do."""


def plain_http(bind: str, public_url: str | None) -> str | None:
    """Why browsers may be unable to log in: their address of the page is plain HTTP, or may be. A
    browser keeps a ``Secure`` cookie from HTTPS and from localhost only."""
    if public_url is not None:
        parts = urlsplit(public_url)
        if parts.scheme == "https" or on_loopback(f"{parts.hostname}:0"):
            return None
        return f"LIVESTATE_PUBLIC_URL is {public_url}: {PLAIN_HTTP}"
    if on_loopback(bind):
        return None
    return f"LIVESTATE_BIND {bind} is plain HTTP, and no LIVESTATE_PUBLIC_URL is set: {PLAIN_HTTP}"


async def check(
    bind: str, jwks: str | None, issuer: str, revoked: str | None, public_url: str | None = None
) -> None:
    """Check the settings of logins. Raises :class:`StartRefused`."""
    try:
        await Revocations(revoked).refresh()
    except RevocationsUnreadable as error:
        raise StartRefused(
            f"LIVESTATE_REVOKED: {error}. It is a UTF-8 text file, which may be empty; "
            "without it no login can be revoked"
        ) from error
    demo = jwks is not None and await _demo(jwks, issuer)
    if demo and not on_loopback(bind):
        raise StartRefused(
            f"LIVESTATE_BIND {bind} can be reached from other machines, and logins are signed with "
            "the demo key. Set LIVESTATE_JWT_JWKS and LIVESTATE_JWT_ISSUER to your identity "
            "provider's, or bind 127.0.0.1"
        )
    if demo:
        log.warning(WARNING)
    if (why := plain_http(bind, public_url)) is not None:
        log.warning("browsers may be unable to log in: %s", why)


async def _demo(jwks: str, issuer: str) -> bool:
    if issuer == demo_key.ISSUER:
        return True
    keys = KeySet(jwks)
    try:
        await keys.refresh()
    except (OSError, ValueError):
        return False  # the service logs this and goes on trying; it accepts no demo key then
    return any(demo_key.is_demo(key) for key in keys.keys)
