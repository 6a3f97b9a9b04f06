"""Lists of dialogs: which one is whole, and which calls it may end.

Each bound is given by its literal value.
"""

from __future__ import annotations

from livestate.state.position import position_at
from tests.unit.state.fed_nodes import FedNodes


def at(epoch: int, seq: int) -> int:
    return position_at(epoch, seq, from_sync=True)


# -- whole lists ---------------------------------------------------------------------------------


def test_a_whole_list_ends_all_that_it_lacks_and_what_was_missing_before_it() -> None:
    fed = FedNodes()
    fed.event(5, 104, 2_500)
    fed.asked(4_000)
    fed.event(5, 107, 4_100)
    assert fed.node.wants_list
    done = fed.list(5, 105, 9_500, "a", "b")
    assert done is not None
    assert (done.keys, done.ends, done.up_to) == ({"a", "b"}, "all", at(5, 105))
    node = fed.node
    assert (node.listed_at, node.listed_seq, node.listing) == (9_500, 105, None)
    assert list(node.sequence.missing) == [106], "it was numbered after the list"
    assert not node.wants_list
    assert not node.list_trouble


def test_the_parts_of_a_list_come_in_any_order_and_twice() -> None:
    fed = FedNodes()
    told = {"sync_id": "s", "parts": 3}
    assert fed.list(5, 101, 3_000, "c", part=3, **told) is None
    assert fed.list(5, 101, 3_100, "a", part=1, **told) is None
    assert fed.list(5, 101, 3_200, "a", part=1, **told) is None
    done = fed.list(5, 101, 3_300, "b", part=2, **told)
    assert done is not None
    assert done.keys == {"a", "b", "c"}
    assert fed.list(5, 101, 3_400, "b", part=2, **told) is None
    assert fed.node.listing is None, "a part that came twice begins no list"
    assert not fed.asked(9_000)
    assert fed.list(5, 102, 4_000, "a", sync_id="t") is not None
    assert fed.list(5, 102, 4_000, "a", sync_id="t") is not None, "one part is a whole list"


def test_a_list_that_another_one_cuts_off_has_failed() -> None:
    fed = FedNodes()
    fed.list(5, 101, 3_000, part=2, parts=3)
    fed.list(5, 102, 3_500, part=1, parts=2)
    trouble = fed.node.list_trouble
    assert trouble is not None
    assert trouble == (3_500, "part 1 of 3 did not come before another list", 1)
    fed.list(5, 103, 3_700)
    assert fed.node.list_trouble is None
    fed.beat(4, 9, 4_000)
    fed.list(4, 9, 4_100, part=2, parts=3)
    fed.list(4, 9, 4_200, part=2, parts=2)
    assert fed.node.list_trouble is None, "a rival's lists are no trouble of the node"


def test_a_list_that_could_not_name_all_dialogs_confirms_no_call() -> None:
    fed = FedNodes()
    fed.node.mark_unconfirmed(2_000, "silence")
    done = fed.list(5, 101, 3_000, "a", unlisted=2)
    assert done is not None
    assert done.listing.unnamed == 2
    assert fed.node.unlisted == 2
    assert fed.node.health.state == "unconfirmed"
    fed.list(5, 101, 3_100, "a")
    assert fed.node.unlisted == 0
    assert fed.node.health.state == "current"


# -- lists of a name that several numberings use -------------------------------------------------


def test_a_list_of_a_new_epoch_ends_calls_of_that_epoch_while_the_old_one_may_go_on() -> None:
    fed = FedNodes()
    fed.beat(6, 3, 3_000)
    done = fed.list(6, 3, 3_100, "a")
    assert done is not None
    assert (done.keys, done.ends, done.up_to) == ({"a"}, "epoch", at(6, 3))
    assert fed.node.listed_seq == 3
    assert fed.nodes.floors["n"] == {6: at(6, 3), 5: at(5, 100)}
    assert fed.list(5, 120, 3_999, "b") is None, "it may have been sent before the restart"
    old = fed.list(5, 120, 4_000, "b")
    assert old is not None
    assert (old.keys, old.ends, old.up_to) == ({"b"}, "epoch", at(5, 120))
    assert (fed.node.epoch, fed.node.listed_seq) == (6, 3)
    assert fed.node.rivals[0].listed == 120
    assert fed.node.rivals[0].folded
    assert fed.nodes.floors["n"] == {6: at(6, 3), 5: at(5, 120)}
    unsure = fed.list(6, 4, 4_100, "a", unlisted=1)
    assert unsure is not None
    assert (unsure.keys, unsure.ends, unsure.up_to) == ({"a"}, "none", at(6, 4))
    assert fed.list(9, 1, 4_200, "a") is None, "of a numbering that was never heard"


def test_two_numberings_of_one_epoch_end_only_what_neither_of_them_has() -> None:
    fed = FedNodes()
    fed.beat(5, 60, 2_500)
    mine = fed.list(5, 101, 3_000, "a")
    assert mine is not None
    assert (mine.ends, mine.up_to) == ("none", at(5, 101)), "the other one has not listed yet"
    assert fed.node.rivals[0].listed is None
    again = fed.list(5, 102, 3_100, "a", "b")
    assert again is not None
    assert again.ends == "none"
    other = fed.list(5, 61, 3_200, "c")
    assert other is not None
    assert fed.node.rivals[0].listed == 61
    assert (other.keys, other.ends, other.up_to) == ({"a", "b", "c"}, "epoch", at(5, 61))
    assert fed.node.listed_seq == 102
    # A list of a minute ago spares no call any more.
    for now in range(10_000, 63_000, 5_000):
        fed.beat(5, 102, now)
        fed.beat(5, 61, now)
    for now, keys, least in (
        (62_999, {"a", "b", "c", "d"}, 61),
        (63_000, {"a", "b", "c", "d"}, 61),  # of 3,000 only: "a" is in the next one, too
        (63_199, {"c", "d"}, 61),
        (63_200, {"d"}, 103),
    ):
        late = fed.list(5, 103, now, "d")
        assert late is not None
        assert (late.keys, late.up_to) == (keys, at(5, least)), now


