"""Promises V, J and L: clients that join, lag, drop and resume at random instants of a random day.

The hub, the views and the bytes are the real ones; only time is the test's. The oracle is naive:
it filters all calls anew, every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from api import sse
from api.wire import SseWire
from livestate import diff
from livestate.access import Scope
from livestate.active_calls import ActiveCalls, Change
from livestate.call import stamp_of
from livestate.client import Dashboard, Parser
from livestate.events import SyncedCall
from livestate.runtime.channel import Pace, Subscriber
from livestate.runtime.hub import Hub
from tests.calls import event

SCOPES = [
    Scope(), Scope("101"), Scope("102"), Scope(states=frozenset({"answered"})),
    Scope("101", states=frozenset({"ringing", "held"})), Scope(trunks=frozenset({"gw-a"})),
    Scope("102", frozenset({"answered", "held"}), frozenset({"gw-b"})),
]  # fmt: skip
PHASES = ("setup", "ringing", "early_media", "reroute", "answered", "hold", "resume", "transfer",
          "notice", "ended", "failed")  # fmt: skip


class Loop:
    """An event loop whose time stands until the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self, when, call))
        return self.timers[-1]

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        return self.call_at(self.now + delay, call)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= until]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.call()
        self.now = until


class Timer:
    def __init__(self, loop: Loop, when: float, call: Callable[[], None]) -> None:
        self.loop, self.when, self.call = loop, when, call

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class Pipe:
    """A client's connection: what is written waits until the client reads."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def ready(self) -> bool:
        return not self.sent

    def write(self, frames: Iterable[bytes]) -> None:
        self.sent += frames


class Client:
    """A dashboard: folds what it reads, remembers its position, comes back."""

    def __init__(self, hub: Hub, scope: Scope) -> None:
        self.hub = hub
        self.scope = scope
        self.dashboard = Dashboard()
        self.subscriber: Subscriber | None = None
        self.pipe = Pipe()
        self.snapshots = 0

    def join(self) -> None:
        position = sse.read_id(self.dashboard.last_id)
        self.subscriber = self.hub.subscribe(self.scope, position)
        self.subscriber.heartbeat_due = True
        self.pipe = Pipe()
        self.parser = Parser()
        self.serve()

    def serve(self) -> None:
        """What the stream's own task does before it hands over."""
        assert self.subscriber is not None
        self.pipe.write(self.subscriber.next_frames())
        self.subscriber.attach(self.pipe)

    def read(self) -> None:
        """Take all that was written, and let the hub write again, until nothing comes."""
        while self.subscriber is not None and self.pipe.sent:
            sent, self.pipe.sent = self.pipe.sent, []
            for frame in sent:
                for one in self.parser.feed(frame):
                    self.dashboard.fold(one)
                    self.snapshots += one.name == "snapshot"

    def leave(self) -> None:
        if self.subscriber is not None:
            self.subscriber.leave()
            self.subscriber = None
        self.dashboard.complete = bool(self.dashboard.last_id)


class Day(RuleBasedStateMachine):
    """Calls of two companies on one node, and clients of every scope."""

    clients = Bundle("clients")

    @initialize()
    def begin(self) -> None:
        self.loop = Loop()
        self.now = 1_795_000_000_000
        self.seq = 0
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.wire = SseWire(lambda: self.now)
        self.hub = Hub(self.table, self.wire, pace=Pace(), heartbeat_seconds=5.0,
                       loop=cast("asyncio.AbstractEventLoop", self.loop))  # fmt: skip
        self.all: list[Client] = []

    def note(self, change: Change | None) -> None:
        if change is not None:
            self.hub.note(change)

    @rule(
        call=st.integers(1, 6), phase=st.sampled_from(PHASES),
        company=st.sampled_from([None, "101", "101", "102", "102", "103"]),
        trunk=st.sampled_from([None, "gw-a", "gw-b"]), late=st.integers(0, 3),
    )  # fmt: skip
    def happen(self, call: int, phase: str, company: str | None, trunk: str | None,
               late: int) -> None:  # fmt: skip
        self.seq += 4
        told: dict[str, Any] = {"company_id": company, "trunk": trunk, "detail": f"{self.seq}"}
        told = {name: value for name, value in told.items() if value is not None}
        one = event(phase, self.seq - 5 * late if self.seq > 15 else self.seq,
                    dialog=f"{call}.{call}", call_id=f"c{call}", **told)  # fmt: skip
        self.note(self.table.apply(one, self.now))

    @rule(listed=st.sets(st.integers(1, 6)), state=st.sampled_from(["ringing", "answered", "held"]))
    def list_dialogs(self, listed: set[int], state: str) -> None:
        self.seq += 1
        stamp = stamp_of(1, self.seq, listed=True)
        keys = set()
        for call in listed:
            item = SyncedCall(call_id=f"c{call}", dialog=f"{call}.{call}", state=state)  # type: ignore[arg-type]
            key = self.table.key_of("n1", item.dialog, item.call_id)
            keys.add(key)
            self.note(self.table.apply_listed("n1", key, item, stamp, self.now))
        for change in self.table.close_missing("n1", stamp, keys, self.now):
            self.note(change)

    @rule()
    def node_restarts(self) -> None:
        for change in self.table.unconfirm("n1", self.now):
            self.note(change)

    @rule(kept=st.integers(0, 3))
    def forget_ended(self, kept: int) -> None:
        for key in self.table.trim(0, kept):
            self.wire.forget(key)

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += int(seconds * 1000)
        self.loop.advance(seconds)

    @rule(target=clients, scope=st.sampled_from(SCOPES))
    def join(self, scope: Scope) -> Any:
        if len(self.all) >= 12:
            return multiple()
        client = Client(self.hub, scope)
        client.join()
        self.all.append(client)
        return client

    @rule(client=clients)
    def read(self, client: Client) -> None:
        client.read()

    @rule(client=clients, read_first=st.booleans())
    def drop(self, client: Client, read_first: bool) -> None:
        if read_first:
            client.read()
        client.leave()

    @rule(client=clients)
    def come_back(self, client: Client) -> None:
        if client.subscriber is None:
            client.join()

    @invariant()
    def everybody_who_reads_on_is_right(self) -> None:
        if not getattr(self, "all", None):
            return
        for client in self.all[:: 1 + self.seq % 3]:  # the others go on lagging
            if client.subscriber is None:
                continue
            self.catch_up(client)

    def catch_up(self, client: Client) -> None:
        client.read()
        assert client.subscriber is not None
        client.subscriber.channel.commit()
        client.read()
        view = self.table.view(client.scope)
        expected = {
            key: diff.record(call) for key, call in self.table.calls.items()
            if call.live and client.scope.admits(call)
        }  # fmt: skip
        shown = client.dashboard.calls
        without_versions = {
            key: {name: told for name, told in one.items() if name != "v"}
            for key, one in shown.items()
        }
        assert without_versions == expected
        assert (view.live, view.digest) == (len(shown), client.dashboard.digest)
        assert client.dashboard.diverged == 0

    def teardown(self) -> None:
        for client in getattr(self, "all", []):
            if client.subscriber is None:
                client.join()
            self.catch_up(client)


