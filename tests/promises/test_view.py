"""Promises V and J: clients that join, lag, drop and resume at random instants of a random day.

The hub, the views and the bytes are the real ones; only time is the test's. The oracle is naive:
it filters all calls again, every time.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import settings
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

from api.stream import encoder
from api.stream.encoder import SseEncoder
from livestate.contract.events import SyncedCall
from livestate.fanout import patch
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.position import position_at
from tests.calls import event
from tests.dashboards import PHASES, Client, Loop
from tests.examples import examples
from tests.promises.engines_and_edges import in_single_steps

SCOPES = [
    Scope(), Scope("101"), Scope("102"), Scope(states=frozenset({"answered"})),
    Scope("101", states=frozenset({"ringing", "held"})), Scope(trunks=frozenset({"gw-a"})),
    Scope("102", frozenset({"answered", "held"}), frozenset({"gw-b"})),
]  # fmt: skip


class Day(RuleBasedStateMachine):
    """Calls of two companies on one node, and clients of every scope."""

    clients = Bundle("clients")

    @initialize()
    def begin(self) -> None:
        self.loop = Loop()
        self.now = 1_795_000_000_000
        self.seq = 0
        self.epoch = 5
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.wire = SseEncoder(lambda: self.now)
        self.hub = Hub(
            self.table,
            self.wire,
            rate=CommitRate(),
            heartbeat_seconds=5.0,
            loop=cast("asyncio.AbstractEventLoop", self.loop),
            clock=self.loop.time,
        )
        self.all: list[Client] = []

    def note(self, change: Change | None) -> None:
        if change is not None:
            self.hub.on_change(change)

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
                    dialog=f"{call}.{call}", call_id=f"c{call}", epoch=self.epoch,
                    **told)  # fmt: skip
        self.note(self.table.apply(one, self.now))

    @rule(listed=st.sets(st.integers(1, 6)), state=st.sampled_from(["ringing", "answered", "held"]))
    def list_dialogs(self, listed: set[int], state: str) -> None:
        self.seq += 1
        position = position_at(self.epoch, self.seq, from_sync=True)
        keys = set()
        for call in listed:
            item = SyncedCall(call_id=f"c{call}", dialog=f"{call}.{call}", state=state)  # type: ignore[arg-type]
            key = self.table.key_of("n1", item.dialog, item.call_id)
            keys.add(key)
            self.note(self.table.apply_listed("n1", key, item, position, self.now))
        for change in self.table.sweeps.close_missing("n1", position, keys, self.now):
            self.note(change)

    @rule()
    def node_restarts(self) -> None:
        for change in self.table.sweeps.unconfirm("n1", self.now):
            self.note(change)

    @rule(by=st.sampled_from([-1, 0, 1]), back=st.integers(1, 40), kept=st.sets(st.integers(1, 6)),
          listed=st.booleans())  # fmt: skip
    def numbers_begin_anew(self, by: int, back: int, kept: set[int], listed: bool) -> None:
        """Another epoch, or lower numbers of the same: with the list that decides, or without."""
        if (by == 0 and self.seq <= back) or (by < 0 and self.epoch == 1):
            return
        self.epoch += by
        self.seq = self.seq - back if by == 0 else 0
        position = position_at(self.epoch, self.seq, from_sync=True)
        keys = {self.table.key_of("n1", f"{call}.{call}", f"c{call}") for call in kept}
        if listed:
            changes = self.table.sweeps.take_over(
                "n1", position, keys, lambda: position, self.now, lambda call: False
            )
        else:
            changes = self.table.sweeps.set_back(
                "n1",
                self.now,
                position_at(self.epoch, max(self.seq - back, 0)),
                position_at(self.epoch, self.seq),
                lambda: position,
            )
        for change in changes:
            self.note(change)

    @rule(listed=st.sets(st.integers(1, 6)))
    def list_of_a_contested_node(self, listed: set[int]) -> None:
        keys = {self.table.key_of("n1", f"{call}.{call}", f"c{call}") for call in listed}
        position = position_at(self.epoch, self.seq, from_sync=True)
        for change in self.table.sweeps.close_of_epoch(
            "n1", position, keys, self.now, lambda call: False
        ):
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

    @rule(client=clients, share=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]))
    def drop(self, client: Client, share: float) -> None:
        """It has read a part of what was written: maybe in the midst of a diff in parts."""
        if client.subscriber is not None:
            client.read_share(share)
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
        view = self.table.view(client.scope)
        self.hub.producers[view].commit()
        self.hub.distributors[view].offer_to_lagging()
        client.read()
        expected = {
            key: patch.record(call) for key, call in self.table.calls.items()
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


class SlicedDay(Day):
    """The same where every snapshot, diff and round is too long for one callback: other events
    come between any two slices."""

    def catch_up(self, client: Client) -> None:
        assert client.subscriber is not None
        view = self.table.view(client.scope)
        for _ in range(400):
            client.read()
            if client.subscriber.cursor == view.version and not client.subscriber.heartbeat_due:
                break
            self.loop.advance(0.11)
        super().catch_up(client)


def test_clients_are_right_also_where_all_work_is_done_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_single_steps(monkeypatch)
    monkeypatch.setattr(encoder, "SNAPSHOT_PART_BYTES", 300)
    monkeypatch.setattr(patch, "LINE_BYTES", 400)
    run_state_machine_as_test(
        SlicedDay,
        settings=settings(max_examples=examples(300), stateful_step_count=50, deadline=None),
    )


def test_clients_are_right_where_diffs_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "LINE_BYTES", 400)
    run_state_machine_as_test(
        Day, settings=settings(max_examples=examples(60), stateful_step_count=50, deadline=None)
    )


def test_clients_that_join_lag_drop_and_resume_are_always_right() -> None:
    run_state_machine_as_test(
        Day, settings=settings(max_examples=examples(150), stateful_step_count=50, deadline=None)
    )
