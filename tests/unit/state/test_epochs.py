"""Which numbering of a node is believed: restarts, returns, clocks set back, numbers that jump.

Each bound is given by its literal value. What a wrong answer does to calls is in
``test_forged.py``, ``test_two_nodes_one_name.py`` and ``test_new_numberings.py``.
"""

from __future__ import annotations

from livestate.state.nodes.epochs import Observed
from livestate.state.nodes.registry import Nodes
from livestate.state.position import NEVER, position_at
from tests.unit.state.fed_nodes import FedNodes

KNOWN = Observed(True, False, set_back=False, returned=False, unproven=False, began=0)
SEEN = KNOWN._replace(fresh=False)
UNPROVEN = KNOWN._replace(unproven=True)
RESTARTED = KNOWN._replace(new_epoch=True)


# -- first words ---------------------------------------------------------------------------------


def test_events_from_before_the_first_one_are_folded() -> None:
    nodes = Nodes(stale_after=6_000)
    assert nodes.observe("n", 5, 7, 1_000, numbered=True) == KNOWN
    assert nodes.observe("n", 5, 6, 1_001, numbered=True) == KNOWN
    assert nodes.observe("n", 5, 7, 1_001, numbered=True) == SEEN
    assert (nodes.by_name["n"].since, nodes.by_name["n"].last_seen_at) == (1_000, 1_001)
    assert list(nodes.to_ask(2_000)) == ["n"]
    # A heartbeat may overtake the event whose number it repeats.
    assert nodes.observe("m", 5, 7, 1_000, numbered=False) == KNOWN
    assert nodes.observe("m", 5, 7, 1_001, numbered=True) == KNOWN
    assert nodes.observe("m", 5, 8, 1_002, numbered=True) == KNOWN
    assert nodes.observe("m", 5, 8, 1_003, numbered=True) == SEEN


def test_the_next_number_and_a_heartbeat_are_signs_of_life() -> None:
    fed = FedNodes()
    for epoch_event, now in ((101, 3_000), (103, 3_500), (102, 3_700)):
        assert fed.event(5, epoch_event, now) == KNOWN
        assert fed.node.last_seen_at == now
    fed.beat(5, 103, 4_000)
    assert fed.node.last_seen_at == 4_000
    assert fed.event(5, 99, 5_000) == KNOWN
    assert fed.node.last_seen_at == 4_000, "below the floor: it may be of another numbering"
    assert fed.event(5, 100, 5_000) == KNOWN
    assert fed.node.last_seen_at == 5_000


def test_after_our_restart_any_number_is_believed_and_something_is_lost() -> None:
    nodes = Nodes(stale_after=6_000)
    nodes.restore("n", 5, 7, 1_000)
    assert list(nodes.to_ask(2_000)) == ["n"]
    assert nodes.by_name["n"].health.state == "awaiting_list"
    assert nodes.observe("n", 5, 10**9, 3_000, numbered=True) == KNOWN
    assert nodes.observe("n", 5, 2 * 10**9, 3_000, numbered=True) == UNPROVEN, "it is received now"
    nodes.restore("n", 5, 7, 1_000)
    assert nodes.observe("n", 6, 0, 1_500, numbered=False) == RESTARTED
    assert not nodes.by_name["n"].rivals, "the numbering of before our restart was not heard"


# -- a later epoch -------------------------------------------------------------------------------


def test_a_later_epoch_is_believed_at_once_and_the_one_before_may_go_on() -> None:
    fed = FedNodes()
    assert fed.beat(6, 0, 4_999) == RESTARTED
    assert (fed.node.epoch, fed.node.since, fed.rivals) == (6, 4_999, [("before", 5)])
    before = fed.node.rivals[0]
    assert (before.highest, before.listed, before.since, before.last_seen_at) == (
        100, 100, 4_999, 2_000)  # fmt: skip
    assert fed.asked(5_000)
    assert fed.nodes.floors == {"n": {6: NEVER, 5: position_at(5, 100, from_sync=True)}}
    late = FedNodes()
    assert late.beat(6, 0, 5_000) == RESTARTED
    assert not late.rivals, "one heartbeat of it was missing already: it is over"
    assert not late.nodes.floors