def test_a_list_of_a_number_ahead_is_of_the_rival_that_jumped() -> None:
    fed = FedNodes()
    fed.beat(5, 500_000, 2_500)
    done = fed.list(5, 500_001, 2_600, "g")
    assert done is not None
    assert fed.node.rivals[0].listed == 500_001
    assert (fed.node.sequence.highest, fed.node.listed_seq) == (100, 100)
    at_highest = fed.list(5, 100, 2_700, "a")
    assert at_highest is not None
    assert fed.node.listed_seq == 100
    assert fed.node.listed_at == 2_700
    lower = FedNodes()
    lower.beat(5, 60, 2_500)
    lower.list(5, 100, 2_700, "a")  # at the floor: the node's own
    assert lower.node.listed_at == 2_700
    lower.list(5, 99, 2_800, "a")
    assert (lower.node.listed_at, lower.node.rivals[0].listed) == (2_700, 99)


def test_a_rival_that_lists_while_the_node_is_silent_takes_over_and_decides_on_all() -> None:
    fed = FedNodes()
    fed.beat(4, 9, 2_100)
    early = fed.list(4, 9, 5_999, "x")
    assert early is not None
    assert (early.ends, fed.node.epoch) == ("epoch", 5)
    done = fed.list(4, 10, 6_000, "y")
    assert done is not None
    assert (done.keys, done.ends, done.up_to) == ({"y"}, "over", at(4, 10))
    node = fed.node
    assert (node.epoch, node.listed_seq, node.settling, fed.rivals) == (4, 10, False, [])
    assert fed.nodes.floors == {}
    unsure = FedNodes()
    unsure.beat(4, 9, 2_100)
    done = unsure.list(4, 10, 6_000, "y", unlisted=1)
    assert done is not None
    assert done.ends == "all", "a call that it lacks may be one that it could not name"
    assert unsure.node.settling
    done = unsure.list(4, 11, 6_500, "y")
    assert done is not None
    assert done.ends == "over"


# -- when rivals have gone -----------------------------------------------------------------------


def test_when_the_numbering_of_before_is_over_the_last_list_decides_on_all_calls() -> None:
    fed = FedNodes()
    fed.beat(6, 3, 3_000)
    fed.list(6, 3, 3_100, "a")
    fed.list(6, 4, 3_200, "a", "b")
    assert fed.review(4_999) == []
    assert fed.rivals == [("before", 5)]
    assert fed.review(5_000) == [4], "3 s after its last message"
    assert (fed.rivals, fed.nodes.floors, fed.node.settling) == ([], {}, False)
    assert fed.node.held is None
    assert not fed.node.lists
    assert fed.review(5_500) == []


def test_without_a_list_to_decide_a_node_is_asked_for_one() -> None:
    fed = FedNodes()
    fed.beat(6, 3, 3_000)
    fed.node.wants_list = False
    assert fed.review(5_000) == []
    assert fed.rivals == []
    assert fed.node.settling
    assert fed.node.wants_list
    done = fed.list(6, 5, 5_100, "a")
    assert done is not None
    assert done.ends == "over"
    assert not fed.node.settling


def test_a_rival_whose_calls_were_never_shown_leaves_nothing_to_settle() -> None:
    fed = FedNodes()
    fed.beat(90_000_000_000, 3, 2_500)
    fed.review(12_499)
    assert len(fed.rivals) == 1
    assert fed.review(12_500) == []
    assert (fed.rivals, fed.node.settling) == ([], False)
    folded = FedNodes()
    folded.beat(4, 3, 2_500)
    folded.review(12_500)
    assert folded.node.settling
    listed = FedNodes()
    listed.beat(90_000_000_000, 3, 2_500)
    listed.list(90_000_000_000, 4, 2_600, "g", part=1, parts=2)
    listed.review(12_600)
    assert listed.node.settling, "calls of a part of its list are in the table"


def test_a_list_is_held_only_while_it_is_of_the_believed_numbering() -> None:
    fed = FedNodes()
    fed.beat(6, 3, 3_000)
    fed.list(6, 3, 3_100, "a")
    fed.list(5, 120, 4_000, "b")
    assert fed.node.held is not None
    assert fed.node.held.seq == 3
    fed.node.rivals[0].last_seen_at = 4_000
    assert fed.review(7_000) == [3]


def test_a_contest_is_known_since_it_began_and_over_when_one_is_left() -> None:
    fed = FedNodes()
    for step in range(6):
        fed.beat(4, 9 + step, 3_000 + 1_000 * step)
        fed.beat(5, 100, 3_500 + 1_000 * step)
        fed.review(3_600 + 1_000 * step)
    assert fed.node.contested_since == 5_600
    assert [node.name for node in fed.nodes.contested()] == ["n"]
    fed.review(13_999)
    assert fed.node.contested_since == 5_600
    fed.beat(5, 100, 14_000)
    fed.review(14_000)
    assert fed.node.contested_since is None
    assert fed.nodes.contested() == []


def test_collisions_are_remembered_for_a_minute() -> None:
    fed = FedNodes()
    fed.nodes.collide("n", 5, 100, 3_000)
    fed.nodes.collide("n", 5, 100, 4_000)
    fed.review(64_000)
    assert list(fed.node.collisions) == [3_000, 4_000]
    fed.review(64_001)
    assert not fed.node.collisions
