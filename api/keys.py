"""The operator's keys and revocations: read in the background, never because of a token.

Without keys nobody gets in; a source that fails keeps the last good ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jwt
import orjson
from jwt import PyJWK

from livestate.access import Identity
from livestate.errors import LivestateError

log = logging.getLogger("livestate.keys")

CHECK_SECONDS: Final = 1.0  # of key files and revocations: a stream ends within 5 s of them
FETCH_SECONDS: Final = 300.0
MAX_JWKS_BYTES: Final = 256 * 1024
# RFC 8725 §3.1: which algorithm a key may be used with is ours to say, not the token's. No HS*:
# who holds a public key must not be able to sign with it.
ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA"}),
}


class Unauthenticated(LivestateError):
    """Not a valid login; ``reason`` is safe to show and never repeats the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeySet:
    """The operator's keys, from a file or a URL, kept fresh by ``run``; a failure keeps the last
    good ones. ``version`` grows when they change."""

    def __init__(self, source: str | None) -> None:
        self.version = 0
        self.failures = 0
        self.keys: list[PyJWK] = []
        self._source = source
        self._raw: bytes | None = None

    @property
    def remote(self) -> bool:
        return self._source is not None and urlsplit(self._source).scheme in ("http", "https")

    async def refresh(self) -> None:
        """Read the source once. Raises OSError or ValueError."""
        if self._source is None:
            return
        if self.remote:
            raw = await self._fetch(self._source)
        else:
            raw = await asyncio.to_thread(Path(self._source).read_bytes)
        if raw == self._raw:
            return
        if len(raw) > MAX_JWKS_BYTES:
            raise ValueError(f"the JWKS has {len(raw)} bytes")
        try:
            found = jwt.PyJWKSet.from_dict(dict(orjson.loads(raw))).keys
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"not a JWKS: {error}") from error
        self.keys = [key for key in found if key.key_type in ALGORITHMS]
        self._raw = raw
        self.version += 1

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            try:
                await self.refresh()
            except (OSError, ValueError) as error:
                self.failures += 1
                if self.failures in (1, 10) or self.failures % 100 == 0:
                    log.error("JWKS: %s; keeping the %d keys we have", error, len(self.keys))
            await asyncio.sleep(FETCH_SECONDS if self.remote and self.keys else CHECK_SECONDS)

    def find(self, kid: object, algorithm: object) -> PyJWK:
        """The one key that a token's header may mean (RFC 8725 §3.1, §3.2)."""
        fitting = [
            key for key in self.keys
            if isinstance(algorithm, str) and algorithm in ALGORITHMS.get(key.key_type or "", ())
            and (kid is None or key.key_id == kid)
        ]  # fmt: skip
        if len(fitting) != 1:
            raise Unauthenticated("no key of ours signed this token")
        return fitting[0]

    @staticmethod
    async def _fetch(url: str) -> bytes:
        import httpx  # pages wait for what a start imports, and most keys are in a file

        try:
            async with (
                httpx.AsyncClient(timeout=5, follow_redirects=False) as client,
                client.stream("GET", url) as response,
            ):
                response.raise_for_status()
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_JWKS_BYTES:
                        raise ValueError("the JWKS is too large")
                return body
        except httpx.HTTPError as error:
            raise OSError(f"{type(error).__name__} {error}") from error


class Revocations:
    """Token ids and subjects that are no longer welcome, from a file of one a line."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self.names: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Read the file anew; a missing one revokes nobody. Raises OSError."""
        if self._path is not None and self._path.exists():
            lines = self._path.read_text().splitlines()
            self.names = frozenset(line.strip() for line in lines if line.strip())

    def __contains__(self, identity: Identity) -> bool:
        return identity.subject in self.names or (identity.token_id or "") in self.names
