"""Figures of events per second: the floor, the whole service, with dashboards, and a large table.

Real nats-server and Valkey. The events come from a process of its own (:mod:`bench.ingest`), so the
CPU that is counted is that of the receiver alone, with all its threads.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from api.service import Service
from api.settings import Settings
from bench.ingest import Feed
from livestate.contract.events import BATCH_SUBJECT, CallPhase
from livestate.contract.parse import parse, parse_batch
from livestate.devtools.servers import NatsServer, Valkey
from livestate.fanout.frame import Frame
from livestate.ingest.consumer import Consumer
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls

EVENTS: Final = 60_000
TURNS: Final = 3
FLOOR: Final = "received and validated, nothing else (the floor)"
BATCH: Final = 32
DASHBOARDS: Final = 100
FEW_CALLS, MANY_CALLS = 1_000, 200_000
FOLDED: Final = 1_000
ROUNDS: Final = 10


class Dashboard:
    """A stream of a browser that reads at once: it takes each frame, compressed and in a chunk."""

    def __init__(self) -> None:
        self.bytes = 0

    def ready(self) -> bool:
        return True

    def write(self, frames: list[Frame]) -> None:
        self.bytes += sum(len(frame.contextual_chunk) for frame in frames)


class Spent(NamedTuple):
    """On :data:`EVENTS`, in seconds."""

    wall: float
    cpu: float


@dataclass
class Runs:
    """What was measured, several times in turns; of each the least counts, for another program on
    the machine only ever adds to it. ``last`` is what the last service counted, in words."""

    best: dict[str, Spent] = field(default_factory=dict)
    last: str = ""

    def add(self, what: str, spent: Spent) -> None:
        self.best[what] = Spent(*map(min, spent, self.best.get(what, spent)))

    def rows(self) -> list[str]:
        floor = self.best[FLOOR]
        return [
            f"| {what} | {EVENTS / wall:,.0f} | {cpu / EVENTS * 1e6:.1f} µs | "
            f"{cpu / floor.cpu:.1f} |"
            for what, (wall, cpu) in self.best.items()
        ]


async def throughput() -> list[str]:
    """Events per second: the floor (receive and validate only), then the whole service."""
    runs = Runs()
    async with NatsServer() as nats:
        for _ in range(TURNS):
            runs.add(FLOOR, await _floor(nats, 1))
            runs.add(f"… {BATCH} events a message", await _floor(nats, BATCH))
            runs.add("parsed, folded and projected to Redis", await _served(nats, runs))
            runs.add(f"the same, {BATCH} events a message", await _served(nats, runs, batch=BATCH))
            runs.add(
                f"one event a message, and {DASHBOARDS} dashboards that see every call",
                await _served(nats, runs, dashboards=DASHBOARDS),
            )
    few, many = _fold_of(FEW_CALLS), _fold_of(MANY_CALLS)
    return [
        "| what | events/s | CPU an event | of the floor's |",
        "|---|---|---|---|",
        *runs.rows(),
        f"\nEach {TURNS} times in turns, the least. {runs.last}",
        "",
        *_folds(few, many),
    ]


async def _served(nats: NatsServer, runs: Runs, *, batch: int = 1, dashboards: int = 0) -> Spent:
    """The whole service, with a Valkey of its own: calls of the one before would be restored, and
    marked, and end."""
    async with Valkey() as redis:
        live = Service(Settings(nats_url=nats.url, redis_url=redis.url, ready_seconds=1))
        async with Feed(nats.port, EVENTS, batch) as feed, live.running():
            for _ in range(dashboards):
                subscriber = live.hub.subscribe(Scope(), None)
                subscriber.attach(Dashboard())
                subscriber.offer()
            spent = await feed.served(live)
    tally = live.pipeline.counters
    held = live.probe.worst_callback
    # The probe looks at a loop that has not answered for 6 ms, and twice at a callback.
    longest = (
        f"the longest callback seen held it for {held * 1000:.0f} ms"
        if held
        else ("no callback was seen to hold the loop for 10 ms")
    )
    runs.last = (
        f"{tally.applied:,} applied, {tally.dropped} dropped, {live.table.live:,} calls live at "
        f"the end, {live.projection.stats.round_trips} round trips to Redis, "
        f"{longest}."
    )
    return Spent(*spent)


async def _floor(nats: NatsServer, batch: int) -> Spent:
    """To receive and validate the events, and nothing else."""
    seen = 0

    def take(subject: str, data: bytes, waited_ms: int) -> None:
        nonlocal seen
        seen += _received(subject, data)

    consumer = Consumer(nats.url, take, lambda lost, node: None, lambda: None)
    listening = asyncio.create_task(consumer.run())
    async with Feed(nats.port, EVENTS, batch) as feed:
        spent = await feed.through(lambda: seen, lambda: True)
    await cancel_and_wait(listening)
    return Spent(*spent)


def _received(subject: str, data: bytes) -> int:
    """How many events a message has; all are validated."""
    if subject == BATCH_SUBJECT:
        return len(parse_batch(data))
    parse(subject, data)
    return 1


# -- a large table -------------------------------------------------------------------------


def _folds(few: float, many: float) -> list[str]:
    return [
        "| live calls | fold one event | beside the smaller table |",
        "|---|---|---|",
        f"| {FEW_CALLS:,} | {few:.1f} µs | 1.0 |",
        f"| {MANY_CALLS:,} | {many:.1f} µs | {many / few:.1f} |",
    ]


def _fold_of(calls: int) -> float:
    """µs of CPU to fold an event of one of so many live calls, evenly spread; the best round."""
    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    for number in range(calls):
        table.apply(_event("answered", 1, number), now_ms())
    best = float("inf")
    gc.collect()
    gc.freeze()
    for turn in range(ROUNDS):
        phase = "resume" if turn % 2 else "hold"
        events = [_event(phase, turn + 2, n) for n in range(0, calls, calls // FOLDED)]
        now, began = now_ms(), time.process_time()
        for event in events:
            table.apply(event, now)
        best = min(best, (time.process_time() - began) / len(events) * 1e6)
    assert table.live == calls
    gc.unfreeze()
    return best


def _event(phase: str, epoch: int, number: int) -> CallPhase:
    message = {
        "v": 1, "phase": phase, "node": "bench", "epoch": epoch, "seq": number + 1, "ts": now_ms(),
        "call_id": f"{number:x}@10.0.0.1", "dialog": f"{number}.1",
        "company_id": str(number % 100), "from": f"+3902{number:07d}", "to": f"+3906{number:07d}",
        "trunk": f"gw-{number % 5}", "direction": "outbound",
    }  # fmt: skip
    event: CallPhase = parse(f"call.events.{phase}", orjson.dumps(message))  # type: ignore[assignment]
    return event
