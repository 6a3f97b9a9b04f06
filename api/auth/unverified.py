"""Checks a token before its signature.

A signature costs 100 to 200 µs, and PyJWT looks at every character of a token in Python, more than
once: at 400 forged tokens of 5 KB a second that fills a core. The checks here run in C and refuse
tokens that no signature could make valid. ``Verifier`` still checks the signature and every claim
of the others.

:class:`Refusals` remembers the digests of tokens that were refused. A refusal belongs to exactly
these bytes and not to an address, so a colleague behind the same NAT is not affected.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from typing import Any, Final, NamedTuple

import orjson

from api.auth.claims import Unauthenticated

# RFC 7515 §3.1: three parts of base64url. A few issuers pad (PyJWT accepts that too).
_SHAPE: Final = re.compile(
    r"([A-Za-z0-9_-]{2,2048}={0,2})\.([A-Za-z0-9_-]{2,8192}={0,2})\.[A-Za-z0-9_-]{2,2048}={0,2}"
)
REMEMBERED: Final = 4_096  # refusals: 32 bytes and a reason each, below 1 MB
REMEMBERED_SECONDS: Final = 10.0


class Claimed(NamedTuple):
    """Header and claims of a token whose signature is not verified."""

    header: dict[str, Any]
    claims: dict[str, Any]


def read(token: str) -> Claimed:
    """Header and claims without a look at the signature. Raises
    :class:`~api.auth.claims.Unauthenticated` for what is no JWT."""
    found = _SHAPE.fullmatch(token)
    if found is None:
        raise Unauthenticated("not a JWT")
    return Claimed(_object(found[1]), _object(found[2]))


def check(token: Claimed, *, issuer: str, audience: str, now: float) -> None:
    """Refuse a token that no signature could make valid. Raises
    :class:`~api.auth.claims.Unauthenticated`."""
    claims = token.claims
    expires = claims.get("exp")
    if isinstance(expires, int | float) and not isinstance(expires, bool) and expires <= now:
        raise Unauthenticated("the token has expired")
    if claims.get("iss") != issuer:
        raise Unauthenticated("the token is of another issuer")
    meant_for = claims.get("aud")
    if meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        raise Unauthenticated("the token is for another audience")


def _object(part: str) -> dict[str, Any]:
    try:
        found = orjson.loads(
            urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4))
        )
    except (binascii.Error, ValueError):
        raise Unauthenticated("not a JWT") from None
    if not isinstance(found, dict):
        raise Unauthenticated("not a JWT")
    return found


def check_names(token: str) -> None:
    """Refuse a header or claims in which a name stands twice: parsers differ in which one they take
    (RFC 7515 §4, RFC 7519 §4). Called for tokens with a good signature, because it is slow. Raises
    :class:`~api.auth.claims.Unauthenticated`."""
    for part in token.split(".")[:2]:
        try:
            json.loads(
                urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)),
                object_pairs_hook=_named_once,
            )
        except (ValueError, RecursionError):
            raise Unauthenticated("not a JWT") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unauthenticated("a name stands twice in the token")
    return found


class Refusals:
    """Tokens that were refused a moment ago, by digest; the oldest is forgotten first."""

    def __init__(self, most: int = REMEMBERED, seconds: float = REMEMBERED_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._known: OrderedDict[bytes, tuple[float, int, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def check(self, digest: bytes, version: int, now: float) -> None:
        """Raise :class:`~api.auth.claims.Unauthenticated` again for a token refused under the same
        keys (``version``) less than ten seconds before ``now``."""
        until, refused_by, reason = self._known.get(digest, (0.0, -1, ""))
        if now < until <= now + self._seconds and refused_by == version:
            raise Unauthenticated(reason)

    def note(self, digest: bytes, version: int, now: float, refused: Unauthenticated) -> None:
        self._known[digest] = (now + self._seconds, version, refused.reason)
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
