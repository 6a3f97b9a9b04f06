"""Engines and edges for :mod:`tests.promises.test_takeover`: what they send each other is held
back, lost or doubled by the test. And limits so low that few calls reach them, for
:mod:`tests.promises.test_cluster` too."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, cast

import pytest

from api.stream.encoder import SseEncoder
from livestate.cluster import rows, wire
from livestate.cluster.follower import Follower
from livestate.cluster.heard_engine import HeardEngine
from livestate.cluster.replicas import Replicas
from livestate.cluster.succession import SKIPPED, accept
from livestate.cluster.view_publisher import ViewPublisher
from livestate.cluster.wire import Beat, Held
from livestate.fanout import producer, snapshots
from livestate.fanout.context import CommitRate, FanoutContext
from livestate.fanout.hub import Hub
from livestate.fanout.subscriber import Subscriber
from livestate.process import slices
from livestate.state import narrowed
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.view import View
from livestate.store import merge
from livestate.store.loader import Loaded
from livestate.store.stored_table import StoredTable

if TYPE_CHECKING:
    from tests.promises.test_takeover import TakeoverDay


def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """States between engine and edges come in many parts."""
    monkeypatch.setattr(wire, "PART_BYTES", 200)
    monkeypatch.setattr(rows, "PART_BYTES", 200)


def in_single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done in slices is done in slices of one step."""
    monkeypatch.setattr(snapshots, "AT_ONCE", 0)
    monkeypatch.setattr(producer, "DIFF_AT_ONCE", 2)
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1.0)  # one step a round
    monkeypatch.setattr(narrowed, "RESUMED_ROWS", 1)


def taken_over(stored: merge.Stored, memory: merge.InMemory, now: int) -> ActiveCalls:
    """The table of a warm engine that had what Redis holds at hand."""
    table = ActiveCalls(secret=stored.secret, epoch="warm")
    for call in memory.calls.values():
        table.adopt(call, now)
    table.nodes.listed.update(memory.lists)
    loaded = Loaded(stored.epoch, stored.secret, list(stored.calls), stored.scopes, 0, "")
    at_hand = StoredTable(loaded, table, now)
    at_hand.touch(table.calls)
    at_hand.go_on(SKIPPED)
    while not at_hand.merge(now, 2):
        pass
    at_hand.exchange()
    return table


class Engine:
    """One engine: its table, and the parts of :class:`~livestate.cluster.publisher.EdgeFeed` that
    are not NATS. ``leadership`` is itself."""

    leads = True

    def __init__(self, day: TakeoverDay, table: ActiveCalls, fence: int) -> None:
        self.day, self.table, self.fence = day, table, fence
        self.encoder = SseEncoder(lambda: day.now)
        self.context: FanoutContext = day.own_hub.context
        self.frames = 0
        self.watched: dict[View, ViewPublisher] = {}
        self.leadership = self.outbox = self

    def put(self, subject: str, payload: bytes) -> None:
        for edge in self.day.edges:
            edge.inbox[subject].append(payload)

    def beat(self) -> Beat:
        return Beat(self.fence, self.table.epoch, True, 0, None, "", [])

    def note(self, change: Change | None) -> None:
        if change is None:
            return
        for view in change.views:
            if view in self.watched:
                self.watched[view].producer.on_change(change)
        if not change.after.live:
            self.encoder.forget(change.after.key)

    def watch(self, company_id: str | None) -> ViewPublisher:
        view = self.table.view(Scope(company_id))
        if view not in self.watched:
            view.watched += 1
            self.watched[view] = ViewPublisher(cast("Any", self), view)
        return self.watched[view]

    def state(self, request: bytes) -> list[bytes]:
        company_id, held = wire.decode_scope(request)
        publisher = self.watch(company_id)
        if held is not None:
            accept(self.table, publisher.producer.view, held, self.day.now)
        publisher.producer.commit()
        view = publisher.producer.view
        head = publisher.head("state", view.version)
        if held is not None and held.rest and view.resumable(held.tag, held.version):
            head = head._replace(since=held.version)
        made = list(rows.state_parts(view.history(head.since or -1), self.encoder.records))
        last = len(made) - 1
        return [
            wire.encode(head._replace(part=number, more=number < last), part)
            for number, part in enumerate(made)
        ]

    def stop(self) -> None:
        for publisher in self.watched.values():
            publisher.producer.stop()


class Edge:
    """One edge: what :class:`~livestate.cluster.edge.EdgeHub` does, without NATS."""

    def __init__(self, day: TakeoverDay) -> None:
        self.day = day
        self.inbox: dict[str, deque[bytes]] = defaultdict(deque)
        self.heard = HeardEngine(day.now)
        self.replicas = Replicas()
        self.hub = Hub(
            self.replicas,
            SseEncoder(lambda: day.now),
            rate=CommitRate(),
            heartbeat_seconds=5.0,
            loop=cast("asyncio.AbstractEventLoop", day.loop),
            clock=day.loop.time,
        )
        self.hub.release = lambda view: None  # type: ignore[method-assign]

    def hear(self) -> None:
        if self.heard.hear(self.day.engine.beat(), self.day.now):
            for follower in self.replicas.by_company.values():
                follower.forget()

    def read(self, company_id: str | None) -> None:
        queue = self.inbox[wire.FRAMES + wire.view_name(company_id)]
        follower = self.replicas.by_company.get(company_id)
        while queue:
            head, body = wire.decode(queue.popleft())
            if follower is not None and self.heard.sent(head, follower.scope):
                for change in follower.take(head, body, self.day.now):
                    self.hub.on_change(change)

    def ask(self, engine: Engine, company_id: str | None, parts: int | None = None) -> None:
        """Ask ``engine`` for the state; only the first ``parts`` of it arrive."""
        follower = self.replicas.by_company[company_id]
        known, held = follower.replica, cast("Held | None", None)
        if known is not None and not self.heard.names(known.view.tag, known.scope):
            held = follower.held()
        follower.begin_state()
        for payload in engine.state(wire.encode_scope(company_id, held))[:parts]:
            head, body = wire.decode(payload)
            if not self.heard.sent(head, follower.scope):
                return
            for change in follower.take_state(head, body, self.day.now):
                self.hub.on_change(change)
        if known is not None and follower.replica is not known:
            self.day.rebuilt += 1
            for view in (known.view, *known.filtered.values()):
                distributor = self.hub.distributors.get(view)
                for subscriber in tuple(distributor.subscribers) if distributor else ():
                    subscriber.end("rotation")

    def follow(self, company_id: str | None) -> Follower:
        self.hear()
        follower = self.replicas.by_company.get(company_id)
        if follower is None:
            self.day.engine.watch(company_id)
            follower = self.replicas.by_company[company_id] = Follower(Scope(company_id))
        while follower.lost:
            self.ask(self.day.engine, company_id)
            self.read(company_id)
        return follower

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        self.follow(scope.company_id)
        return self.hub.subscribe(scope, position)
