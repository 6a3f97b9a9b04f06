"""Promises V and J where an edge serves: calls folded by an engine, frames lost and doubled.

The engine's views, producer, publisher and encoder are the real ones, and so are the edge's
follower, replica and hub. Between them stands a line of messages instead of NATS, which loses
some, doubles some, and gives the state back in parts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from api.stream.encoder import SseEncoder
from livestate.cluster import rows, wire
from livestate.cluster.follower import Follower
from livestate.cluster.replicas import Replicas
from livestate.cluster.view_publisher import ViewPublisher
from livestate.fanout.context import CommitRate, FanoutContext
from livestate.fanout.hub import Hub
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope
from livestate.state.view import View
from tests.examples import examples
from tests.promises.engines_and_edges import in_single_steps, in_small_parts
from tests.promises.test_view import Client, Day


class Line:
    """What NATS is to an engine: messages wait until the edge reads them."""

    def __init__(self) -> None:
        self.sent: deque[bytes] = deque()

    def put(self, subject: str, payload: bytes) -> None:
        self.sent.append(payload)


class Engine:
    """The parts of :class:`~livestate.cluster.publisher.EdgeFeed` that are not NATS."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.encoder = day.wire
        self.context: FanoutContext = day.hub.context
        self.frames = 0
        self.outbox = Line()
        self.watched: dict[View, ViewPublisher] = {}
        self.lines: dict[str | None, Line] = {}

    class leadership:  # noqa: N801
        fence = 1
        leads = True

    def watch(self, company_id: str | None) -> ViewPublisher:
        view = self.day.table.view(Scope(company_id))
        if view not in self.watched:
            view.watched += 1
            self.outbox = self.lines[company_id] = Line()
            self.watched[view] = ViewPublisher(cast("Any", self), view)
            # Each view has a subject of its own.
            self.watched[view]._feed = cast("Any", _With(self, self.lines[company_id]))
        return self.watched[view]

    def state(self, company_id: str | None) -> list[bytes]:
        """As the engine answers: the frames so far, then the state as it is now."""
        publisher = self.watch(company_id)
        publisher.producer.commit()
        head = publisher.head("state", publisher.producer.view.version)
        parts = list(rows.state_parts(publisher.producer.view.history(), self.encoder.records))
        last = len(parts) - 1
        return [
            wire.encode(head._replace(part=number, more=number < last), part)
            for number, part in enumerate(parts)
        ]


class _With:
    def __init__(self, engine: Engine, line: Line) -> None:
        self.engine, self.outbox, self.frames = engine, line, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


class EdgeDay(Day):
    """The same days; clients meet only an edge."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.engine = Engine(self)
        self.own_hub = self.hub
        self.replicas = Replicas()
        self.edge_encoder = SseEncoder(lambda: self.now)
        self.edge = Hub(
            self.replicas,
            self.edge_encoder,
            rate=CommitRate(),
            heartbeat_seconds=5.0,
            loop=cast("asyncio.AbstractEventLoop", self.loop),
            clock=self.loop.time,
        )
        self.edge.release = lambda view: None  # type: ignore[method-assign]
        self.hub = cast("Hub", _Asking(self))
        self.asked = 0

    def note(self, change: Any) -> None:
        if change is not None:
            for view in change.views:
                if view in self.engine.watched:
                    self.engine.watched[view].producer.on_change(change)
            if not change.after.live:
                self.engine.encoder.forget(change.after.key)

    def pass_frames(self, company_id: str | None) -> None:
        line = self.engine.lines[company_id]
        while line.sent:
            self._take(company_id, line.sent.popleft())

    def _take(self, company_id: str | None, payload: bytes) -> None:
        follower = self.replicas.by_company[company_id]
        for change in follower.take(*wire.decode(payload), self.now):
            self.edge.on_change(change)

    def follow(self, company_id: str | None) -> None:
        """Ask until nothing is missing."""
        if company_id not in self.replicas.by_company:
            self.engine.watch(company_id)
            self.replicas.by_company[company_id] = Follower(Scope(company_id))
        follower = self.replicas.by_company[company_id]
        while follower.lost:
            self.asked += 1
            parts = self.engine.state(company_id)
            follower.begin_state()
            for part in parts:
                for change in follower.take_state(*wire.decode(part), self.now):
                    self.edge.on_change(change)
            self.pass_frames(company_id)

    @invariant()
    def everybody_who_reads_on_is_right(self) -> None:
        if self.seq % 5 == 0:  # between, frames wait on the line, and some are lost
            super().everybody_who_reads_on_is_right()

    @rule(seconds=st.sampled_from([0.01, 0.2]))
    def commit(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def edge_reads(self) -> None:
        for company_id in self.engine.lines:
            self.pass_frames(company_id)

    @rule(number=st.integers(0, 3), twice=st.booleans())
    def a_frame_is_lost_or_comes_twice(self, number: int, twice: bool) -> None:
        for line in self.engine.lines.values():
            if len(line.sent) > number:
                if twice:
                    line.sent.insert(number, line.sent[number])
                else:
                    del line.sent[number]

    @rule(kept=st.integers(0, 3))
    def edge_forgets_ended(self, kept: int) -> None:
        for follower in self.replicas.by_company.values():
            if follower.replica is not None:
                follower.replica.trim(0, kept, 100)

    def catch_up(self, client: Client) -> None:
        company_id = client.scope.company_id
        view = self.table.view(client.scope.base)
        self.engine.watched[view].producer.commit()
        for _ in range(400):
            self.pass_frames(company_id)
            follower = self.replicas.by_company[company_id]
            if not follower.lost and follower.version == view.version:
                break
            if follower.lost:
                self.follow(company_id)
            elif not self.engine.lines[company_id].sent:
                # The last frame was lost: the next heartbeat shows it.
                self.loop.advance(5.0)
        assert follower.version == view.version
        assert client.subscriber is not None
        mine = self.replicas.view(client.scope)
        for _ in range(400):
            client.read()
            if client.subscriber.cursor == mine.version and not client.subscriber.heartbeat_due:
                break
            self.loop.advance(0.11)
        table, hub = self.table, self.hub
        try:
            self.table, self.hub = cast("Any", _Shown(table, self.replicas)), self.edge
            super().catch_up(client)
        finally:
            self.table, self.hub = table, hub
        assert follower.diverged == 0
        assert (mine.live, mine.digest) == (
            len(client.dashboard.calls),
            client.dashboard.digest,
        )


class _Shown:
    """The calls of the engine, the views of the edge."""

    def __init__(self, table: Any, replicas: Replicas) -> None:
        self.calls, self.view = table.calls, replicas.view


class _Asking:
    """The hub of the edge as clients meet it: it follows a view before they join."""

    def __init__(self, day: EdgeDay) -> None:
        self._day = day

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        self._day.follow(scope.company_id)
        return self._day.edge.subscribe(scope, position)


def test_clients_of_an_edge_are_always_right(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    run_state_machine_as_test(
        EdgeDay,
        settings=settings(max_examples=examples(150), stateful_step_count=50, deadline=None),
    )


def test_clients_of_an_edge_are_right_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    in_single_steps(monkeypatch)
    run_state_machine_as_test(
        EdgeDay,
        settings=settings(max_examples=examples(150), stateful_step_count=50, deadline=None),
    )