def test_an_epoch_that_went_on_was_no_restart() -> None:
    fed = FedNodes()
    fed.event(5, 103, 2_100)  # 101 and 102 are missing
    fed.beat(6, 0, 3_000)
    assert fed.event(5, 104, 3_500) == KNOWN
    assert fed.beat(5, 105, 3_999) == KNOWN, "it may have been sent before the restart"
    assert fed.node.epoch == 6
    assert fed.beat(5, 106, 4_000) == KNOWN._replace(returned=True)
    node = fed.node
    assert (node.epoch, node.sequence.highest, fed.rivals) == (5, 106, [("later", 6)])
    assert (node.since, node.last_seen_at) == (4_000, 4_000)
    assert node.listed_seq == 100
    assert fed.event(5, 107, 4_100) == KNOWN
    assert not fed.node.sequence.missing, "the list that is asked for tells of them"
    assert fed.asked(4_100)
    later = node.rivals[0]
    assert (later.highest, later.since, later.last_seen_at, later.beats, later.listed) == (
        0, 3_000, 3_000, 1, None)  # fmt: skip
    assert fed.nodes.floors == {"n": {5: position_at(5, 100, from_sync=True), 6: NEVER}}


def test_an_epoch_that_has_listed_is_not_given_up_for_the_one_before() -> None:
    fed = FedNodes()
    fed.beat(6, 0, 3_000)
    fed.list(6, 0, 3_100)
    for now in range(4_500, 18_000, 2_000):
        assert fed.beat(5, 100, now) == KNOWN
    assert fed.node.epoch == 6
    assert fed.beat(5, 100, 18_000) == RESTARTED._replace(set_back=True)
    assert fed.node.epoch == 5


def test_a_later_epoch_returns_if_it_alone_sends() -> None:
    fed = FedNodes()
    fed.beat(6, 7, 3_000)
    fed.beat(5, 101, 4_000)
    assert fed.node.epoch == 5
    assert fed.beat(6, 8, 18_999) == KNOWN
    assert fed.beat(6, 9, 19_000) == RESTARTED, "no list, and the other silent for 15 s"
    node = fed.node
    assert (node.epoch, node.sequence.highest, fed.rivals) == (6, 9, [])
    assert fed.event(6, 10, 19_500) == KNOWN
    assert fed.event(6, 10, 19_500) == SEEN
    assert fed.event(6, 9, 19_500) == KNOWN, "it was not folded under this numbering"


def test_restarts_without_a_list_put_no_expiry_off() -> None:
    fed = FedNodes()
    fed.node.lose(3_000)
    fed.nodes.list_refused("n", "too_long", 3_500)
    fed.beat(6, 0, 9_000)
    assert fed.node.list_trouble is not None
    assert fed.node.list_trouble.since == 3_500
    fed.beat(7, 0, 17_000)
    assert [up_to for _, up_to in fed.nodes.due_unconfirmed(17_999, 0)] == []
    assert [up_to for _, up_to in fed.nodes.due_unconfirmed(18_000, 0)] == [0]
    fed.beat(8, 0, 19_000)
    assert [mark.at for mark in fed.node.health.unconfirmed] == [18_000]
    assert fed.node.health.state == "unconfirmed"


def test_an_epoch_further_ahead_than_time_allows_changes_nothing() -> None:
    fed = FedNodes()
    far = 90_000_000_000
    assert fed.event(far, 3, 2_500) == UNPROVEN
    assert fed.beat(far, 4, 2_600) == KNOWN
    assert fed.event(far, 5, 2_700) == UNPROVEN
    assert (fed.node.epoch, fed.node.last_seen_at, fed.rivals) == (5, 2_000, [("far", far)])
    assert not fed.nodes.floors
    assert not fed.asked(2_700) or fed.node.rivals[0].listed is None
    assert fed.beat(far, 6, 30_000) == KNOWN, "not even when the node is silent"
    assert fed.node.epoch == 5


# -- an earlier epoch, or lower numbers ----------------------------------------------------------


def test_a_late_event_of_an_earlier_epoch_is_folded_and_proves_nothing() -> None:
    fed = FedNodes()
    assert fed.event(4, 9, 3_000) == KNOWN
    assert (fed.node.last_seen_at, fed.rivals, fed.node.epoch) == (2_000, [], 5)


