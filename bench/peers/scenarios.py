"""The contests: each is one piece of work that a contestant does while it is watched."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import orjson

from api.stream.sse import event
from bench.machine import cpu_seconds, resident_bytes
from bench.peers.contestants import (
    Contestant,
    Livestate,
    Missing,
    steadily,
)
from bench.receiver import Receiver
from bench.receiver_messages import Report
from livestate.devtools.simulator import Network, Traffic
from livestate.fanout.frame import chunk
from livestate.process.clock import now_ms

CLIENTS: Final = 1_000
RATE: Final = 10
SECONDS: Final = 5
GZIP: Final = b"Accept-Encoding: gzip\r\n"
BUSY_CALLS_A_MINUTE: Final = 1_000
BUSY_CLIENTS: Final = 50  # of each kind: identity, gzip
BEFORE_MS: Final = 300_000  # the hour has been busy for a while when we look
DRAIN_SECONDS: Final = 15.0  # for what is still queued when the last frame was published


@dataclass(slots=True)
class Fanout:
    """One contestant's rounds of the same work, put together."""

    wire: str
    deliveries: int = 0
    published: int = 0  # frames × clients
    server_cpu: float = 0.0
    bytes: int = 0
    seconds: float = 0.0
    receiver_cpu: float = 0.0
    behind: int = 0
    idle_bytes: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_cpu_second(self) -> float:
        return self.deliveries / self.server_cpu

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1]

    def add(self, report: Report, published: int, cpu: float, behind: int) -> None:
        self.deliveries += report.deliveries
        self.published += published
        self.server_cpu += cpu
        self.bytes += report.bytes
        self.seconds += report.seconds
        self.receiver_cpu += report.cpu_seconds
        self.behind += behind
        self.latencies += report.latencies_ms


class TooFew(Exception):
    """Not all clients could be connected: the run says nothing."""


async def joined(contestant: Contestant, receiver: Receiver, clients: int) -> float:
    """Connect the clients and let them settle; the server's memory for each."""
    before = resident_bytes(contestant.server.pid)
    connected, refused = await receiver.connect(
        contestant.address, contestant.requests(clients), poll_seconds=contestant.poll_seconds
    )
    if connected != clients or refused:
        raise TooFew(f"{contestant.name}: {connected} of {clients} connected, {refused} refused")
    await asyncio.sleep(1.0 + clients / 5_000)
    after = resident_bytes(contestant.server.pid)
    await steadily(contestant, 5, 1)  # warm
    mark, _ = await steadily(contestant, 5, 0.2)
    await receiver.until(mark, DRAIN_SECONDS)
    return (after - before) / clients


async def watched(
    contestant: Contestant, receiver: Receiver, rate: float, seconds: float
) -> tuple[Report, int, float, int]:
    """Publish, and stop the clock when the last client has the last frame: the report, frames,
    the server's CPU, and how many clients never got there."""
    pid = contestant.server.pid
    await receiver.reset()
    cpu = cpu_seconds(pid)
    mark, frames = await steadily(contestant, rate, seconds)
    behind, _ = await receiver.until(mark, DRAIN_SECONDS)
    cpu = cpu_seconds(pid) - cpu
    return await receiver.report(), frames, cpu, behind


@asynccontextmanager
async def rival(kind: type[Contestant]) -> AsyncIterator[tuple[Contestant, Receiver]]:
    """One contestant, running, and a receiver for it."""
    async with kind() as contestant, Receiver() as receiver:
        yield contestant, receiver


