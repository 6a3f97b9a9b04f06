"""When a node is asked for its list, and when the calls of a silent one are marked and expire.

Each bound is given by its literal value.
"""

from __future__ import annotations

import pytest

from livestate.state.nodes.registry import Nodes
from tests.unit.state.fed_nodes import FedNodes


def test_a_part_that_is_two_seconds_late_is_lost() -> None:
    fed = FedNodes()
    fed.list(5, 101, 3_000, part=1, parts=3)
    fed.list(5, 101, 4_000, part=2, parts=3, sync_id="5-101-3000")
    assert not fed.asked(5_999)
    assert fed.node.list_trouble is None
    assert fed.asked(6_000)
    assert fed.node.list_trouble == (6_000, "part 3 of 3 did not come", 1)
    assert fed.node.listing is None


def test_a_node_is_asked_again_after_two_seconds_and_ever_more_seldom_when_its_lists_fail() -> None:
    nodes = Nodes(stale_after=6_000)
    nodes.observe("n", 5, 1, 10_000, numbered=True)

    def pause(began: int) -> int:
        """Until it is asked again."""
        return next(by for by in range(1, 40_000) if list(nodes.to_ask(began + by)))

    assert list(nodes.to_ask(10_000)) == ["n"]
    assert pause(10_000) == 2_000
    pauses = []
    for number in range(7):
        nodes.list_refused("n", "too_long", 12_000 + number)
        nodes.by_name["n"].asked_at = 50_000
        pauses.append(pause(50_000))
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert nodes.by_name["n"].list_trouble == (12_000, "too_long", 7)


def test_a_list_is_overdue_after_ninety_seconds() -> None:
    fed = FedNodes()
    assert not fed.asked(89_999)
    assert fed.asked(90_000)
    silent = FedNodes(listed=False)
    assert silent.asked(2_500)
    silent.node.wants_list = False
    assert not silent.asked(200_000), "it was never listed, and is asked for other reasons only"


# -- asking because of rivals --------------------------------------------------------------------


def asked_times(fed: FedNodes, epoch: int, until: int) -> list[int]:
    """When the node is asked while both numberings are received, each once a second."""
    times = []
    for now in range(3_000, until, 500):
        if now % 1_000 == 0:
            fed.beat(epoch, 9, now)
            fed.beat(5, 100, now)
        if fed.asked(now):
            times.append(now)
    return times


def test_a_rival_that_does_not_list_is_asked_five_times_then_every_thirty_seconds() -> None:
    fed = FedNodes()
    assert asked_times(fed, 4, 85_000) == [
        3_000, 5_000, 7_000, 9_000, 11_000, 41_000, 71_000]  # fmt: skip


def test_a_rival_that_has_listed_and_cannot_take_over_is_not_asked() -> None:
    fed = FedNodes()
    fed.beat(4, 9, 2_500)
    fed.list(4, 9, 2_600)
    fed.node.wants_list = False
    assert asked_times(fed, 4, 20_000) == []


@pytest.mark.parametrize("beats", [1, 2])
def test_the_old_epoch_is_asked_after_two_events(beats: int) -> None:
    fed = FedNodes()
    fed.beat(6, 0, 3_000)
    fed.list(6, 0, 3_100)
    fed.list(5, 100, 4_050, part=1, parts=2)
    for number in range(beats):
        fed.beat(5, 100, 4_100 + number)
    fed.node.rivals[0].listed = None
    assert fed.asked(7_099) == (beats == 2)
    assert not fed.asked(9_200), "3 s after its last message"


# -- silence -------------------------------------------------------------------------------------


def test_a_node_with_only_lower_numbers_is_stale() -> None:
    fed = FedNodes()
    fed.beat(4, 9, 3_000)
    assert fed.nodes.stale(4_499) == []
    assert fed.nodes.stale(4_500) == [fed.node]
    far = FedNodes()
    far.beat(90_000_000_000, 9, 3_000)
    assert far.nodes.stale(7_999) == []
    assert far.nodes.stale(8_000) == [far.node]


def test_a_node_whose_lists_fail_for_six_seconds_is_without_list() -> None:
    fed = FedNodes()
    assert fed.nodes.without_list(90_000) == []
    fed.nodes.list_refused("n", "r", 3_000)
    fed.nodes.list_refused("n", "r", 8_000)
    assert fed.nodes.without_list(8_999) == []
    assert fed.nodes.without_list(9_000) == [fed.node]


def test_calls_of_a_silent_node_are_marked_once_after_fifteen_seconds() -> None:
    fed = FedNodes()
    assert list(fed.nodes.due_unconfirmed(16_999, 0)) == []
    assert list(fed.nodes.due_unconfirmed(17_000, 2_001)) == [], "we were not connected"
    fed.node.wants_list = False
    assert list(fed.nodes.due_unconfirmed(17_000, 2_000)) == [(fed.node, None)]
    assert fed.node.wants_list
    assert list(fed.nodes.due_unconfirmed(17_500, 0)) == []


def test_calls_before_a_loss_are_marked_when_no_list_came_for_fifteen_seconds() -> None:
    fed = FedNodes()
    fed.node.lose(3_000)
    for now in range(4_000, 30_000, 2_000):
        fed.beat(5, 110 if now > 8_000 else 100, now)
        fed.node.write_off(110)
    fed.node.lose(20_000, 105)
    assert list(fed.nodes.due_unconfirmed(17_999, 0)) == []
    assert list(fed.nodes.due_unconfirmed(18_000, 3_001)) == [], "we were not connected"
    assert list(fed.nodes.due_unconfirmed(18_000, 3_000)) == [(fed.node, 110)]
    assert list(fed.nodes.due_unconfirmed(18_500, 0)) == []


def test_marked_calls_expire_after_the_stated_time_and_fifteen_seconds_of_connection() -> None:
    fed = FedNodes()
    mark = fed.node.mark_unconfirmed(20_000)
    assert list(fed.nodes.due_expiry(119_999, 0, 100_000)) == []
    assert list(fed.nodes.due_expiry(120_000, 105_001, 100_000)) == []
    assert list(fed.nodes.due_expiry(120_000, 105_000, 100_000)) == [(fed.node, mark)]


def test_a_node_that_was_removed_leaves_nothing() -> None:
    fed = FedNodes()
    fed.beat(4, 9, 3_000)
    assert fed.nodes.floors
    fed.nodes.forget("n")
    assert not fed.nodes.by_name
    assert not fed.nodes.floors
    fed.beat(2, 0, 4_000)
    fed.nodes.forget("n")
