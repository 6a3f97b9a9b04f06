"""A seeded day through a real NATS: a child process publishes it as fast as it is taken.

The clock stops when every message was taken and what came of it is where it belongs.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import socket
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self

import orjson

from api.service import Service
from bench.workload import stream_of
from livestate.contract.events import BATCH_SUBJECT, CALL_PHASES, SUBJECT_PREFIX
from livestate.process.clock import now_ms
from livestate.process.memory import set_up_collector
from livestate.state.nodes.clock_offset import TIMES

WINDOW: Final = 7_500  # sent but not taken yet: less than the consumer's buffer, so none is lost
_AT_ONCE: Final = 2_500
_FASTER: Final = 100  # a piece is a simulated second; it lasts 10 ms, less than to send one
_PATIENCE_SECONDS: Final = 180


def joined(messages: Iterable[tuple[str, bytes]], batch: int) -> Iterator[tuple[str, bytes]]:
    """These messages, where up to ``batch`` events of calls that follow each other share one."""
    events: list[tuple[str, bytes]] = []
    for subject, data in messages:
        alone = subject.removeprefix(SUBJECT_PREFIX) not in CALL_PHASES
        if events and (alone or len(events) == batch):
            yield _one(events)
            events = []
        if alone:
            yield subject, data
        else:
            events.append((subject, data))
    if events:
        yield _one(events)


def _one(events: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    if len(events) == 1:
        return events[0]
    return BATCH_SUBJECT, b"[%b]" % b",".join(data for _, data in events)


class Retold:
    """The day as nodes tell it now. Published at full speed, a simulated minute passes in seconds,
    and a service would find the clocks of its nodes wrong, and correct the times of every event.

    Each piece of the day happens when it is sent. A time that was told keeps what it was told as,
    so events stay cumulative."""

    def __init__(self) -> None:
        self._simulated: list[int] = []  # when each piece began in the day (ms)
        self._told: list[int] = []  # and when it was sent

    def piece(self, messages: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        """These messages, which are sent now."""
        now, told = now_ms(), [(subject, orjson.loads(data)) for subject, data in messages]
        self._simulated.append(told[0][1]["ts"])
        self._told.append(now)
        for subject, message in told:
            for record in (message, *message.get("calls", ())):
                for name in ("ts", *TIMES):
                    if name in record:
                        record[name] = self._time(record[name])
            yield subject, orjson.dumps(message)

    def _time(self, at: int) -> int:
        piece = max(0, bisect_right(self._simulated, at) - 1)
        return self._told[piece] + (at - self._simulated[piece]) // _FASTER


def _publish(port: int, events: int, batch: int, ready: Any, go: Any, taken: Any) -> None:
    """The child. It makes the day itself: sent to it, the day would be in memory three times."""
    messages, retold = stream_of(events), Retold()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.recv(4096)
        sock.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n')
        sock.recv(4096)
        ready.set()
        go.wait()
        for at in range(0, events, _AT_ONCE):
            piece = b"".join(
                b"PUB %b %d\r\n%b\r\n" % (s.encode(), len(d), d)
                for s, d in joined(retold.piece(messages[at : at + _AT_ONCE]), batch)
            )
            while at + _AT_ONCE - taken.value > WINDOW:
                time.sleep(0.002)
            sock.sendall(piece)
        sock.sendall(b"PING\r\n")
        sock.recv(4096)


class Feed:
    """So many messages, ready to be published before whoever takes them starts: a service that
    hears no node for a while connects anew. ``batch`` of them share one message."""

    def __init__(self, port: int, events: int, batch: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._events = events
        self._ready, self._go = context.Event(), context.Event()
        self._taken = context.Value("q", 0, lock=False)
        self._process = context.Process(
            target=_publish,
            args=(port, events, batch, self._ready, self._go, self._taken),
            daemon=True,
        )

    async def __aenter__(self) -> Self:
        self._process.start()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not self._ready.is_set():
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._taken.value = self._events  # it ends, however far we came
        self._go.set()
        await asyncio.to_thread(self._process.join)

    async def through(
        self, done: Callable[[], int], settled: Callable[[], bool]
    ) -> tuple[float, float]:
        """Seconds of wall and of this process's CPU from the first message until ``done()`` says
        that all were taken and ``settled()`` that nothing of them is on its way any more."""
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        self._go.set()
        while self._taken.value < self._events or not settled():
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                raise TimeoutError(f"{done()} of {self._events} after {_PATIENCE_SECONDS} s")
            self._taken.value = done()
            await asyncio.sleep(0.005)
        return time.perf_counter() - began, time.process_time() - cpu

    async def served(self, live: Service) -> tuple[float, float]:
        """The same for a whole service, until Redis has every call."""
        set_up_collector()  # as `serve` does
        while live.not_ready() is not None or live.projection.standby:
            await asyncio.sleep(0.05)
        tally = live.pipeline.counters
        return await self.through(lambda: tally.received, lambda: live.projection.dirty == 0)
