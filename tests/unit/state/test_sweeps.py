"""What a list, a restart or silence does to each call of a node; equal and neighbouring positions.

Each case is one call: where it was last heard of, and what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from livestate.contract.events import SyncedCall
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.position import (
    NEVER,
    Position,
    end_of_epoch,
    epoch_of,
    is_from_sync,
    position_at,
    unpack,
)
from tests.calls import event


def at(epoch: int, seq: int, *, listed: bool = True) -> Position:
    return position_at(epoch, seq, from_sync=listed)


class Rig:
    """A table whose calls are named by the position at which they were last heard of."""

    def __init__(self, *positions: tuple[int, int]) -> None:
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.changes: list[Change] = []
        for epoch, seq in positions:
            self.hear(epoch, seq)

    def hear(self, epoch: int, seq: int, phase: str = "answered", node: str = "n1") -> None:
        one = event(phase, seq, epoch=epoch, node=node, dialog=f"{epoch}.{seq}", call_id="c")
        self.table.apply(one, 1)

    def key(self, epoch: int, seq: int) -> str:
        return self.table.key_of("n1", f"{epoch}.{seq}", "c")

    def call(self, epoch: int, seq: int) -> Call:
        return self.table.calls[self.key(epoch, seq)]

    def run(self, steps: Iterator[Change | None]) -> Rig:
        self.changes = [step for step in steps if step is not None]
        return self

    @property
    def fates(self) -> dict[tuple[int, int], str]:
        """lost, marked, or live."""
        found = {}
        for call in self.table.calls.values():
            epoch, seq = map(int, call.dialog.split("."))
            found[epoch, seq] = (
                "lost" if not call.live else "marked" if call.unconfirmed else "live"
            )
        return found


# -- lists ---------------------------------------------------------------------------------------


def test_a_list_ends_what_it_lacks_up_to_its_position() -> None:
    rig = Rig((1, 4), (1, 5), (1, 6), (2, 1))
    sweeps = rig.table.sweeps
    rig.run(sweeps.close_missing("n1", at(1, 5), {rig.key(1, 4)}, 7))
    assert rig.fates == {(1, 4): "live", (1, 5): "lost", (1, 6): "live", (2, 1): "live"}
    assert [(one.after.dialog, one.after.over_at) for one in rig.changes] == [("1.5", 7)]
    assert rig.table.nodes.listed == {"n1": at(1, 5)}
    rig.run(sweeps.close_missing("n1", at(1, 4), set(), 8))
    assert rig.changes == [], "an older list that comes late"
    assert rig.table.nodes.listed == {"n1": at(1, 5)}
    rig.run(sweeps.close_missing("n1", at(1, 5), set(), 8))
    assert rig.fates[1, 4] == "lost", "of two lists of one position the latter counts"
    rig.run(sweeps.close_missing("n2", at(1, 9), set(), 8))
    assert rig.fates[1, 6] == "live", "of another node"


def test_of_two_lists_at_one_number_the_second_ends_what_the_first_had() -> None:
    rig = Rig((1, 4))
    item = SyncedCall(call_id="c", dialog="1.4", state="held")
    rig.table.apply_listed("n1", rig.key(1, 4), item, at(1, 5), 7)
    assert rig.call(1, 4).position == at(1, 5)
    rig.run(rig.table.sweeps.close_missing("n1", at(1, 5), set(), 8))
    assert rig.fates == {(1, 4): "lost"}


def test_a_list_that_tells_less_of_a_call_than_is_known_changes_nothing() -> None:
    rig = Rig()
    known = event("answered", 4, dialog="1.4", call_id="c", trunk="gw", company_id="101")
    rig.table.apply(known, 1)
    item = SyncedCall(call_id="c", dialog="1.4", state="answered", trunk="gw")
    assert rig.table.apply_listed("n1", rig.key(1, 4), item, at(1, 5), 7) is None


def test_a_call_that_a_refused_item_may_name_is_confirmed_not_ended() -> None:
    rig = Rig((1, 4), (1, 5), (1, 7))
    rig.run(rig.table.sweeps.unconfirm("n1", 1))
    spared = {rig.key(1, 4), rig.key(1, 7)}
    rig.run(rig.table.sweeps.close_missing("n1", at(1, 6), set(), 7, lambda c: c.key in spared))
    assert rig.fates == {(1, 4): "live", (1, 5): "lost", (1, 7): "marked"}


def test_a_list_that_could_not_name_all_marks_what_it_lacks() -> None:
    rig = Rig((1, 4), (1, 5), (1, 6), (1, 3))
    sweeps = rig.table.sweeps
    steps = sweeps.unconfirm_missing("n1", at(1, 5), {rig.key(1, 3)}, 7, lambda call: False)
    rig.run(steps)
    assert rig.fates == {(1, 3): "live", (1, 4): "marked", (1, 5): "marked", (1, 6): "live"}
    assert "n1" not in rig.table.nodes.listed, "it does not say which calls are up"
    rig.run(sweeps.unconfirm_missing("n1", at(1, 5), set(), 7, lambda call: True))
    assert rig.fates == {(1, 3): "live", (1, 4): "live", (1, 5): "live", (1, 6): "live"}
    rig.run(sweeps.close_missing("n1", at(1, 2), set(), 7))
    rig.run(sweeps.unconfirm_missing("n1", at(1, 1), set(), 7, lambda call: False))
    assert set(rig.fates.values()) == {"live"}, "older than the last list"
    rig.run(sweeps.unconfirm_missing("n1", at(1, 2), set(), 7, lambda call: False))
    assert set(rig.fates.values()) == {"live"}


def test_of_a_contested_node_a_list_ends_calls_of_its_own_epoch_only() -> None:
    rig = Rig((1, 4), (2, 4), (2, 5), (2, 6), (3, 1))
    spared = {rig.key(2, 4)}
    steps = rig.table.sweeps.close_of_epoch("n1", at(2, 5), set(), 7, lambda c: c.key in spared)
    rig.run(steps)
    assert rig.fates == {(1, 4): "live", (2, 4): "live", (2, 5): "lost", (2, 6): "live",
                         (3, 1): "live"}  # fmt: skip
    assert "n1" not in rig.table.nodes.listed


def test_the_list_that_settles_decides_on_all_but_what_came_after_it() -> None:
    rig = Rig((1, 4), (2, 4), (2, 6), (2, 9), (3, 1), (3, 2))
    rig.table.nodes.restarted["n1"] = at(2, 0)
    listed = {rig.key(3, 1)}
    steps = rig.table.sweeps.take_over("n1", at(2, 5), listed, lambda: at(2, 8), 7, lambda c: False)
    rig.run(steps)
    assert rig.fates == {(1, 4): "lost", (2, 4): "lost", (2, 6): "live", (2, 9): "lost",
                         (3, 1): "live", (3, 2): "lost"}  # fmt: skip
    assert rig.table.nodes.listed == {"n1": at(2, 5)}
    assert rig.table.nodes.restarted == {}
    assert rig.call(3, 1).position == at(2, 5), "as if it had been heard of there"
    assert unpack(rig.call(2, 6).position) == (2, 6, 0)
    rig.hear(2, 10, "hold")
    assert rig.call(2, 10).live


def test_the_list_that_settles_spares_and_confirms() -> None:
    rig = Rig((1, 4), (2, 4), (3, 1))
    rig.run(rig.table.sweeps.unconfirm("n1", 1))
    rig.run(rig.table.sweeps.take_over("n1", at(2, 5), {rig.key(2, 4)}, lambda: at(2, 5), 7,
                                       lambda call: call.dialog != "1.4"))  # fmt: skip
    assert rig.fates == {(1, 4): "lost", (2, 4): "live", (3, 1): "live"}
    boundary = Rig((2, 8), (2, 9))
    last = position_at(2, 8)
    boundary.run(boundary.table.sweeps.take_over("n1", at(2, 5), set(), lambda: last, 7,
                                                 lambda call: False))  # fmt: skip
    assert boundary.fates == {(2, 8): "live", (2, 9): "lost"}, "as far as it has counted"


# -- restarts and silence ------------------------------------------------------------------------


def test_a_restart_marks_the_calls_that_were_up() -> None:
    rig = Rig((1, 4), (1, 9))
    since = position_at(2, 0)
    rig.run(rig.table.sweeps.restarted("n1", 7, since))
    assert rig.fates == {(1, 4): "marked", (1, 9): "marked"}
    assert rig.table.nodes.restarted == {"n1": since}
    rig.hear(2, 1)
    assert rig.fates[2, 1] == "live"
    rig.run(rig.table.sweeps.restarted("n1", 7, position_at(2, 0)))
    assert rig.table.nodes.restarted == {"n1": since}


@pytest.mark.parametrize("known", ["call", "list", "restart"])
def test_a_restart_at_a_lower_epoch_than_was_known_ends_what_was_up(known: str) -> None:
    rig = Rig((1, 4), (2, 3))
    if known == "call":
        rig.hear(5, 1)
    elif known == "list":
        rig.table.nodes.listed["n1"] = at(5, 1)
    else:
        rig.table.nodes.restarted["n1"] = at(5, 1)
    rig.run(rig.table.sweeps.restarted("n1", 7, position_at(2, 0)))
    assert rig.fates.pop((5, 1), "lost") == "lost"
    assert rig.fates[1, 4] == "lost"
    assert rig.fates[2, 3] == "live"
    assert rig.table.nodes.listed == {}
    assert rig.table.nodes.restarted == {"n1": position_at(2, 0)}
    same = Rig((2, 4))
    same.run(same.table.sweeps.restarted("n1", 7, position_at(2, 0)))
    assert same.fates == {(2, 4): "marked"}


def test_a_new_numbering_ends_old_calls_and_marks_unsure_ones() -> None:
    rig = Rig((1, 3), (2, 9), (2, 10), (2, 11), (2, 20), (2, 21), (2, 25), (2, 26), (3, 1))
    rig.table.nodes.listed["n1"] = at(2, 90)
    since = position_at(2, 20)
    steps = rig.table.sweeps.set_back(
        "n1", 7, position_at(2, 10), since, lambda: position_at(2, 25)
    )
    rig.run(steps)
    assert rig.fates == {
        (1, 3): "lost", (2, 9): "lost", (2, 10): "lost",  # before it was first heard
        (2, 11): "marked", (2, 20): "marked",  # of either numbering
        (2, 21): "live", (2, 25): "live",  # heard since
        (2, 26): "lost", (3, 1): "lost",
    }  # fmt: skip
    assert rig.table.nodes.listed == {}
    assert rig.table.nodes.restarted == {"n1": since}
    item = SyncedCall(call_id="c", dialog="3.1", state="answered")
    rig.table.apply_listed("n1", rig.key(3, 1), item, at(2, 20), 9)
    assert rig.fates[3, 1] == "live", "a list of the new numbering brings it back"


def test_silence_marks_all_calls_or_those_before_a_loss() -> None:
    rig = Rig((1, 4), (1, 5), (1, 6))
    rig.run(rig.table.sweeps.unconfirm("n1", 7, at(1, 5)))
    assert rig.fates == {(1, 4): "marked", (1, 5): "marked", (1, 6): "live"}
    rig.run(rig.table.sweeps.unconfirm("n1", 7, None, lambda call: call.dialog == "1.6"))
    assert rig.fates[1, 6] == "live"
    rig.run(rig.table.sweeps.unconfirm("n1", 7))
    assert rig.fates[1, 6] == "marked"
    assert [one.after.dialog for one in rig.changes] == ["1.6"], "what is marked does not change"


# -- between two steps ---------------------------------------------------------------------------


def test_what_happens_during_a_sweep_is_as_if_it_came_after_it() -> None:
    rig = Rig(*((1, seq) for seq in range(1, 502)))
    steps = rig.table.sweeps.unconfirm("n1", 7)
    done = []
    for step in steps:
        if step is None:
            break
        done.append(step)
    assert len(done) == 500
    (left,) = [key for key, fate in rig.fates.items() if fate == "live"]
    item = SyncedCall(call_id="c", dialog=f"{left[0]}.{left[1]}", state="answered")
    rig.table.apply_listed("n1", rig.key(*left), item, at(1, 900), 8)
    assert list(steps) == [], "a list has named it meanwhile"
    assert rig.fates[left] == "live"
    rig.run(rig.table.sweeps.unconfirm("n1", 9))
    assert rig.fates[left] == "marked", "the next sweep knows nothing of that"
    assert rig.table.sweeps._running == {}


def test_a_sweep_pauses_after_each_five_hundred_calls() -> None:
    rig = Rig(*((1, seq) for seq in range(1, 1_501)))
    assert [step for step in rig.table.sweeps.unconfirm("n1", 7) if step is None] == [None] * 3
    again = list(rig.table.sweeps.unconfirm("n1", 7))
    assert again == [None] * 3, "also where it changes nothing"


def test_a_call_that_changed_during_a_sweep_stays_so() -> None:
    rig = Rig(*((1, seq) for seq in range(1, 502)))
    steps = rig.table.sweeps.close_missing("n1", at(1, 600), set(), 7)
    while next(steps) is not None:
        pass
    (left,) = [key for key, fate in rig.fates.items() if fate == "live"]
    heard = event("hold", 700, dialog=f"1.{left[1]}", call_id="c")
    rig.table.apply(heard, 8)
    assert [step for step in steps if step is not None] == []
    assert rig.call(*left).state == "held"


# -- the table's own questions -------------------------------------------------------------------


def test_marked_calls_without_newer_events() -> None:
    rig = Rig((1, 4), (1, 5), (1, 6))
    rig.run(rig.table.sweeps.unconfirm("n1", 7, at(1, 5)))
    for seq, found in ((3, []), (4, ["1.4"]), (5, ["1.4", "1.5"]), (9, ["1.4", "1.5"])):
        unsure = rig.table.unconfirmed("n1", position_at(1, seq))
        assert sorted(call.dialog for call in unsure) == found
    assert rig.table.positions() == {"n1": position_at(1, 6)}
    assert rig.table.latest([]) == NEVER


def test_a_marked_call_without_newer_events_expires() -> None:
    rig = Rig((1, 4), (1, 5))

    def expire(seq: int, position: Position) -> Change | None:
        return rig.table.expire("n1", f"1.{seq}", "c", position, 9)

    assert expire(4, at(1, 9)) is None, "it is confirmed"
    rig.run(rig.table.sweeps.unconfirm("n1", 7))
    assert expire(4, at(1, 3)) is None
    assert expire(9, at(1, 9)) is None, "it is not known"
    change = expire(4, position_at(1, 4))
    assert change is not None
    assert (change.after.conclusion, change.after.over_at) == ("lost", 9)
    assert expire(4, at(1, 9)) is None, "it is over"


def test_a_late_event_of_before_a_restart_brings_no_confirmed_call() -> None:
    for seq, listed, marked in ((99, None, True), (99, at(2, 0), False), (99, at(1, 98), True),
                                (100, None, True)):  # fmt: skip
        rig = Rig()
        rig.table.nodes.restarted["n1"] = position_at(2, 0)
        if listed is not None:
            rig.table.nodes.listed["n1"] = listed
        rig.hear(1, seq)
        if listed == at(2, 0):
            assert rig.fates == {}, "the list would have had it"
        else:
            assert (rig.fates[1, seq] == "marked") is marked
    rig = Rig()
    rig.table.nodes.restarted["n1"] = position_at(2, 5)
    rig.hear(2, 5)
    rig.hear(2, 4)
    assert rig.fates == {(2, 5): "live", (2, 4): "marked"}


def test_the_next_node_of_a_name_that_was_removed_may_begin_anywhere() -> None:
    rig = Rig((8, 1))
    rig.table.nodes.restarted["n1"] = position_at(9, 0)
    rig.table.nodes.listed["n1"] = at(9, 4)
    rig.table.nodes.forget("n1")
    rig.hear(1, 1)
    assert rig.fates == {(8, 1): "live", (1, 1): "live"}
    rig.table.nodes.forget("never heard of")


def test_positions_order_epoch_then_number_then_event_before_list() -> None:
    order = [position_at(0, 0), at(0, 0), position_at(0, 1), at(0, 2**53 - 1), position_at(1, 0),
             position_at(1, 7), at(1, 7), position_at(1, 8)]  # fmt: skip
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    assert unpack(at(3, 2**53 - 1)) == (3, 2**53 - 1, 1)
    assert unpack(position_at(2**53 - 1, 5)) == (2**53 - 1, 5, 0)
    assert [epoch_of(one) for one in (NEVER, position_at(0, 9), at(3, 1))] == [-1, 0, 3]
    assert [is_from_sync(one) for one in (position_at(3, 1), at(3, 1))] == [False, True]
    assert unpack(end_of_epoch(position_at(3, 1))) == (3, 2**53 - 1, 1)