async def side_by_side(
    kinds: Iterable[type[Contestant]], rounds: int = 2
) -> tuple[dict[str, Fanout], dict[str, str]]:
    """The same frames to the same clients by everybody, there and back again (A B C C B A), so
    that a slow minute of the machine hits all; and who is missing, and why."""
    measured: dict[str, Fanout] = {}
    missing: dict[str, str] = {}
    order = list(kinds)
    for turn in range(rounds):
        for kind in order if turn % 2 == 0 else reversed(order):
            try:
                async with rival(kind) as (contestant, receiver):
                    idle_bytes = await joined(contestant, receiver, CLIENTS)
                    report, frames, cpu, behind = await watched(contestant, receiver, RATE, SECONDS)
                    if kind.latency_rate is not None:
                        rare, _, _, _ = await watched(
                            contestant, receiver, kind.latency_rate, SECONDS
                        )
                        report.latencies_ms = rare.latencies_ms
                    found = measured.setdefault(kind.name, Fanout(kind.wire))
                    found.idle_bytes.append(idle_bytes)
                    found.add(report, frames * CLIENTS, cpu, behind)
            except (Missing, TooFew) as reason:
                missing[kind.name] = str(reason)
    return measured, missing


@dataclass(frozen=True, slots=True)
class Crowd:
    """5,000 clients × 10 frames/s."""

    clients: int
    behind: int
    p50: float
    p99: float
    idle_bytes: float
    server_share: float
    receiver_share: float
    deliveries: int
    published: int


async def crowd(kind: type[Contestant], clients: int = 5_000, seconds: float = 6) -> Crowd:
    """So many clients on one process."""
    async with rival(kind) as (contestant, receiver):
        idle = await joined(contestant, receiver, clients)
        report, frames, cpu, behind = await watched(contestant, receiver, RATE, seconds)
        return Crowd(
            clients,
            behind,
            report.percentile(50),
            report.percentile(99),
            idle,
            cpu / report.seconds,
            report.share_of_core,
            report.deliveries,
            frames * clients,
        )


@dataclass(frozen=True, slots=True)
class Storm:
    """10,000 reconnects at once."""

    clients: int
    seconds: float
    behind: int
    refused: int
    server_cpu: float


async def storm(clients: int = 10_000) -> Storm:
    """All are cut and come back in the same moment, each with its Last-Event-ID; meanwhile a call
    changes. Over when the last of them has that change."""
    async with Livestate() as contestant, Receiver() as receiver:
        await joined(contestant, receiver, clients)
        last = await newest_id(contestant)
        requests = contestant.requests(clients, b"Last-Event-ID: %b\r\n" % last)
        cpu = cpu_seconds(contestant.server.pid)
        began = time.perf_counter_ns()
        mark = await contestant.publish()
        _, refused = await receiver.connect(
            contestant.address, requests, storm=True, reconnect=True
        )
        behind, ended = await receiver.until(mark, 25)  # those who were refused are of them
        cpu = cpu_seconds(contestant.server.pid) - cpu
        return Storm(clients, (ended - began) / 1e9, behind - refused, refused, cpu)


async def newest_id(contestant: Livestate) -> bytes:
    """The id that a client of this moment holds."""
    return (await first_line(contestant, b"id: ")).removeprefix(b"id: ")


async def first_line(contestant: Livestate, start: bytes) -> bytes:
    """The first line of a stream that starts so."""
    reader, writer = await asyncio.open_connection(*contestant.address)
    try:
        writer.write(contestant.requests(1)[0])
        async with asyncio.timeout(10):
            while not (line := await reader.readline()).startswith(start):
                pass
            return line.strip()
    finally:
        writer.transport.abort()


async def compresses(contestant: Livestate) -> bool:
    """Whether a client that takes gzip gets it."""
    reader, writer = await asyncio.open_connection(*contestant.address)
    try:
        writer.write(contestant.requests(1, GZIP)[0])
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        return b"content-encoding: gzip" in head.lower()
    finally:
        writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Slow:
    """One slow client among 1,000: p99 of the others without it, and with it, a round each."""

    alone: list[float]
    beside: list[float]
    behind: int
    skipped: int
    caught_up: bool


