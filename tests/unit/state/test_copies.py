"""Copies of another node's dialogs, one list at a time: what they confirm, spare and end."""

from __future__ import annotations

from typing import Any

import pytest

from livestate.contract.errors import Rejected
from livestate.contract.events import CopiedCall, Copies
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.nodes.registry import Nodes
from livestate.state.takeover import Takeover
from tests.calls import START, event


class Rig:
    """Node b holds copies of calls of node a, which was heard at 0 s only."""

    def __init__(self, most: int = 1_000, *, owner: bool = True) -> None:
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e", most=most)
        self.nodes = Nodes(stale_after=6_000)
        self.takeover = Takeover(self.table, self.nodes)
        if owner:
            self.nodes.observe("a", 5, 40, 0, numbered=False)
        self.nodes.observe("b", 1, 1, 0, numbered=False)
        self.lists = 0

    def call(self, dialog: str, phase: str = "answered", seq: int = 7, epoch: int = 5) -> Call:
        one = event(phase, seq, node="a", epoch=epoch, dialog=dialog, call_id="c")
        self.table.apply(one, 0)
        return self.known(dialog)

    def known(self, dialog: str) -> Call:
        return self.table.calls[self.table.key_of("a", dialog, "c")]

    def copies(
        self, now: int, *dialogs: str, state: str = "answered", owner: str = "a", node: str = "b",
        unlisted: int | None = None, **facts: Any,
    ) -> list[Change]:  # fmt: skip
        self.lists += 1
        calls = tuple(CopiedCall(call_id="c", dialog=one, state=state, owner=owner)  # type: ignore[arg-type]
                      for one in dialogs)  # fmt: skip
        facts = {"sync_id": f"s{self.lists}", "part": 1, "parts": 1} | facts
        part = Copies(v=1, phase="copies", node=node, epoch=1, seq=1, ts=START, calls=calls,
                      unlisted=unlisted, **facts)  # fmt: skip
        changes = list(self.takeover.take(part, now))
        return changes + list(self.takeover.gone(node, now))

    def fates(self, *dialogs: str) -> list[str]:
        calls = [self.known(dialog) for dialog in dialogs]
        return ["lost" if not one.live else "marked" if one.unconfirmed else "live"
                for one in calls]  # fmt: skip


def test_a_list_of_copies_has_as_many_calls_as_the_table_may_hold() -> None:
    rig = Rig(most=3)
    rig.copies(0, "1", "2", "3")
    with pytest.raises(Rejected, match="too_many_calls"):
        rig.copies(0, "1", "2", "3", "4")
    rig.copies(0, "1", "2", sync_id="x", parts=2)
    rig.copies(0, "3", sync_id="x", part=2, parts=2)
    rig.copies(0, "1", "2", sync_id="y", parts=2)
    with pytest.raises(Rejected, match="too_many_calls"):
        rig.copies(0, "3", "4", sync_id="y", part=2, parts=2)


def test_a_copy_counts_once_its_owner_was_silent_for_three_heartbeats() -> None:
    rig = Rig()
    assert rig.copies(5_999, "1") == []
    assert [change.after.dialog for change in rig.copies(6_000, "1")] == ["1"]
    assert rig.fates("1") == ["live"], "the copy vouches for it"
    marked = Rig()
    call = marked.call("1")
    marked.table.mark_unconfirmed(call.key, 0)
    assert len(marked.copies(100, "1")) == 1, "a call that is marked is confirmed by it"
    assert marked.fates("1") == ["live"]


@pytest.mark.parametrize(("state", "counts"), [
    ("trying", False), ("ringing", False), ("early", False), ("answered", True), ("held", True),
])  # fmt: skip
def test_only_a_call_that_was_answered_goes_on_by_a_copy(state: str, counts: bool) -> None:
    rig = Rig()
    assert bool(rig.copies(6_000, "1", state=state)) is counts
    own = Rig()
    assert own.copies(6_000, "1", owner="b") == [], "of the node's own calls it has no copies"


def test_an_owner_that_was_never_heard_becomes_a_node_of_which_nothing_is_known() -> None:
    rig = Rig(owner=False)
    assert len(rig.copies(9_000, "1")) == 1
    node = rig.nodes.by_name["a"]
    assert (node.epoch, node.sequence.highest, node.last_seen_at, node.restored) == (
        0, 0, 9_000, True)  # fmt: skip


