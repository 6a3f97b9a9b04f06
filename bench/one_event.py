"""Where the CPU of one event goes, by function: ``python -m bench.one_event``.

The seeded day is replayed through one part of an event's way after the other, each time from an
empty table, and through the whole. The best of several rounds counts, so a busy machine distorts
little; still compare shares rather than microseconds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from bench.ingest import joined
from bench.workload import stream_of
from livestate.contract.events import CALL_PHASES, EVENT, SUBJECT_PREFIX, CallPhase
from livestate.contract.parse import parse
from livestate.ingest.pipeline import Pipeline
from livestate.ingest.sinks import Sink
from livestate.process import build, memory
from livestate.process.clock import steady_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import attributes_of
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes

EVENTS: Final = 20_000
ROUNDS: Final = 9
BATCH: Final = 32


class Part(NamedTuple):
    """One row of the table."""

    name: str
    run: Callable[[], object]


def main() -> None:
    day = [one for one in stream_of(EVENTS) if one[0].removeprefix(SUBJECT_PREFIX) in CALL_PHASES]
    events = [parse(*one) for one in day]
    calls = [event for event in events if event.phase in CALL_PHASES]
    print(f"{len(day):,} events, {build.kind()} build, µs of CPU an event, best of {ROUNDS} rounds")
    for part in _parts(day, calls):  # type: ignore[arg-type]
        print(f"{_best(part.run) / len(day) * 1e6:7.2f}  {part.name}")


def _parts(day: list[tuple[str, bytes]], calls: list[CallPhase]) -> list[Part]:
    validate = EVENT.validator.validate_json
    together = list(joined(day, BATCH))

    def fold(*, observe: bool = True, clocks: bool = True, apply: bool = True) -> None:
        table, nodes, offsets = ActiveCalls(secret=b"s" * 16, epoch="e"), _nodes(), NodeClocks()
        now = calls[-1].ts
        for event in calls:
            if observe:
                nodes.observe(event.node, event.epoch, event.seq, now, numbered=True)
            if clocks:
                event = offsets.call(event, event.ts)
            if apply:
                table.apply(event, now)

    def handle(messages: list[tuple[str, bytes]], *sinks: Sink) -> None:
        table = ActiveCalls(secret=b"s" * 16, epoch="e")
        pipeline = Pipeline(table, _nodes(), sinks, clock=lambda: calls[-1].ts)
        for subject, data in messages:
            pipeline.handle(subject, data)

    def keys() -> None:
        key_of = ActiveCalls(secret=b"s" * 16, epoch="e").key_of
        for event in calls:
            key_of(event.node, event.dialog or "", event.call_id)

    return [
        Part("validate: pydantic alone", lambda: [validate(data) for _, data in day]),
        Part("parse: and subject, phase, repeated keys", lambda: [parse(*one) for one in day]),
        Part("number of the node (nodes.observe)", lambda: fold(clocks=False, apply=False)),
        Part("clock of the node (clocks.call)", lambda: fold(observe=False, apply=False)),
        Part("fold (table.apply)", lambda: fold(observe=False, clocks=False)),
        Part("  of it the key of the call", keys),
        Part("  of it the attributes of the event", lambda: [attributes_of(e) for e in calls]),
        Part("pipeline.handle: all of these", lambda: handle(day)),
        Part(f"pipeline.handle, {BATCH} events a message", lambda: handle(together)),
        Part("pipeline.handle, and key figures", lambda: handle(day, Kpis(steady_ms))),
        Part(
            "pipeline.handle, and out of the collector",
            lambda: handle(day, memory.Untracked(Kpis(steady_ms).parts)),
        ),
    ]


def _nodes() -> Nodes:
    return Nodes(stale_after=10**12)


def _best(run: Callable[[], object]) -> float:
    """The least CPU seconds of a round."""
    spent = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
        gc.enable()
    return min(spent)


if __name__ == "__main__":
    main()
