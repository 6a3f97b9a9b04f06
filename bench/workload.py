"""The same seeded day for every bench: what a simulated network says, as subjects and payloads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import orjson

from livestate.contract.encoding import encoded
from livestate.contract.events import CallEvent, CallPhase
from livestate.contract.parse import parse
from livestate.devtools.simulator import Network, Traffic
from livestate.process.clock import now_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import epoch_of

Message = tuple[str, bytes]
_FILLED_IN_SECONDS: Final = 10


def said(calls_per_second: float, start: int) -> Iterator[Message]:
    """All of it, from ``start`` (ms) on and for ever."""
    network = Network(Traffic(cps=calls_per_second, seed=7), start)
    now = start
    while True:
        now += 20
        for one in network.due(now):
            # A copy: what orjson gives keeps the block of 4 KB or more that it was written in, and
            # a day would be a gigabyte.
            for data in encoded(one):
                yield one.subject, bytes(memoryview(data))


def stream_of(
    events: int, calls_per_second: float = 500, start: int | None = None
) -> list[Message]:
    """So many messages; it begins at ``start`` (ms), or now."""
    return list(islice(said(calls_per_second, now_ms() if start is None else start), events))


def filled(calls: int, start: int | None = None) -> tuple[list[Message], ActiveCalls]:
    """A table with exactly so many live calls, and the messages that filled it. A larger one has
    more calls a second, so that of each size the same share rings, talks and holds."""
    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    day = []
    for subject, data in said(calls / _FILLED_IN_SECONDS, now_ms() if start is None else start):
        event = parse(subject, data)
        if isinstance(event, CallEvent) and event.phase not in ("ended", "failed"):
            day.append((subject, data))
            table.apply(event, event.ts)
            if table.live == calls:
                break
    return day, table


def full_table(calls: int) -> ActiveCalls:
    """A table with exactly so many live calls."""
    return filled(calls)[1]


def changes(table: ActiveCalls, calls: int, turn: int) -> Iterator[CallPhase]:
    """A change of each of so many live calls: on odd turns they are held, on even ones resumed."""
    phase = "hold" if turn % 2 else "resume"
    live = islice((call for call in table.calls.values() if call.live), calls)
    for seq, call in enumerate(tuple(live), 1):
        message = {
            "v": 1, "phase": phase, "node": call.node,
            "epoch": epoch_of(call.position) + 1, "seq": seq, "ts": now_ms(),
            "call_id": call.call_id, "dialog": call.dialog,
            "company_id": call.company_id or "x",
        }  # fmt: skip
        event = parse(f"call.events.{phase}", orjson.dumps(message))
        assert isinstance(event, CallEvent)
        yield event