def test_an_event_of_another_nodes_call_takes_the_owners_last_position() -> None:
    def told(rig: Rig, **facts: Any) -> tuple[str, int, int]:
        facts = {"node": "b", "epoch": 1, "dialog": "1", "call_id": "c", "owner": "a"} | facts
        known = rig.takeover.as_owners(event("ended", 3, **facts))
        return known.node, known.epoch, known.seq

    assert told(Rig()) == ("a", 5, 40)
    assert told(Rig(owner=False)) == ("a", 0, 0)
    known = Rig(owner=False)
    known.call("1", seq=7, epoch=4)
    assert told(known) == ("a", 4, 7)
    for facts in ({"owner": "b"}, {"owner": None}, {"dialog": None}):
        assert told(known, **facts) == ("b", 1, 3)


def test_the_owners_list_is_final_within_one_epoch_and_not_after_a_restart() -> None:
    rig = Rig()
    one, other = rig.call("1"), rig.call("2")
    rig.copies(6_000, "1")
    assert rig.takeover.goes_on(one)
    assert not rig.takeover.goes_on(other)
    one = rig.known("1")
    assert not rig.takeover.spares(one, 5)
    assert rig.takeover.spares(one, 6)
    assert not rig.takeover.spares(other, 6), "nobody has a copy of it"
    rig.takeover.listed({one.key})
    assert not rig.takeover.goes_on(one)
    assert not rig.takeover.spares(one, 5)
    rig.nodes.observe("b", 1, 2, 7_000, numbered=False)
    assert rig.takeover.spares(one, 6), "it is among the copies, and its owner has restarted"
    assert rig.takeover.goes_on(one)


def test_copies_of_a_silent_holder_confirm_nothing_more() -> None:
    rig = Rig()
    rig.call("1")
    rig.call("2")
    rig.copies(6_000, "1", "2")
    rig.call("2", "ended", seq=41)
    changes = list(rig.takeover.fell_silent("b", 20_000))
    assert [change.after.dialog for change in changes] == ["1"]
    assert rig.fates("1", "2") == ["marked", "lost"]
    assert not rig.takeover.goes_on(rig.known("1"))
    marks = rig.nodes.by_name["a"].health.unconfirmed
    assert [mark.at for mark in marks] == [20_000], "it has its own time"
    assert list(rig.takeover.fell_silent("b", 21_000)) == []
    assert not rig.takeover.spares(rig.known("1"), 6), "what it held is forgotten"
    assert rig.takeover.copies_of("b") == {"copies": 0, "copies_of": []}


def test_a_call_whose_copy_is_gone_is_over_unless_it_may_be_up() -> None:
    rig = Rig()
    for dialog in ("1", "2", "3", "4"):
        rig.call(dialog)
    rig.copies(6_000, "1", "2", "3", "4")
    rig.call("3", "ended", seq=41)
    assert rig.copies(7_000, "1", sync_id="x", parts=2) == [], "the list is not whole"
    changes = rig.copies(7_100, sync_id="x", part=2, parts=2)
    assert sorted(change.after.dialog for change in changes) == ["2", "4"]
    assert rig.fates("1", "2", "4") == ["live", "lost", "lost"]
    assert rig.takeover.goes_on(rig.known("1"))
    assert not rig.takeover.goes_on(rig.known("2"))
    unsure = Rig()
    unsure.call("1")
    unsure.copies(6_000, "1")
    unsure.copies(7_000, unlisted=1)
    assert unsure.fates("1") == ["marked"], "it may be one that the list could not name"
    back = Rig()
    back.call("1")
    back.copies(6_000, "1")
    back.nodes.observe("a", 5, 40, 6_500, numbered=False)
    assert back.copies(7_000) == []
    assert back.fates("1") == ["live"], "its owner is heard: its own list decides"


def test_nodes_that_may_have_copies_of_a_silent_owners_calls_are_asked() -> None:
    rig = Rig()
    for name in ("more", "same", "fewer"):
        rig.nodes.observe(name, 1, 1, 0, numbered=False)
    rig.copies(0, "1")
    for name, dialogs in (("more", 1), ("same", 0), ("fewer", None), ("a", 9)):
        rig.nodes.by_name[name].dialogs = dialogs
    for node in rig.nodes.by_name.values():
        node.wants_list = False
    rig.takeover.ask("a")
    assert {name for name, node in rig.nodes.by_name.items() if node.wants_list} == {"b", "more"}
