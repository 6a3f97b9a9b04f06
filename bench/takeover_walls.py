"""Dashboards that outlive what serves them: light streams that come back as EventSource does, and
note what they were sent. For :mod:`bench.takeover`.

A :class:`Wall` reads positions and names of events and decodes nothing, so that a thousand of them
cost little; one that ``folds`` also folds what it is sent, and so knows whether it is right.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import Final

from bench.takeover_traffic import OTHERS, Shown
from livestate.client import Fold, Parser
from livestate.client.paths import STREAM_PATH

_RETRY: Final = re.compile(rb"^retry: (\d+)", re.M)
_SOURCE: Final = re.compile(rb'"as_of":(\d+)[^\n]*?"source":"(\w+)"')
_REASON: Final = re.compile(rb'^event: goodbye\n(?:id[^\n]*\n)?data: \{"reason":"(\w+)"', re.M)
_REFUSED_SECONDS: Final = 0.2  # until the next attempt where no server listens
_BUFFER_BYTES: Final = 2**18
_READS_SECONDS: Final = 0.3  # of a slow reader, from pause to pause
_SLOW_BUFFER_BYTES: Final = 2**12


@dataclass(frozen=True)
class Kind:
    """What a client may see, what it asks for, and how it reads."""

    company: str | None  # None: all calls
    query: str = ""
    gzip: bool = False
    pause: float = 0.0  # seconds in which a slow reader reads nothing, again and again
    folds: bool = True


LIGHT: Final = Kind("101", folds=False)
LIGHT_ALL: Final = Kind(None, folds=False)
FOLDING: Final = (
    Kind(None), Kind(None, gzip=True), Kind(None), Kind(None, gzip=True),
    Kind(None, gzip=True, pause=1.0),
    Kind(None, "state=held"), Kind(None, "company_id=102", gzip=True),
    Kind(None, "trunk=gw-3"), Kind(None, "state=answered&company_id=101", gzip=True),
    *(Kind(company, gzip=gzip, pause=pause) for company in ("101", *OTHERS)
      for gzip, pause in ((False, 0.0), (True, 0.0), (False, 2.0))),
    Kind("101", "state=held"), Kind("102", "trunk=gw-5", gzip=True), Kind("103", "state=held"),
)  # fmt: skip


@dataclass(eq=False)
class Wall:
    """One dashboard. ``address`` is asked for before each attempt, as a proxy would choose."""

    address: Callable[[], tuple[str, int]]
    token: str
    kind: Kind
    seed: int
    fold: Fold = field(default_factory=Fold)
    wrong: list[str] = field(default_factory=list)
    last_id: bytes = b""
    heard_at: float = 0.0  # the last frame
    back_at: float = 0.0  # the first frame of the connection of now
    silence: float = 0.0  # the longest time between two frames
    silence_was: str = ""  # what happened in it
    named_at: float = 0.0  # the first frame of the numbering of now
    live_as_of: int = 0  # the edge's clock (ms) when it last said live
    claimed_as_of: int = 0  # the same, before the numbering of now
    stale_at: float | None = None
    stale_seconds: float = 0.0  # the longest time for which "stale" was shown
    snapshots: int = 0
    connects: int = 0

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)
        self._retry = 1.0
        self._steps: list[str] = []

    @property
    def numbering(self) -> bytes:
        return self.last_id.rpartition(b"-")[0]

    def forget(self) -> None:
        """Count from here on."""
        self.snapshots = self.connects = 0
        self.named_at = self.stale_seconds = self.silence = 0.0
        self.silence_was = ""

    def _happens(self, what: str) -> None:
        self._steps.append(f"{what} +{time.monotonic() - self.heard_at:.1f} s")

    async def run(self) -> None:
        """Connect, read, come back; for ever."""
        while True:
            pause = _REFUSED_SECONDS
            try:
                await self._stream()
                pause = self._retry * (0.5 + self._chance.random() / 2)
                self._happens(f"ended, back in {pause:.1f} s")
            except (OSError, EOFError) as error:
                self._happens(type(error).__name__)
            await asyncio.sleep(pause)

    async def _stream(self) -> None:
        host, port = self.address()
        line, limit = socket(), _BUFFER_BYTES
        line.setblocking(False)
        if self.kind.pause:  # else the kernel would read on for it
            limit = _SLOW_BUFFER_BYTES
            line.setsockopt(SOL_SOCKET, SO_RCVBUF, limit)
        try:
            await asyncio.get_running_loop().sock_connect(line, (host, port))
        except OSError:
            line.close()
            raise
        reader, writer = await asyncio.open_connection(sock=line, limit=limit)
        try:
            self.connects += 1
            self.back_at = 0.0
            self._happens("connected")
            writer.write(self._request(host))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise SystemExit(f"a client was refused: {head[:80]!r}")
            inflate = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
            parser, rest, resumed = Parser(), b"", 0.0
            while (size := int(await reader.readuntil(b"\r\n"), 16)) != 0:
                piece = (await reader.readexactly(size + 2))[:-2]
                piece = inflate(piece) if self.kind.gzip else piece
                if self.kind.folds:
                    self._take(parser, piece)
                whole, _, rest = (rest + piece).rpartition(b"\n\n")
                if whole:
                    self._note(whole)
                if self.kind.pause and time.monotonic() - resumed > _READS_SECONDS:
                    await asyncio.sleep(self.kind.pause)
                    resumed = time.monotonic()
        finally:
            writer.transport.abort()

    def _request(self, host: str) -> bytes:
        path = STREAM_PATH + (f"?{self.kind.query}" if self.kind.query else "")
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}"]
        lines += ["Accept-Encoding: gzip"] if self.kind.gzip else []
        lines += [f"Last-Event-ID: {self.last_id.decode()}"] if self.last_id else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _take(self, parser: Parser, piece: bytes) -> None:
        """Fold; a call of another company is wrong in the moment it is shown."""
        for event in parser.feed(piece):
            changed = self.fold.fold(event).get("calls", ())
            if self.kind.company is None or event.name == "heartbeat":
                continue
            for key in changed:
                record = self.fold.calls.get(key, {})
                if record.get("company_id", self.kind.company) != self.kind.company:
                    self.wrong.append(f"company {self.kind.company} was shown {record}")

    def _note(self, text: bytes) -> None:
        now = time.monotonic()
        if b"retry: " in text or b"event: goodbye" in text:
            for retry in _RETRY.findall(text):
                self._retry = int(retry) / 1000
            for reason in _REASON.findall(text):
                self._happens(f"goodbye: {reason.decode()}")
            if text.startswith((b"retry: ", b"event: goodbye")) and b"\nid: " not in text:
                return  # nothing follows, and it says nothing of calls
        if self.heard_at and now - self.heard_at > self.silence:
            self.silence = now - self.heard_at
            self.silence_was = ", ".join(self._steps) or "no other connection"
        self.heard_at, self.back_at = now, self.back_at or now
        self._steps.clear()
        self.snapshots += text.count(b"event: snapshot\n")
        if b'"source":"' in text:
            for as_of, source in _SOURCE.findall(text):
                self._said(source == b"live", int(as_of), now)
        at = text.rfind(b"\nid: ")
        if at >= 0:
            before, self.last_id = self.numbering, text[at + 5 : text.index(b"\n", at + 5)]
            if self.numbering != before:
                self.named_at, self.claimed_as_of = now, self.live_as_of

    def _said(self, live: bool, as_of: int, now: float) -> None:
        if live:
            self.live_as_of = as_of
            self.live(now)
        elif self.stale_at is None:
            self.stale_at = now

    def live(self, now: float) -> None:
        """Whatever was stale is not any more."""
        if self.stale_at is not None:
            self.stale_seconds = max(self.stale_seconds, now - self.stale_at)
            self.stale_at = None

    def shows(self) -> dict[str, Shown]:
        """Call-ID → what is shown, of a wall that folds."""
        return {
            one["call_id"]: Shown(one["company_id"], one["trunk"], one["state"])
            for one in self.fold.calls.values()
        }
