"""A node's restart and its lists in the pipeline: which calls they doubt, end and keep."""

from __future__ import annotations

import pytest

from tests.calls import START
from tests.unit.ingest.feeding import Fed, Raw, raw, sync

# -- a new epoch ---------------------------------------------------------------------------------


def test_a_restarted_nodes_calls_stay_in_doubt_until_its_list() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(raw("heartbeat", 0, epoch=2))
    assert fed.table.live == 2
    assert all(call.unconfirmed for call in fed.table.calls.values())
    fed.take(sync(0, "1.1", epoch=2))
    assert fed.table.live == 2  # the old numbering may go on: two nodes with one name
    fed.settle()
    kept, gone = sorted(fed.table.calls.values(), key=lambda call: call.dialog)
    assert (kept.live, kept.unconfirmed) == (True, False)
    assert (gone.live, gone.conclusion) == (False, "lost")


def test_another_nodes_restart_puts_nothing_in_doubt() -> None:
    fed = Fed().take(raw("answered", 1), raw("heartbeat", 0, node="n2"))
    fed.take(raw("heartbeat", 0, node="n2", epoch=2), sync(0, node="n2", epoch=2))
    (call,) = fed.table.calls.values()
    assert (call.live, call.unconfirmed) == (True, None)


def test_an_unknown_phase_can_announce_a_restart() -> None:
    fed = Fed().take(raw("answered", 1), raw("recording", 1, epoch=2), raw("heartbeat", 1, epoch=2))
    (call,) = fed.table.calls.values()
    assert call.unconfirmed


@pytest.mark.parametrize("late", [raw("hold", 2), raw("answered", 2, dialog="2.2")])
def test_an_event_from_before_a_restart_leaves_the_doubt(late: Raw) -> None:
    """It tells what was, not whether the call is still there; and order must not matter."""
    before, restart = raw("answered", 1), raw("heartbeat", 0, epoch=2)
    overtaken = Fed().take(before, restart, late)
    assert all(call.unconfirmed for call in overtaken.table.calls.values())
    assert overtaken.seen == Fed().take(before, late, restart).seen


def test_a_restarted_node_that_was_lost_in_between_is_healed_by_its_list() -> None:
    """Its first events of the new epoch never came; the list has what is true."""
    fed = Fed().take(raw("answered", 1), raw("hold", 9, epoch=2, dialog="3.3"))
    assert list(fed.nodes.to_ask(START + 9_000)) == ["n1"]
    fed.take(sync(9, "3.3", epoch=2)).settle()
    assert fed.table.live == 1


# -- lists in parts ------------------------------------------------------------------------------


def test_nothing_is_lost_before_the_last_part_of_a_list_is_here() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(sync(2, part=1, parts=2))
    assert fed.table.live == 2
    fed.take(sync(2, "2.2", part=2, parts=2))
    assert fed.table.live == 1
    assert fed.counters.lost == 1


def test_a_list_that_lacks_a_part_ends_no_call_and_the_next_one_does() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(sync(2, "2.2", part=1, parts=2, sync_id="a"))
    fed.take(sync(2, part=2, parts=2, sync_id="b"))
    assert fed.table.live == 2
    fed.take(sync(2, "1.1", part=1, parts=2, sync_id="b"))
    assert [call.dialog for call in fed.table.calls.values() if call.live] == ["1.1"]


def test_a_call_missing_from_one_list_and_in_the_next_is_live() -> None:
    """The set of live calls is that of the last list, which did not end this one."""
    fed = Fed().take(raw("answered", 1), sync(2), sync(3, "1.1"))
    assert fed.table.live == 1


def test_a_call_that_ended_is_not_brought_back_by_a_list_that_still_has_it() -> None:
    fed = Fed().take(raw("answered", 1), raw("ended", 3), sync(2, "1.1"), sync(3, "1.1"))
    assert fed.table.live == 0


def test_a_call_that_began_while_its_nodes_list_was_under_way_is_not_lost() -> None:
    fed = Fed().take(raw("setup", 1), raw("setup", 4, dialog="4.4"), sync(3, "1.1"))
    assert fed.table.live == 2


def test_a_list_that_was_overtaken_by_the_next_one_brings_no_call_back() -> None:
    fed = Fed().take(sync(9, "2.2"), sync(5, "1.1", "2.2"))
    assert [call.dialog for call in fed.table.calls.values() if call.live] == ["2.2"]


def test_a_list_ends_calls_of_its_own_node_only() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 1, node="n2"), sync(5, node="n2"))
    assert [call.node for call in fed.table.calls.values() if call.live] == ["n1"]
