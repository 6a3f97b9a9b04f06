"""Promises V and J while engines die at any moment, and come back, with clients on two edges.

The new engine is the merge of what Redis held, which lags, and of what it folded itself, which may
lack anything. The oracle is its own table: each client ends with exactly that, whichever positions
it and the edges were at, and no digest has ever been needed to find that out.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, multiple, rule, run_state_machine_as_test

from livestate.cluster.succession import SKIPPED
from livestate.cluster.wire import Unreadable
from livestate.fanout import patch
from livestate.fanout.hub import Hub
from livestate.state.access import Scope
from livestate.state.active_calls import Change
from livestate.store import merge
from tests.examples import examples
from tests.promises.engines_and_edges import (
    Edge,
    Engine,
    in_single_steps,
    in_small_parts,
    taken_over,
)
from tests.promises.test_view import SCOPES, Client, Day


class TakeoverDay(Day):
    """The same days; clients meet two edges, and engines follow each other."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.own_hub, self.rebuilt = self.hub, 0
        self.edges: list[Edge] = []
        self.engine = Engine(self, self.table, 1)
        self.former: Engine | None = None
        self.edges += [Edge(self), Edge(self)]
        self.flush()
        self.remember()

    def note(self, change: Change | None) -> None:
        self.engine.note(change)

    # -- Redis, and an engine that is warm ------------------------------------------------------

    @rule()
    def flush(self) -> None:
        self.stored = {
            key: (call, self.table.versions_of(call)) for key, call in self.table.calls.items()
        }
        self.numbers = {
            view.scope.company_id or "": (view.version, view.stored_floor)
            for view in self.table.views
            if not view.scope.filtered
        }
        self.stored_epoch = self.table.epoch

    @rule(share=st.integers(2, 3))
    def flush_is_cut_off(self, share: int) -> None:
        """Some of the calls, and the floors; no version of a view."""
        if self.stored_epoch != self.table.epoch:
            return
        keys = [*self.stored, *self.table.calls][::share]
        for key in keys:
            call = self.table.calls.get(key)
            if call is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = call, self.table.versions_of(call)
        for view in self.table.views:
            company = view.scope.company_id or ""
            if not view.scope.filtered and company in self.numbers:
                self.numbers[company] = self.numbers[company][0], view.stored_floor

    @rule()
    def remember(self) -> None:
        self.remembered = merge.in_memory(self.table, {"n1": self.epoch})

    @rule(
        folded=st.sampled_from(["all", "all", "some", "less", "nothing"]), at_hand=st.booleans()
    )  # fmt: skip
    def engine_dies(self, folded: str, at_hand: bool = False) -> None:
        memory = merge.in_memory(self.table, {"n1": self.epoch})
        if folded == "some":
            calls = {key: call for key, call in memory.calls.items() if hash(call.identity) % 3}
            memory = memory._replace(calls=calls)
        elif folded == "less":
            memory = self.remembered
        elif folded == "nothing":
            memory = merge.InMemory({}, {}, {})
        self.engine.stop()
        self.former, fence = self.engine, self.engine.fence + 1
        stored = merge.Stored(self.stored.values(), self.numbers, self.stored_epoch, b"s" * 16)
        if at_hand:
            self.table = taken_over(stored, memory, self.now)
        else:
            both = merge.merged(stored, memory, f"e{fence}", 1_000, self.now, SKIPPED)
            self.table = both.table
        self.engine = Engine(self, self.table, fence)

    @rule(
        client=Day.clients, calls=st.lists(st.integers(1, 6), min_size=1, max_size=4),
        phase=st.sampled_from(["hold", "resume", "transfer", "ended"]),
        company=st.sampled_from([None, "101", "102"]),
        folded=st.sampled_from(["less", "less", "nothing", "all"]), at_once=st.booleans(),
        at_hand=st.booleans(),
    )  # fmt: skip
    def engine_dies_after_a_change_that_one_edge_saw(
        self, client: Client, calls: list[int], phase: str, company: str | None, folded: str,
        at_once: bool, at_hand: bool,
    ) -> None:  # fmt: skip
        for call in calls:
            for known in ("setup", "answered"):
                self.happen(call, known, company, "gw-a", 0)
        if client.subscriber is None:
            client.join()
        self.catch_up(client)
        self.flush()
        self.remember()
        for call in calls:
            self.happen(call, phase, None, None, 0)
        edge = cast("Edge", client.hub)
        for company_id in tuple(edge.replicas.by_company):
            self.engine.watch(company_id).producer.commit()
            edge.read(company_id)
        self.loop.advance(0.2)
        client.read()
        self.engine_dies(folded, at_hand)
        if at_once:
            client.leave()
            client.hub = cast("Hub", self.edges[edge is self.edges[0]])
            client.join()
            self.catch_up(client)

    @rule(company_id=st.sampled_from([None, "101", "102"]), edge=st.integers(0, 1))
    def former_engine_comes_back(self, company_id: str | None, edge: int) -> None:
        """It does not know yet that another one leads: it changes calls, and answers."""
        former, asking = self.former, self.edges[edge]
        if former is None:
            return
        for key, call in tuple(former.table.calls.items()):
            if call.live:
                former.note(former.table.mark_unconfirmed(key, self.now))
        former.watch(company_id).producer.commit()
        if company_id in asking.replicas.by_company:
            with_former = asking.replicas.by_company[company_id]
            if with_former.lost:
                try:
                    asking.ask(former, company_id)
                except Unreadable:
                    with_former.begin_state()

    # -- NATS ----------------------------------------------------------------------------------

    @rule(edge=st.integers(0, 1))
    def edge_hears_a_beat(self, edge: int) -> None:
        self.edges[edge].hear()

    @rule(edge=st.integers(0, 1))
    def edge_reads(self, edge: int) -> None:
        for company_id in tuple(self.edges[edge].replicas.by_company):
            self.edges[edge].read(company_id)

    @rule(edge=st.integers(0, 1), number=st.integers(0, 3), twice=st.booleans())
    def a_frame_is_lost_or_comes_twice(self, edge: int, number: int, twice: bool) -> None:
        for queue in self.edges[edge].inbox.values():
            if len(queue) > number:
                if twice:
                    queue.insert(number, queue[number])
                else:
                    del queue[number]

    @rule(edge=st.integers(0, 1), parts=st.integers(1, 3))
    def a_state_is_cut_off(self, edge: int, parts: int) -> None:
        asking = self.edges[edge]
        for company_id, follower in asking.replicas.by_company.items():
            asking.hear()
            follower.forget()  # frames were lost
            asking.ask(self.engine, company_id, parts)

    @rule(edge=st.integers(0, 1), kept=st.integers(0, 3))
    def edge_forgets_ended(self, edge: int, kept: int) -> None:
        for follower in self.edges[edge].replicas.by_company.values():
            if follower.replica is not None:
                follower.replica.trim(0, kept, 100)

    # -- clients -------------------------------------------------------------------------------

    @rule(target=Day.clients, scope=st.sampled_from(SCOPES), edge=st.integers(0, 1))
    def join_at(self, scope: Scope, edge: int) -> Any:
        if len(self.all) >= 12:
            return multiple()
        client = Client(cast("Hub", self.edges[edge]), scope)
        client.join()
        self.all.append(client)
        return client

    @rule(target=Day.clients)
    def join(self) -> Any:  # type: ignore[override]
        return multiple()

    @rule(client=Day.clients, edge=st.integers(0, 1))
    def move(self, client: Client, edge: int) -> None:
        if client.subscriber is None:
            client.hub = cast("Hub", self.edges[edge])

    @rule()
    def forget_ended(self) -> None:  # type: ignore[override]
        for key in self.table.trim(0, 2):
            self.engine.encoder.forget(key)

    @invariant()
    def everybody_who_reads_on_is_right(self) -> None:
        if self.seq % 5 == 0:
            super().everybody_who_reads_on_is_right()

    def catch_up(self, client: Client) -> None:
        edge, company_id = cast("Edge", client.hub), client.scope.company_id
        view = self.table.view(client.scope.base)
        for _ in range(400):
            publisher = self.engine.watch(company_id)
            publisher.producer.commit()
            follower = edge.follow(company_id)
            edge.read(company_id)
            if follower.lost or follower.version != view.version:
                publisher.send_heartbeat(publisher.producer.heartbeat())
                self.loop.advance(0.11)
                continue
            if client.subscriber is None or client.subscriber.ended:
                client.leave()
                client.join()
            assert client.subscriber is not None
            client.read()
            mine = edge.replicas.view(client.scope)
            if client.subscriber.cursor == mine.version and not client.subscriber.heartbeat_due:
                break
            self.loop.advance(0.11)
        client.subscriber.heartbeat_due = True
        edge.hub.producers[mine].send_heartbeat()
        self.loop.advance(0.2)
        client.read()
        expected = {
            key: patch.record(call) for key, call in self.table.calls.items()
            if call.live and client.scope.admits(call)
        }  # fmt: skip
        shown = client.dashboard.calls
        assert {
            key: {name: value for name, value in one.items() if name != "v"}
            for key, one in shown.items()
        } == expected
        assert (mine.live, mine.digest) == (len(shown), client.dashboard.digest)
        assert client.dashboard.diverged == 0
        assert sum(one.diverged for one in edge.replicas.by_company.values()) == 0


def test_clients_are_right_whenever_engines_die(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    run_state_machine_as_test(
        TakeoverDay,
        settings=settings(max_examples=examples(150), stateful_step_count=50, deadline=None),
    )


def test_clients_are_right_in_slices_whenever_engines_die(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    in_single_steps(monkeypatch)
    run_state_machine_as_test(
        TakeoverDay,
        settings=settings(max_examples=examples(150), stateful_step_count=50, deadline=None),
    )
