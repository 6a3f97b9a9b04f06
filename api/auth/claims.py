"""Checks a token's header and claims, beside its signature (RFC 7519, 8725, 9068). Pure: the time
is an argument, in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from livestate.contract.errors import LivestateError

LEEWAY_SECONDS: Final = 5  # two clocks that NTP keeps
# The longest login. Browsers keep no cookie longer (RFC 6265bis §5.5). A later expiry is a mistake:
# milliseconds, or a token that only the list of revocations can end.
LONGEST_SECONDS: Final = 400 * 86_400
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
# Some providers repeat the kind of a token in a claim `typ`, as Keycloak does.
_ACCESS: Final = frozenset({"bearer", "access", "access_token", *_TYPES})


class Unavailable(LivestateError):
    """A login cannot be verified now, for a temporary reason. The response is 503, or a stream's
    ``goodbye starting``; 401 would sign a dashboard out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unauthenticated(LivestateError):
    """Not a valid login; ``reason`` is safe to show and never repeats the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_header(header: Mapping[str, Any]) -> None:
    """Check a token's header, before a key is searched. Raises :class:`Unauthenticated`."""
    # RFC 7515 §4.1.11: a token with critical headers is refused: none of them is supported here.
    # Keys that a token brings along (jwk, jku, x5u, x5c) are simply never looked at: some providers
    # name the address of their keys in every token.
    if "crit" in header:
        raise Unauthenticated("the token has critical headers")
    # RFC 7797 §6 allows b64 only among the critical ones; `zip` and `enc` are those of an encrypted
    # token (RFC 7516 §4.1), and cty says that there is a token within (RFC 7519 §5.2).
    for name in ("b64", "zip", "enc"):
        if name in header:
            raise Unauthenticated(f"the header {name!r} is not that of a signed token")
    if str(header.get("cty", "")).lower() in _TYPES:
        raise Unauthenticated("the token holds another token")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise Unauthenticated("the token is of another type")
    kid = header.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= 256):
        raise Unauthenticated("no key of ours signed this token")


def check_claims(claims: Mapping[str, Any], now: float) -> None:
    """Check signed claims, except issuer, audience and rights. Raises :class:`Unauthenticated`."""
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None or now >= expires:
        raise Unauthenticated("the token has expired")
    if expires > now + LONGEST_SECONDS:
        raise Unauthenticated(
            f"the claim 'exp' is more than {LONGEST_SECONDS // 86_400} days ahead: "
            "it is in seconds (RFC 7519 §2), and a login must end"
        )
    if begins is not None and begins > now + LEEWAY_SECONDS:
        raise Unauthenticated("the token is not valid yet")
    if issued is not None and issued > now + LEEWAY_SECONDS:
        raise Unauthenticated("the token was issued in the future: compare the clocks")
    for name in ("sub", "jti"):
        _nameable(claims, name)
    if claims.get("sub") is None:
        raise Unauthenticated("the token has no 'sub', which limits and revocations need")
    _access_token(claims)


def _access_token(claims: Mapping[str, Any]) -> None:
    """An ID token proves a login at another client and grants nothing here; logout and security
    event tokens grant nothing either. RFC 8725 §3.12: kinds of tokens are kept apart."""
    kind = claims.get("typ")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _ACCESS):
        raise Unauthenticated("the claim 'typ' is not that of an access token")
    # A nonce says nothing: Keycloak puts one into access tokens too.
    hashed = any(name in claims for name in ("at_hash", "c_hash", "s_hash"))
    used_as = claims.get("token_use")  # Amazon Cognito says it there: "id" or "access"
    if hashed or used_as not in (None, "access"):
        raise Unauthenticated("an ID token is no access token")
    if "events" in claims:  # RFC 8417, OpenID Connect Back-Channel Logout §2.4
        raise Unauthenticated("an event token is no access token")
    if claims.get("cnf") is not None:  # RFC 9449 §7.2, RFC 8705 §3: never as a plain bearer token
        raise Unauthenticated("the token is bound to a key, and such a proof is not taken here")


def _nameable(claims: Mapping[str, Any], name: str) -> None:
    """The list of revocations has one ``sub`` or ``jti`` a line. A value that does not fit on a
    line could never be revoked, so it is refused."""
    value = claims.get(name)
    if value is not None and not (
        isinstance(value, str) and value and value.isprintable() and value == value.strip()
    ):
        raise Unauthenticated(f"the claim {name!r} is no line of text")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(f"the claim {name!r} is not a number")
    if not 0 <= value < 2**53:  # nor is it a NaN; as a float it may be too large
        raise Unauthenticated(f"the claim {name!r} is out of range")
    return float(value)
