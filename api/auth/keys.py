"""The operator's keys, read in the background, never from an address in a token. Without keys, no
login is valid; if the source fails, the last good keys stay. A token with an unknown ``kid``
triggers a fetch of the URL, at most every 30 s, so a rotated key is known at once.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from api.auth import demo_key, operator_file
from api.auth.claims import Unauthenticated, Unavailable
from api.auth.jwk import VerificationKey, read
from livestate.process.masking import masked

log = logging.getLogger("livestate.keys")

CHECK_SECONDS: Final = 1.0  # of key files and revocations: a stream ends within 5 s of them
FETCH_SECONDS: Final = 300.0
WAKE_SECONDS: Final = 30.0  # between two fetches that unknown tokens cause
MAX_JWKS_BYTES: Final = 256 * 1024
MOST_CANDIDATES: Final = 4  # keys that one token is tried with


class KeySet:
    """The operator's keys, from a file or a URL, kept fresh by ``run``; a failure keeps the last
    good ones. ``version`` grows when they change. ``demo``: whether the demo key may be one.
    ``ca_file``: certificates to trust at a URL instead of the system's."""

    def __init__(
        self,
        source: str | None,
        *,
        demo: bool = True,
        ca_file: str | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = 0
        self.failures = 0
        self.trouble: str | None = None  # of the last look, without secrets
        self.keys: list[VerificationKey] = []
        self.refused: list[str] = []  # keys of the set that verify nothing, with their reasons
        self.fingerprints: frozenset[bytes] = frozenset()
        self.source = source
        self._demo = demo
        self._ca_file = ca_file
        self._raw: bytes | None = None
        self._steady = steady
        self._fetched_at = -WAKE_SECONDS
        self._awake = asyncio.Event()

    @property
    def remote(self) -> bool:
        return self.source is not None and urlsplit(self.source).scheme in ("http", "https")

    @property
    def has_demo_key(self) -> bool:
        """Whether logins are signed with the demo key: a trial on one machine."""
        return any(demo_key.is_demo(key) for key in self.keys)

    async def refresh(self) -> None:
        """Read the source once. Raises OSError or ValueError."""
        if self.source is None:
            return
        if self.remote:
            self._fetched_at = self._steady()
            raw = await self._fetch(self.source)
        else:
            raw = await asyncio.to_thread(operator_file.read, Path(self.source), MAX_JWKS_BYTES)
        if raw == self._raw:
            return
        found, refused = read(raw.removeprefix(codecs.BOM_UTF8))
        if not self._demo:
            for key in found:
                if demo_key.is_demo(key):
                    refused.append("the demo key: it is for the loopback only")
            found = [key for key in found if not demo_key.is_demo(key)]
        self.keys, self.refused = found, refused
        self.fingerprints = frozenset(key.fingerprint for key in self.keys)
        self._raw = raw
        self.version += 1
        for reason in self.refused:
            log.warning("a key of the JWKS is not used: %s", reason)

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            try:
                await self.refresh()
                self.trouble = None
            except (OSError, ValueError) as error:
                self.failures += 1
                self.trouble = masked(str(error))
                if self.failures in (1, 10) or self.failures % 100 == 0:
                    log.error("JWKS: %s; keeping the %d keys we have", self.trouble, len(self.keys))
            try:
                async with asyncio.timeout(
                    FETCH_SECONDS if self.remote and self.keys else CHECK_SECONDS
                ):
                    await self._awake.wait()
            except TimeoutError:
                pass
            self._awake.clear()

    def find(self, kid: object, algorithm: object) -> list[VerificationKey]:
        """The keys that a token's header may mean (RFC 8725 §3.1, §3.2): those of its ``kid``, else
        those without one, and of its algorithm. Several are tried in turn. Raises
        :class:`~api.auth.claims.Unauthenticated`, or
        :class:`~api.auth.claims.Unavailable` while no key was ever read."""
        if self.source is not None and not self.version:
            raise Unavailable("the keys of the identity provider could not be read yet")
        fitting = [
            key for key in self.keys if isinstance(algorithm, str) and algorithm in key.algorithms
        ]
        named = [key for key in fitting if key.kid == kid] if kid is not None else fitting
        if kid is not None and not any(key.kid == kid for key in self.keys):
            self._wake()
            named = [key for key in fitting if key.kid is None]
        if not named or len(named) > MOST_CANDIDATES:
            raise Unauthenticated("no key of ours signed this token")
        return named

    def _wake(self) -> None:
        if self.remote and self._steady() - self._fetched_at >= WAKE_SECONDS:
            self._fetched_at = self._steady()
            self._awake.set()

    async def _fetch(self, url: str) -> bytes:
        import httpx  # pages wait for what a start imports, and most keys are in a file

        try:
            async with (
                httpx.AsyncClient(
                    timeout=5, follow_redirects=False, verify=trusted(self._ca_file)
                ) as client,
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


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """The certificates of the given file, else of the system's store: it has a company's own
    authority, unlike the list of httpx. Raises OSError.

    They are read again only where they have changed: 140 authorities take 26 ms, for which the
    event loop stands still, and each login asks the provider more than once."""
    store = ssl.get_default_verify_paths()
    read = (ca_file,) if ca_file else (store.cafile, store.capath)
    return _context(ca_file, *(_change(path) for path in read if path))


def _change(path: str) -> tuple[int, int]:
    """Differs where a file was written or replaced."""
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=4)
def _context(ca_file: str | None, *changes: tuple[int, int]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
