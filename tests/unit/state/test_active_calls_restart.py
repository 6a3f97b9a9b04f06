"""Clients and versions across restarts of the service, and across the exchange of a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestate.contract.errors import Rejected
from livestate.fanout.patch import record
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import position_at
from livestate.state.sweeps import PAUSE_EVERY
from livestate.state.view import View
from livestate.store.record import decode, encode
from tests.calls import event
from tests.examples import examples

# -- across a restart of ours -----------------------------------------------------------------

COMPANIES = ("101", "102")


EVERY_SCOPE = (
    Scope(), *map(Scope, COMPANIES), Scope("101", states=frozenset({"held"})),
    Scope(trunks=frozenset({"gw-a"})),
)  # fmt: skip


def shown(table: ActiveCalls, scope: Scope) -> dict[str, dict[str, Any]]:
    """The calls that a dashboard of this scope must show, computed without versions."""
    return {
        key: record(call)
        for key, call in table.calls.items()
        if call.live and scope.admits(call)
    }  # fmt: skip


class Folder:
    """A dashboard that reads a view directly: whole records, removals, a position."""

    def __init__(self, view: View) -> None:
        self.scope, self.tag, self.version = view.scope, view.tag, view.version
        self.rows = {key: (record(call), at) for key, call, at in view.snapshot()}

    def resume(self, view: View) -> None:
        """As the stream does: a diff if the position fits, else a snapshot."""
        if not view.resumable(self.tag, self.version):
            self.__init__(view)  # type: ignore[misc]
            return
        for key, call, at in view.since(self.version):
            if call is None:
                self.rows.pop(key, None)
            else:
                known = self.rows.get(key, ({}, 0))[0]
                self.rows[key] = (known | record(call), at)
        self.tag, self.version = view.tag, view.version

    def is_right(self, table: ActiveCalls) -> None:
        view = table.view(self.scope)
        assert {key: record for key, (record, _) in self.rows.items()} == shown(table, self.scope)
        assert len(self.rows) == view.live
        assert sum(at for _, at in self.rows.values()) % 2**53 == view.digest


def restarted(old: ActiveCalls, epoch: str) -> ActiveCalls:
    """The same calls in another process, by way of what was stored of each."""
    table = make_named(epoch)
    stored = [(key, encode(call, old.versions_of(call))) for key, call in old.calls.items()]
    scopes = {
        view.scope.company_id or "": (view.version, view.stored_floor)
        for view in old.views if not view.scope.filtered
    }  # fmt: skip
    table.restore([decode(*one) for one in stored], scopes, old.epoch, 1)
    return table


def make_named(epoch: str) -> ActiveCalls:
    return ActiveCalls(secret=b"s" * 16, epoch=epoch)


HAPPENS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from(["setup", "ringing", "answered", "hold", "resume", "ended"]),
        st.sampled_from([None, "101", "102"]),
        st.sampled_from([None, "gw-a", "gw-b"]),
        st.sampled_from(["go on", "go on", "go on", "read", "join", "restart", "trim"]),
    ),
    min_size=1,
    max_size=40,
)


def tell(table: ActiveCalls, seq: int, call: int, phase: str, **facts: str | None) -> None:
    known = {name: value for name, value in facts.items() if value is not None}
    table.apply(event(phase, seq, dialog=f"{call}.1", call_id=f"c{call}", **known), seq)


@given(HAPPENS, st.sampled_from(EVERY_SCOPE), st.integers(0, 3))
@example(
    happens=[
        (5, "setup", "102", None, "go on"),
        (1, "setup", None, None, "join"),  # by a client of 102
        (5, "ended", None, None, "go on"),
        (1, "ended", None, None, "trim"),
        (1, "setup", None, None, "restart"),
    ],
    first=Scope(),
    kept=1,
)
@example(  # a filter is asked for before the company's first call
    happens=[
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "join"),
        (1, "setup", "101", None, "restart"),
    ],
    first=Scope("101", states=frozenset({"held"})),
    kept=0,
)
@example(  # a forgotten call's name begins a new one, of which less is known
    happens=[
        (2, "setup", None, None, "go on"),
        (1, "setup", None, None, "restart"),
        (1, "ended", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "join"),  # by a client of all calls, who is away from now on
        (1, "setup", None, None, "go on"),
        (2, "ended", None, None, "restart"),
        (1, "setup", None, None, "trim"),
        (2, "setup", None, None, "go on"),
    ],
    first=Scope(),
    kept=1,
)
@settings(max_examples=examples(400), deadline=None)
def test_a_client_is_right_after_any_restarts_of_ours(
    happens: list[tuple[int, str, str | None, str | None, str]], first: Scope, kept: int
) -> None:
    """Joins, misses some, and comes back with a position of this process or of the one before."""
    table = make_named("e0")
    folders = [Folder(table.view(first))]
    restarts = 0
    for seq, (call, phase, company, trunk, then) in enumerate(happens, 1):
        tell(table, seq, call, phase, company_id=company, trunk=trunk)
        if then == "join":
            folders.append(Folder(table.view(EVERY_SCOPE[seq % len(EVERY_SCOPE)])))
        elif then == "trim":
            table.trim(0, kept)
        elif then == "restart":
            restarts += 1
            table = restarted(table, f"e{restarts}")
        if then in ("read", "restart"):
            for folder in folders[:: 1 + seq % 2]:
                folder.resume(table.view(folder.scope))
                folder.is_right(table)
    for folder in folders:
        folder.resume(table.view(folder.scope))
        folder.is_right(table)


def test_a_filter_asked_for_before_a_companys_first_call_does_not_spoil_its_numbers() -> None:
    """What is stored of a call is where its company's view saw it, not where the filter did."""
    table = make_named("e0")
    table.view(Scope("101", states=frozenset({"held"})))
    for seq, phase in enumerate(("setup", "ringing", "answered"), 1):
        tell(table, seq, 1, phase, company_id="101")
    (call,) = table.calls.values()
    assert table.versions_of(call)["101"] == table.view(Scope("101")).rows[call.key]


