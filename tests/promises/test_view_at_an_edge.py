"""Promise V where the distributor is fed by frames alone, as in another process.

The engine's view, producer and encoder are the real ones, and so is the distributor. Between them
stands an edge that sees no view: it folds the frames into records of its own and answers from
those what a late client lacks. Only a frame that does not follow its version makes it ask the
engine for the state again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from api.stream import sse
from livestate.client import Fold, Parser
from livestate.fanout import patch
from livestate.fanout.context import FanoutContext
from livestate.fanout.distributor import Distributor
from livestate.fanout.frame import Frame
from livestate.fanout.producer import Producer
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope
from livestate.state.view import View
from tests.promises.engines_and_edges import in_single_steps
from tests.promises.test_view import Day, SlicedDay


class Edge:
    """The records of one view, folded from its frames: a CatchUpSource, and the FrameSink that
    passes the frames on to a distributor."""

    filtered = False

    def __init__(self, engine: Producer, context: FanoutContext) -> None:
        self._engine = engine
        self._context = context
        self.asked = 0
        self.ask()
        self.distributor = Distributor(self, context, lambda: None)
        engine.start(self)

    def ask(self) -> None:
        """The state of the engine at this moment, instead of all that was folded before."""
        self.asked += 1
        frames: list[Frame] = []
        for _ in self._engine.snapshot_steps(frames):
            pass
        self.tag, self.version = self._engine.tag, self._engine.version
        self.floor = self.version
        self._fold = Fold()
        self._gone: dict[str, int] = {}
        self._take(b"".join(frames))

    def _take(self, data: bytes) -> None:
        for event in Parser().feed(data):
            calls = self._fold.fold(event).get("calls", {})
            if event.name == "diff":
                # A key that returns may name another call: a client that has not seen the first
                # one go would merge the second one into it.
                self.floor = max(self.floor, *(self._gone.pop(key, 0) for key in calls), 0)
                gone = [key for key, change in calls.items() if change is None]
                self._gone |= dict.fromkeys(gone, self.version)

    # -- FrameSink ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.distributor.busy

    def deliver(self, frame: Frame) -> Generator[None, None, float]:
        if frame.to_version <= self.version:
            return 0.0  # the state that was asked for had it already
        own = Frame(frame)
        if frame.from_version <= self.version:
            self.version = frame.to_version
            self._take(frame)
            own.from_version = frame.from_version
        else:
            self.ask()
            own.from_version = self.version  # no client can take it: all get the new state
        own.to_version = self.version
        return (yield from self.distributor.deliver(own))

    def send_heartbeat(self, frame: Frame) -> None:
        self.distributor.send_heartbeat(self.heartbeat())

    # -- CatchUpSource -----------------------------------------------------------------------

    @property
    def calls(self) -> int:
        return len(self._fold.calls)

    def can_resume(self, tag: str, version: int) -> bool:
        return tag == self.tag and self.floor <= version <= self.version

    def since(self, version: int) -> Frame:
        changed: dict[str, Any] = {k: r for k, r in self._fold.calls.items() if r["v"] > version}
        changed |= {key: None for key, at in self._gone.items() if at > version}
        frame = self._event("diff", {"calls": changed})
        frame.from_version, frame.to_version = version, self.version
        return frame

    def snapshot_steps(self, frames: list[Frame]) -> Iterator[None]:
        frames.append(self._event("snapshot", {"part": 1, "parts": 1, "calls": self._fold.calls}))
        yield

    def heartbeat(self) -> Frame:
        data = {"source": "live", "calls": self.calls, "digest": self._fold.digest}
        return Frame(sse.event("heartbeat", orjson.dumps(data)))

    def _event(self, name: str, data: dict[str, Any]) -> Frame:
        return Frame(sse.event(name, orjson.dumps(data), sse.EventId(self.tag, self.version)))


class EdgeHub:
    """Stands for a hub: its views are edges."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self.engine = day.hub
        self.edges: dict[View, Edge] = {}
        self.producers: dict[View, Producer] = {}
        self.distributors: dict[View, Distributor] = {}

    def on_change(self, change: Any) -> None:
        if not change.after.live:
            self.engine.encoder.forget(change.after.key)
        for view in change.views:
            if view in self.producers:
                self.producers[view].on_change(change)

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        view = self._day.table.view(scope)
        if view not in self.edges:
            view.watched = True
            source = Producer(view, self.engine.encoder, self.engine.context)
            edge = self.edges[view] = Edge(source, self.engine.context)
            self.producers[view], self.distributors[view] = source, edge.distributor
        return self.distributors[view].subscribe(position)


class EdgeDay(Day):
    """The same days; clients meet only edges."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.hub = EdgeHub(self)  # type: ignore[assignment]


class SlicedEdgeDay(SlicedDay):
    """The same where every diff and round is too long for one callback."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.hub = EdgeHub(self)  # type: ignore[assignment]


def test_clients_of_an_edge_are_always_right() -> None:
    run_state_machine_as_test(
        EdgeDay, settings=settings(max_examples=60, stateful_step_count=50, deadline=None)
    )


def test_clients_of_an_edge_are_right_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    in_single_steps(monkeypatch)
    monkeypatch.setattr(patch, "LINE_BYTES", 400)  # diffs in parts
    run_state_machine_as_test(
        SlicedEdgeDay, settings=settings(max_examples=60, stateful_step_count=50, deadline=None)
    )
