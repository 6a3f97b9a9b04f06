"""Dashboards that outlive what serves them: light streams that come back as EventSource does, and
note what they were sent. For :mod:`bench.takeover`.

A :class:`Wall` reads positions and names of events and decodes nothing, so that a thousand of them
cost little; one with a ``fold`` also folds what it is sent, and so knows whether it is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from random import Random
from typing import Final

from livestate.client import Fold, Parser
from livestate.client.paths import STREAM_PATH

_ID: Final = re.compile(rb"^id: (\S+)", re.M)
_RETRY: Final = re.compile(rb"^retry: (\d+)", re.M)
_STALE: Final = re.compile(rb'"source":"(\w+)"')
_REFUSED_SECONDS: Final = 0.2  # until the next attempt where no server listens


class Wall:
    """One dashboard. ``address`` is asked for before each attempt, as a proxy would choose."""

    def __init__(
        self, address: Callable[[], tuple[str, int]], token: str, fold: Fold | None, seed: int
    ) -> None:
        self.fold = fold
        self.last_id = b""
        self.heard_at = 0.0  # the last frame
        self.back_at = 0.0  # the first frame of the connection of now
        self.silence = 0.0  # the longest time between two frames
        self.named_at = 0.0  # the first frame of the numbering of now
        self.stale_at: float | None = None
        self.stale_seconds = 0.0  # the longest time for which "stale" was shown
        self.snapshots = 0
        self.connects = 0
        self._address, self._token, self._chance = address, token, Random(seed)
        self._retry = 1.0

    @property
    def numbering(self) -> bytes:
        return self.last_id.rpartition(b"-")[0]

    def forget(self) -> None:
        """Count from here on."""
        self.snapshots = self.connects = 0
        self.named_at = self.stale_seconds = self.silence = 0.0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await self._stream()
                await asyncio.sleep(self._retry * (0.5 + self._chance.random() / 2))
                continue
            await asyncio.sleep(_REFUSED_SECONDS)

    async def _stream(self) -> None:
        host, port = self._address()
        reader, writer = await asyncio.open_connection(host, port, limit=2**18)
        try:
            self.connects += 1
            self.back_at = 0.0
            position = b"Last-Event-ID: %b\r\n" % self.last_id if self.last_id else b""
            writer.write(
                f"GET {STREAM_PATH} HTTP/1.1\r\nHost: {host}\r\n"
                f"Authorization: Bearer {self._token}\r\n".encode()
                + position
                + b"\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise SystemExit(f"a client was refused: {head[:80]!r}")
            parser, rest = Parser(), b""
            while (size := int(await reader.readuntil(b"\r\n"), 16)) != 0:
                piece = (await reader.readexactly(size + 2))[:-2]
                if self.fold is not None:
                    for event in parser.feed(piece):
                        self.fold.fold(event)
                whole, _, rest = (rest + piece).rpartition(b"\n\n")
                if whole:
                    self._note(whole)
        finally:
            writer.transport.abort()

    def _note(self, text: bytes) -> None:
        now = time.monotonic()
        if self.heard_at:
            self.silence = max(self.silence, now - self.heard_at)
        self.heard_at, self.back_at = now, self.back_at or now
        self.snapshots += text.count(b"event: snapshot\n")
        for retry in _RETRY.findall(text):
            self._retry = int(retry) / 1000
        for source in _STALE.findall(text):
            if source == b"live":
                self.live(now)
            elif self.stale_at is None:
                self.stale_at = now
        found = _ID.findall(text)
        if found:
            before, self.last_id = self.numbering, found[-1]
            if self.numbering != before:
                self.named_at = now

    def live(self, now: float) -> None:
        """Whatever was stale is not any more."""
        if self.stale_at is not None:
            self.stale_seconds = max(self.stale_seconds, now - self.stale_at)
            self.stale_at = None

    def shows(self) -> dict[str, str]:
        """Call-ID → state, of a wall that folds."""
        assert self.fold is not None
        return {one["call_id"]: one["state"] for one in self.fold.calls.values()}
