"""A pipeline with a table, nodes and sinks, fed with messages as NATS delivers them."""

from __future__ import annotations

from typing import Any

import orjson

from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.nodes.registry import Nodes
from tests.calls import START

Raw = tuple[str, bytes]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Recorder:
    """A sink that keeps every change."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def on_change(self, change: Change) -> None:
        self.changes.append(change)


class Fed:
    """A table behind a pipeline, with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.recorder = Recorder()
        self.pipeline = Pipeline(self.table, self.nodes, (self.recorder,), clock=self.clock)
        self.counters = self.pipeline.counters

    def take(self, *sent: Raw) -> Fed:
        for subject, data in sent:
            self.pipeline.handle(subject, data)
            assert self.counters.balanced
        return self

    def settle(self, ms: int = 3_000) -> Fed:
        """Time passes, and the watch looks at the nodes."""
        self.clock.now += ms
        for node, held in list(self.nodes.review(self.clock.now)):
            self.pipeline.settle(node, held)
        return self

    @property
    def seen(self) -> dict[str, tuple[Any, ...]]:
        """The visible part of each call, and the outcome of those that ended."""
        return {
            key: (
                call.state,
                call.unconfirmed,
                *call.attributes,
                None if call.live else call.conclusion,
            )
            for key, call in self.table.calls.items()
        }


def raw(phase: str, seq: int, **fields: Any) -> Raw:
    message = {"v": 1, "phase": phase, "node": "n1", "epoch": 1, "seq": seq, "ts": START} | fields
    if phase not in ("heartbeat", "sync"):
        message = {"call_id": "c1", "dialog": "1.1"} | message
    return f"call.events.{phase}", orjson.dumps(message)


def sync(seq: int, *dialogs: str, **fields: Any) -> Raw:
    calls = [{"call_id": "c1", "dialog": dialog, "state": "answered"} for dialog in dialogs]
    facts = {"sync_id": f"s{seq}", "part": 1, "parts": 1, "calls": calls}
    return raw("sync", seq, **(facts | fields))