def test_clients_that_join_lag_drop_and_resume_are_always_right() -> None:
    run_state_machine_as_test(
        Day, settings=settings(max_examples=150, stateful_step_count=50, deadline=None)
    )


@given(
    own=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), min_size=1, max_size=12),
    others=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), max_size=30),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_a_company_gets_the_same_bytes_whatever_others_do(
    own: list[tuple[int, str]], others: list[tuple[int, str]], seed: Any
) -> None:
    """Promise L, byte for byte: ids, versions, counts, digests, and when frames come."""

    own_steps = [(0.05 * at, "101", at, *one) for at, one in enumerate(own, 1)]
    others_steps = [
        (seed.uniform(0, 0.05 * len(own)), "102", at, *one) for at, one in enumerate(others, 1)
    ]

    def stream(steps: list[Any]) -> list[tuple[float, bytes]]:
        loop = Loop()
        table = ActiveCalls(secret=b"s" * 16, epoch="e")
        hub = Hub(table, SseWire(lambda: int(loop.now * 1000)), pace=Pace(), heartbeat_seconds=5.0,
                  loop=cast("asyncio.AbstractEventLoop", loop))  # fmt: skip
        got: list[tuple[float, bytes]] = []

        class Quick(Pipe):
            def write(self, frames: Iterable[bytes]) -> None:
                got.extend((round(loop.now, 6), frame) for frame in frames)

        company, everything = (hub.subscribe(scope, None) for scope in (Scope("101"), Scope()))
        for subscriber, pipe in ((company, Quick()), (everything, Pipe())):
            pipe.write(subscriber.next_frames())
            subscriber.attach(pipe)
        for at, whose, seq, call, phase in sorted(steps):
            loop.advance(at - loop.now)
            told = event(phase, seq, node=f"n{whose}", dialog=f"{call}.{call}",
                         call_id=f"{whose}-{call}", company_id=whose)  # fmt: skip
            change = table.apply(told, int(loop.now * 1000))
            if change is not None:
                hub.note(change)
        loop.advance(11)
        return got

    assert stream(own_steps + others_steps) == stream(own_steps)


def test_a_company_that_somebody_asked_for_and_that_never_called_leaves_nothing_behind() -> None:
    """Who may see all calls may ask for any name, thousands of them: each would be kept for ever,
    in Redis too."""
    loop = Loop()
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    hub = Hub(table, SseWire(lambda: int(loop.now * 1000)), pace=Pace(), heartbeat_seconds=5.0,
              loop=cast("asyncio.AbstractEventLoop", loop))  # fmt: skip
    held = frozenset({"held"})
    table.apply(event("answered", 1, company_id="101"), 1)
    before = set(table.views())
    for number in range(20):
        for scope in (Scope(f"new {number}"), Scope(f"new {number}", held), Scope("101", held)):
            hub.unwatched(table.view(scope))  # as a snapshot does
    assert set(table.views()) == before
    watched = hub.subscribe(Scope("102"), None)
    filtered = [hub.subscribe(Scope("102", held), None) for _ in range(2)]
    for subscriber in filtered:
        subscriber.leave()
    change = table.apply(event("answered", 2, dialog="2.2", company_id="102"), 2)
    assert change is not None
    assert watched.channel.view in change.views, "it was let go of under its watcher"
    watched.leave()
    assert table.view(Scope("102")) is watched.channel.view, "its numbering must not begin anew"
    first, second = hub.subscribe(Scope("103", held), None), hub.subscribe(Scope("103"), None)
    second.leave()
    assert Scope("103") in {view.scope for view in table.views()}, "a filter needs its base"
    first.leave()
    assert "103" not in {view.scope.company_id for view in table.views()}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_position_below_the_floor_is_a_snapshot(scope: Scope) -> None:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    view = table.view(scope)
    for number in range(1, 20):
        told = {"dialog": f"{number}.1", "company_id": "101", "trunk": "gw-a"}
        table.apply(event("answered", 2 * number, **told), number)
        table.apply(event("ended", 2 * number + 1, **told), number)
    assert view.resumable(view.tag, 0)
    table.trim(0, 2)
    assert view.resumable(view.tag, view.version)
    assert not view.resumable(view.tag, view.version + 1)
    assert not view.resumable("0" * 16, view.version)
    if view.version:
        assert not view.resumable(view.tag, 0)