def test_an_earlier_epoch_is_believed_once_the_later_one_was_silent_for_fifteen_seconds() -> None:
    fed = FedNodes()
    assert fed.beat(4, 9, 3_000) == KNOWN
    assert fed.rivals == [("lower", 4)]
    assert fed.event(4, 12, 3_500) == KNOWN
    assert fed.beat(4, 10, 4_000) == KNOWN, "heartbeats of two bridges may swap"
    rival = fed.node.rivals[0]
    assert (rival.highest, rival.last_seen_at, rival.since, rival.beats) == (12, 4_000, 3_000, 2)
    assert fed.beat(4, 13, 16_999) == KNOWN
    assert fed.event(4, 13, 17_000) == KNOWN, "an event may be late"
    assert fed.node.epoch == 5
    assert fed.beat(4, 14, 17_000) == RESTARTED._replace(set_back=True)
    node = fed.node
    assert (node.epoch, node.sequence.highest, fed.rivals) == (4, 14, [])
    assert (node.since, node.last_seen_at, node.listed_seq) == (17_000, 17_000, None)
    assert node.settling
    assert fed.asked(17_000)
    assert fed.beat(4, 3, 18_000) == KNOWN
    assert not fed.rivals, "its floor begins anew"


def test_no_rival_replaces_a_node_that_still_sends() -> None:
    fed = FedNodes()
    for now in range(3_000, 40_000, 1_000):
        assert fed.beat(4, 9, now) == KNOWN
        assert fed.event(5, 101 + (now - 3_000) // 1_000, now + 500) == KNOWN
    assert (fed.node.epoch, fed.rivals) == (5, [("lower", 4)])


def test_a_heartbeat_below_the_floor_begins_a_rival_at_its_lowest_number() -> None:
    fed = FedNodes()
    assert fed.event(5, 60, 2_100) == KNOWN
    assert fed.event(5, 62, 2_200) == KNOWN
    assert fed.beat(5, 70, 2_500) == KNOWN
    assert (fed.rivals, fed.node.last_seen_at) == ([("back", 5)], 2_000)
    rival = fed.node.rivals[0]
    assert (rival.first, rival.highest, rival.beats) == (60, 70, 1)
    assert fed.event(5, 75, 3_000) == KNOWN  # not known here: given out before we listened
    assert fed.beat(5, 80, 4_000) == KNOWN
    assert fed.node.rivals == [rival], "the same one"
    assert (rival.highest, rival.beats, rival.last_seen_at) == (80, 2, 4_000)
    assert fed.beat(5, 90, 16_999) == KNOWN
    assert fed.beat(5, 91, 17_000) == RESTARTED._replace(set_back=True, began=60)
    assert fed.node.sequence.highest == 91


def test_numbers_that_were_here_before_keep_a_lower_numbering_alive() -> None:
    fed = FedNodes()
    fed.event(5, 101, 2_100)
    fed.event(5, 102, 2_200)
    fed.beat(5, 60, 2_500)
    rival = fed.node.rivals[0]
    assert fed.event(5, 101, 3_000) == SEEN
    assert (rival.highest, rival.last_seen_at) == (101, 3_000)
    assert fed.event(5, 101, 3_500) == SEEN
    assert (rival.highest, rival.last_seen_at) == (101, 3_000), "a duplicate of a duplicate"
    assert fed.event(5, 102, 3_600) == SEEN
    assert (rival.highest, rival.last_seen_at) == (102, 3_600)
    other = FedNodes()
    other.event(5, 101, 2_100)
    other.event(5, 110_000, 2_200)  # ahead
    ahead = other.node.rivals[0]
    assert other.event(5, 101, 3_000) == SEEN
    assert (ahead.highest, ahead.last_seen_at) == (110_000, 2_200)


def test_a_number_further_ahead_than_time_allows_waits_for_a_list() -> None:
    fed = FedNodes()
    most = 100 + 10_000 + 500 * 20
    assert fed.event(5, most + 1, 2_500) == UNPROVEN
    assert fed.beat(5, most + 2, 2_500) == KNOWN
    assert fed.event(5, most + 1, 2_500) == UNPROVEN
    assert fed.rivals == [("ahead", 5)]
    rival = fed.node.rivals[0]
    assert (rival.highest, rival.beats) == (most + 2, 1)
    assert (fed.node.sequence.highest, fed.node.last_seen_at) == (100, 2_000)
    fed.beat(5, 60, 2_600)
    assert fed.rivals == [("ahead", 5), ("back", 5)]
    assert fed.event(5, most, 2_600) == KNOWN, "as far as time allows: believed"
    assert (fed.node.sequence.highest, fed.node.last_seen_at) == (most, 2_600)


def test_a_rival_that_jumps_ahead_is_not_believed_either() -> None:
    fed = FedNodes()
    fed.beat(4, 9, 3_000)
    rival = fed.node.rivals[0]
    assert fed.event(4, 10_010 + 20 * 500, 3_500) == UNPROVEN
    assert fed.beat(4, 10_010 + 20 * 500, 3_500) == KNOWN
    assert (rival.highest, rival.last_seen_at, rival.beats) == (9, 3_000, 1)
    assert fed.event(4, 10_009 + 20 * 500, 3_500) == KNOWN
    assert rival.highest == 10_009 + 20 * 500


# -- collisions ----------------------------------------------------------------------------------


def test_a_known_number_with_other_news_asks_for_a_list() -> None:
    fed = FedNodes()
    fed.nodes.collide("n", 5, 100, 3_000)
    assert fed.node.health.loss is not None
    assert fed.asked(3_000)
    assert list(fed.node.collisions) == [3_000]
    assert not fed.rivals, "at the floor it may be of the believed numbering"
    fed.nodes.collide("n", 5, 99, 3_100)
    assert fed.rivals == [("back", 5)]
    rival = fed.node.rivals[0]
    fed.nodes.collide("n", 5, 98, 3_200)
    assert fed.node.rivals == [rival]
    assert list(fed.node.collisions) == [3_000, 3_100, 3_200]
    fed.nodes.collide("n", 4, 7, 3_300)
    assert fed.rivals == [("back", 5), ("lower", 4)]
    lower = fed.node.rivals[1]
    fed.nodes.collide("n", 4, 6, 3_400)
    assert fed.node.rivals == [rival, lower]
    assert list(fed.node.collisions) == [3_000, 3_100, 3_200], "of the believed epoch only"


# -- bounds --------------------------------------------------------------------------------------


def test_four_rivals_of_a_name_are_kept_the_latest_ones() -> None:
    fed = FedNodes()
    for epoch in (4, 3, 2, 1):
        fed.beat(epoch, 9, 3_000)
    assert fed.rivals == [("lower", 4), ("lower", 3), ("lower", 2), ("lower", 1)]
    fed.beat(0, 9, 3_000)
    assert fed.rivals == [("lower", 3), ("lower", 2), ("lower", 1), ("lower", 0)]
    assert not fed.node.settling, "the one that went had no calls in the table"
    fed.node.rivals[0].folded = True
    fed.beat(4, 9, 3_000)
    assert fed.node.settling, "its calls have to be settled by a list"
    assert fed.rivals == [("lower", 2), ("lower", 1), ("lower", 0), ("lower", 4)]
    assert set(fed.nodes.floors["n"]) == {5, 2, 1, 0, 4}
    other = FedNodes()
    for epoch in (4, 3, 2, 1):
        other.beat(epoch, 9, 3_000)
    other.beat(6, 0, 4_000)
    assert other.rivals == [("lower", 3), ("lower", 2), ("lower", 1), ("before", 5)]
    assert other.node.settling
    three = FedNodes()
    for epoch in (4, 3, 2):
        three.beat(epoch, 9, 3_000)
    three.beat(6, 0, 4_000)
    assert len(three.rivals) == 4
    assert not three.node.settling


def test_of_two_numberings_of_one_epoch_the_lower_list_counts() -> None:
    fed = FedNodes()
    fed.beat(5, 60, 2_500)
    assert fed.nodes.floors == {"n": {5: NEVER}}
    fed.list(5, 61, 2_600)
    assert fed.nodes.floors == {"n": {5: position_at(5, 61, from_sync=True)}}
    contested = FedNodes()
    for now in (2_100, 2_200, 2_300):
        contested.nodes.collide("n", 5, 100, now)
    assert contested.nodes.floors == {}
    contested.review(2_400)
    assert contested.nodes.floors == {"n": {5: NEVER}}, "two count alike: neither's list counts"
    contested.review(12_100)
    assert contested.nodes.floors == {}
