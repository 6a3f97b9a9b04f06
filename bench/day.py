"""The same seeded day for every bench: what a simulated network says, as subjects and payloads."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from livestate.active_calls import ActiveCalls
from livestate.events import CallPhase, Heartbeat, Lost, Sync, parse
from livestate.runtime.clock import now_ms
from livestate.simulator import Network, Traffic

Message = tuple[str, bytes]


def stream_of(
    events: int, calls_per_second: float = 500, start: int | None = None
) -> list[Message]:
    """So many messages; it begins now unless told when (ms)."""
    start = now_ms() if start is None else start
    network = Network(Traffic(cps=calls_per_second, seed=7), start)
    made: list[Message] = []
    now = start
    while len(made) < events:
        now += 20
        made += ((o.subject, orjson.dumps(o.message)) for o in network.due(now))
    return made[:events]


def setups(calls: int) -> Iterator[CallPhase]:
    """Live calls as a network makes them, each with two events: set up, answered."""
    for subject, data in stream_of(calls * 6, calls_per_second=5_000):
        event = parse(subject, data)
        if not isinstance(event, Heartbeat | Sync | Lost) and event.phase not in (
            "ended",
            "failed",
        ):
            yield event


def full_table(calls: int) -> ActiveCalls:
    """A table with exactly so many live calls."""
    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    for event in setups(calls):
        table.apply(event, event.ts)
        if table.live == calls:
            return table
    raise AssertionError("the simulated day is too short")