async def one_slow(clients: int = CLIENTS, rate: float = 20, seconds: float = 5) -> Slow:
    """One that never reads, its pipe full; A B B A twice. At the end it reads on: it must be
    current, and have skipped the middle.

    The smallest of each counts: a round has 100 frames, so that one moment in which the machine did
    something else is its p99, and rounds without a slow client differ as much as those with one.
    """
    async with Livestate() as contestant, Receiver() as receiver, Receiver() as other:
        await joined(contestant, receiver, clients)
        alone: list[float] = []
        beside: list[float] = []
        behind = 0
        skipped, caught_up = 0, True
        for with_slow in (False, True, True, False) * 2:
            if with_slow:
                await other.connect(contestant.address, contestant.requests(1), reads=False)
                # More than its pipe holds, to everybody: from here on it lags.
                for burst in range(16):
                    for call in range(2, 82):
                        phase = "hold" if burst % 2 else "resume"
                        await contestant.say(phase, call, f"{burst}" + "." * 250)
                mark = await contestant.publish()
                await receiver.until(mark, DRAIN_SECONDS)
            report, frames, _, late = await watched(contestant, receiver, rate, seconds)
            behind += late
            (beside if with_slow else alone).append(report.percentile(99))
            if with_slow:
                await other.reset()
                mark = await contestant.publish()
                await other.read()
                late, _ = await other.until(mark, DRAIN_SECONDS)
                caught_up &= not late
                skipped += frames - (await other.report()).deliveries
                await other.close_all()
        return Slow(alone, beside, behind, skipped, caught_up)


@dataclass(frozen=True, slots=True)
class BusyHour:
    """Bytes on the wire to one client in an hour of 1,000 calls a minute."""

    one_event_a_message: float
    plain: float
    gzip: float | None  # None: the service does not compress
    events: int
    seconds: float


async def busy_hour(seconds: float = 30) -> BusyHour:
    """Half a minute of it in real time, with its snapshot and heartbeats, scaled to an hour; beside
    what the same events are as one uncompressed SSE event a message."""
    async with Livestate() as contestant, Receiver() as plain, Receiver() as gzip:
        network = Network(Traffic(cps=BUSY_CALLS_A_MINUTE / 60, seed=7), now_ms() - BEFORE_MS)
        await told_to(contestant, network)
        await asyncio.sleep(1)
        compressed = await compresses(contestant)
        for receiver, extra in ((plain, b""), (gzip, GZIP)):
            await receiver.connect(contestant.address, contestant.requests(BUSY_CLIENTS, extra))
        # The snapshot is one of an hour: it is counted apart.
        snapshots = await until_quiet(plain, gzip)
        for receiver in (plain, gzip):
            await receiver.reset()
        began, events, naive = time.perf_counter(), 0, 0
        while time.perf_counter() - began < seconds:
            messages, size = await told_to(contestant, network)
            events += messages
            naive += size
            await asyncio.sleep(0.005)
        hour = 3600 / (time.perf_counter() - began)
        await asyncio.sleep(0.5)
        rest = [(await receiver.report()).bytes for receiver in (plain, gzip)]
        whole = [(s + r * hour) / BUSY_CLIENTS for s, r in zip(snapshots, rest, strict=True)]
        return BusyHour(naive * hour, whole[0], whole[1] if compressed else None, events, seconds)


async def until_quiet(*receivers: Receiver) -> list[int]:
    """The bytes that each has received once nothing came for a second."""
    while True:
        before = [(await one.report()).bytes for one in receivers]
        await asyncio.sleep(1)
        if before == [(await one.report()).bytes for one in receivers]:
            return before


async def told_to(contestant: Livestate, network: Network) -> tuple[int, int]:
    """What the network has to say by now: how many events of calls, and their bytes as one SSE
    event each."""
    events = size = 0
    for subject, message in network.due(now_ms()):
        data = orjson.dumps(message)
        await contestant.client.publish(subject, data)
        if message["phase"] not in ("heartbeat", "sync"):
            events += 1
            size += len(chunk(event(message["phase"], data)))
    await contestant.client.flush()
    return events, size
