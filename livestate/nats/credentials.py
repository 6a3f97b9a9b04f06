"""Reads a credentials file (``nsc generate creds``): the user's JWT and the seed that signs for it.

The dialer reads it before each attempt to connect, so a renewed file takes effect at once. The
error of a bad file says what is wrong with it. nats-py's own reader loops without end over a file
without a JWT, for instance one that is being written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import nkeys
import orjson

from livestate.nats.failure import CredentialsUnusable

MOST_BYTES: Final = 64 * 1024
_JWT: Final = re.compile(rb"-{3,}BEGIN NATS USER JWT-{3,}\s+([\w.=-]+)\s+-{3,}END")
_SEED: Final = re.compile(rb"-{3,}BEGIN USER NKEY SEED-{3,}\s+(SU[A-Z2-7]+)\s+-{3,}END")


@dataclass(frozen=True, slots=True)
class Credentials:
    """``expires_at`` is in seconds since 1970, None if the JWT does not expire."""

    jwt: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    expires_at: int | None

    def expired(self, now: float) -> str | None:
        """A sentence if the JWT has expired: nats-server reports only "Authorization Violation"."""
        if self.expires_at is None or self.expires_at > now:
            return None
        at = datetime.fromtimestamp(self.expires_at, UTC).isoformat()
        return f"the user JWT expired at {at}"

    def signer(self) -> Callable[[str], bytes]:
        """A function for nats-py's ``signature_cb``."""

        def sign(nonce: str) -> bytes:
            pair = nkeys.from_seed(bytearray(self.seed))
            try:
                signature: bytes = pair.sign(nonce.encode())
                return base64.b64encode(signature)
            finally:
                pair.wipe()

        return sign


def read(path: str) -> Credentials:
    """Read the file. Blocks: call it in a thread. Raises :class:`CredentialsUnusable`."""
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES)
    except OSError as error:
        raise CredentialsUnusable(f"credentials file {path}: {error.strerror}") from error
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        missing = "user JWT" if jwt is None else "user seed"
        raise CredentialsUnusable(f"credentials file {path}: it has no {missing}")
    try:
        nkeys.from_seed(bytearray(seed[1])).wipe()
        expires_at = _claims(jwt[1]).get("exp")
    except (nkeys.NkeysError, ValueError, LookupError, AttributeError) as error:
        raise CredentialsUnusable(f"credentials file {path}: its JWT or seed is damaged") from error
    return Credentials(jwt[1], seed[1], expires_at if type(expires_at) is int else None)


def _claims(jwt: bytes) -> dict[str, object]:
    part = jwt.split(b".")[1]
    claims: dict[str, object] = orjson.loads(
        base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    )
    return claims