# -- another table -------------------------------------------------------------------------------


def test_limits_and_floors_outlive_the_exchange_of_a_table() -> None:
    """The table that is made of what Redis kept knows neither the limits nor the node lists."""
    floors = {"n1": {1: position_at(1, 50, from_sync=True)}}
    table = ActiveCalls(secret=b"s" * 16, epoch="e", most_companies=2, most_companies_a_node=2)
    table.floors = floors
    table.apply(event("answered", 1, company_id="101"), 1)
    other = ActiveCalls(secret=b"t" * 16, epoch="f")
    other.apply(event("answered", 1, company_id="101"), 1)
    table.become(other)
    assert table.floors is floors
    table.apply(event("answered", 60, dialog="2.2", company_id="102"), 2)
    with pytest.raises(Rejected, match="too_many_companies"):
        table.apply(event("answered", 61, dialog="3.3", company_id="103"), 2)
    # Judged by the list of its own numbering: it is older than that list, so it creates no call.
    assert table.apply(event("answered", 40, dialog="4.4", company_id="101"), 2) is None


def test_a_sweep_that_was_running_ends_quietly_when_the_table_is_exchanged() -> None:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    for number in range(PAUSE_EVERY + 1):
        table.apply(event("answered", number + 1, dialog=f"{number}.1"), 1)
    sweep = table.sweeps.close_missing("n1", position_at(1, 10_000, from_sync=True), set(), 2)
    assert next(sweep) is not None
    other = ActiveCalls(secret=b"t" * 16, epoch="f")
    other.apply(event("answered", 1, dialog="0.1"), 1)
    table.become(other)
    assert [step for step in sweep if step is not None] == []
    assert table.live == 1
