"""Wall displays on raw sockets: each folds its stream, comes back as an EventSource does, and
remembers whatever it was shown that must never be shown."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import Any, Final

import orjson

from livestate.client import Fold, Parser, ServerEvent
from tests.faults.load import Shown
from tests.harness import STREAM

SILENCE_SECONDS: Final = 9.0  # as the page has it: then it says "disconnected" and reconnects
RETRY_SECONDS: Final = 1.0  # where the server has sent no ``retry:``
_SETTLED: Final = frozenset({"answered", "held"})
SO_ATTACH_FILTER: Final = 26  # <asm/socket.h>; Python has no name for it


@dataclass(eq=False)
class Wall:
    """One dashboard. ``company`` None sees all calls."""

    url: str
    token: str
    company: str | None = None
    seed: int = 1
    receive_buffer: int | None = None
    gzip: bool = False  # asked for, as every browser does
    on_change: Callable[[str, dict[str, Any]], None] | None = None
    dashboard: Fold = field(default_factory=Fold)
    connects: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)
    goodbyes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    first_state_seconds: float = 0.0
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    last_seen_at: float = 0.0
    as_of: int = 0  # the service's clock, ms
    connected: bool = False
    fresh_start: bool = False  # come back without an id, as a re-created EventSource may
    writer: asyncio.StreamWriter | None = None
    _gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reading.set()
        self.chance = Random(self.seed)

    async def run(self) -> None:
        """Connect, fold, come back; for ever."""
        while True:
            pause = RETRY_SECONDS
            with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
                pause = await self._one_stream()
            self.connected = False
            await asyncio.sleep(pause * (0.5 + self.chance.random() / 2))

    async def _one_stream(self) -> float:
        started = time.monotonic()
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        line = socket()
        line.setblocking(False)
        if self.receive_buffer is not None:
            line.setsockopt(SOL_SOCKET, SO_RCVBUF, self.receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(line, (host, int(port)))
        except OSError:
            line.close()
            raise
        limit = self.receive_buffer or 2**20
        reader, writer = await asyncio.open_connection(sock=line, limit=limit)
        self.writer = writer
        parser = Parser()
        try:
            self.connects += 1
            position = "" if self.fresh_start else self.dashboard.last_id
            request = f"GET {STREAM} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            request += f"Authorization: Bearer {self.token}\r\n"
            request += "Accept-Encoding: gzip\r\n" if self.gzip else ""
            request += f"Last-Event-ID: {position}\r\n" if position else ""
            writer.write((request + "\r\n").encode())
            async with asyncio.timeout(SILENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.statuses[status] += 1
            if status != 200:
                return 3.0  # the page's own supervisor: a native EventSource would be dead now
            inflate = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress if self.gzip else bytes
            self.connected, self.last_seen_at = True, time.monotonic()
            while (size := int(await self._read(reader.readuntil(b"\r\n")), 16)) != 0:
                piece = (await self._read(reader.readexactly(size + 2)))[:-2]
                await self.reading.wait()
                for event in parser.feed(inflate(piece)):
                    self._take(event)
                    if not self.first_state_seconds and event.name != "goodbye":
                        self.first_state_seconds = time.monotonic() - started
        finally:
            self.connected = False
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return RETRY_SECONDS if parser.retry is None else parser.retry / 1000

    async def _read(self, reading: Any) -> bytes:
        async with asyncio.timeout(SILENCE_SECONDS):
            data: bytes = await reading
        return data

    # -- what it was shown -------------------------------------------------------------------

    def _take(self, event: ServerEvent) -> None:
        dashboard = self.dashboard
        self.last_seen_at = time.monotonic()
        self.frames[event.name] += 1
        if event.name == "snapshot":
            before = dashboard.calls
            dashboard.fold(event)
            if dashboard.calls is not before:  # its last part
                for key in before.keys() | dashboard.calls.keys():
                    self._compare(key, before.get(key), dashboard.calls.get(key))
        elif event.name == "diff":
            whole = dashboard.joined(event.name, orjson.loads(event.data))
            if whole is None:
                return
            patch = whole["calls"]
            before = {key: dict(dashboard.calls[key]) for key in patch if key in dashboard.calls}
            dashboard.fold_decoded(event, whole)
            for key in patch:
                self._compare(key, before.get(key), dashboard.calls.get(key))
        else:
            diverged = dashboard.diverged
            self.as_of = dashboard.fold(event).get("as_of", self.as_of)
            if event.name == "goodbye":
                self.goodbyes[dashboard.goodbye or ""] += 1
            elif dashboard.diverged != diverged:
                self.wrong.append(f"its digest differs at {dashboard.last_id}")

    def _compare(
        self, key: str, before: dict[str, Any] | None, after: dict[str, Any] | None
    ) -> None:
        """Nothing comes back, rings again after its answer, or is another company's."""
        if after is None:
            if before is not None:
                self._gone.add(key)
            return
        if self.on_change is not None:
            self.on_change(key, after)
        if self.company is not None and after.get("company_id") != self.company:
            self.wrong.append(f"leak: {after} to company {self.company}")
        if key in self._gone:
            self._gone.discard(key)
            self.revived.append(f"{after['node']} {after['call_id']} came back as {after['state']}")
        if before and before["state"] in _SETTLED and after["state"] not in _SETTLED:
            self.wrong.append(f"{after['call_id']}: {before['state']}, then {after['state']}")

    def shows(self) -> Counter[Shown]:
        return shown(self.dashboard)

    @property
    def says_live(self) -> bool:
        """The connection state that a page would show: live only with a recent heartbeat."""
        recent = time.monotonic() - self.last_seen_at < SILENCE_SECONDS
        return self.connected and recent and self.dashboard.source == "live"

    @property
    def sure(self) -> bool:
        return not any(call.get("unconfirmed") for call in self.dashboard.calls.values())


def shown(dashboard: Fold) -> Counter[Shown]:
    return Counter(
        (call["node"], call["call_id"], call["state"], call.get("company_id"))
        for call in dashboard.calls.values()
    )


def deafen(writer: asyncio.StreamWriter) -> None:
    """Half-open for real: our kernel drops whatever comes in on this connection, so nothing is
    acknowledged and nothing refused (a classic BPF program of one instruction: return 0)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    argument = struct.pack("HL", 1, ctypes.addressof(program))  # struct sock_fprog
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, argument)


class Fleet:
    """Many walls, and the tasks they run in."""

    def __init__(self) -> None:
        self.walls: list[Wall] = []
        self._tasks: list[asyncio.Task[None]] = []

    def join(self, walls: Iterable[Wall]) -> list[Wall]:
        joined = list(walls)
        self.walls += joined
        self._tasks += [asyncio.create_task(wall.run()) for wall in joined]
        return joined

    def look(self) -> None:
        """Raise what a wall died of: that is a defect of the walls, or of what they were sent."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def leave(self, walls: Iterable[Wall]) -> None:
        """These go away, as a browser that is closed."""
        leaving = set(walls)
        both = list(zip(self.walls, self._tasks, strict=True))
        self.walls[:] = [wall for wall, _ in both if wall not in leaving]
        self._tasks[:] = [task for wall, task in both if wall not in leaving]
        tasks = [task for wall, task in both if wall in leaving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.leave(tuple(self.walls))
