"""One list as it comes in, and what a list, a loss or a new numbering does to a node's health."""

from __future__ import annotations

from livestate.contract.events import RefusedCall, Sync
from livestate.state.nodes.dialog_list import Listing, ListTrouble
from livestate.state.nodes.health import Health, Unconfirmed
from livestate.state.nodes.node import Node
from livestate.state.nodes.sequence import Sequence
from tests.calls import START


def part(number: int = 1, parts: int = 1, *refused: RefusedCall, unlisted: int | None = None,
         **facts: object) -> Sync:  # fmt: skip
    known = {"sync_id": "s", "epoch": 1, "seq": 7} | facts
    one = Sync(v=1, phase="sync", node="n", ts=START, part=number, parts=parts, calls=(),
               unlisted=unlisted, **known)  # type: ignore[arg-type]  # fmt: skip
    one._refused = refused
    return one


def refused(dialog: str | None, call_id: str | None) -> RefusedCall:
    return RefusedCall("wrong_type", "", dialog, call_id)


# -- one list ------------------------------------------------------------------------------------


def test_a_list_is_known_by_its_name_epoch_number_and_parts() -> None:
    listing = Listing.of(part(1, 3), 50)
    assert listing.name == ("s", 1, 7, 3)
    assert listing.takes(part(2, 3))
    for facts in ({"sync_id": "t"}, {"epoch": 2}, {"seq": 8}):
        assert not listing.takes(part(2, 3, **facts))
    assert not listing.takes(part(2, 4))
    assert (listing.began, listing.last, listing.missing) == (50, 50, "part 1 of 3")
    for number, missing in ((3, "part 1 of 3"), (1, "part 2 of 3"), (1, "part 2 of 3")):
        listing.add(part(number, 3), {f"k{number}"}, 60 + number)
        assert (listing.complete, listing.missing) == (False, missing)
    assert (listing.began, listing.last) == (50, 61)
    listing.add(part(2, 3), {"k2"}, 70)
    assert listing.complete
    assert listing.keys == {"k1", "k2", "k3"}


def test_dialogs_that_a_list_does_not_name_are_counted_once() -> None:
    listing = Listing.of(part(1, 3), 50)
    listing.add(part(1, 3, unlisted=4), set(), 50)
    listing.add(part(2, 3, unlisted=2), set(), 50)
    assert listing.unnamed == 4, "each part tells of the whole list"
    nameless = refused(None, None), refused("d" * 65, None), refused("", None)
    for _ in range(2):
        listing.add(part(3, 3, *nameless), set(), 50)
    assert listing.unnamed == 7


def test_a_refused_item_may_be_the_call_of_its_dialog_or_else_of_its_call_id() -> None:
    listing = Listing.of(part(), 50)
    listing.add(part(1, 1, refused("d1", "c1"), refused(None, "c2"), refused("d" * 64, "c3"),
                     refused("d" * 65, "c4"), refused("", "c5")), set(), 50)  # fmt: skip
    assert listing.unnamed == 0
    may_be = {("d1", "x"), ("x", "c2"), ("d" * 64, "x"), ("x", "c4"), ("x", "c5")}
    for dialog, call_id in (*may_be, ("x", "c1"), ("x", "c3"), ("d" * 65, "x"), ("", "x")):
        assert listing.may_name(dialog, call_id) is ((dialog, call_id) in may_be)


def test_failing_lists_are_asked_for_more_and_more_seldom() -> None:
    pauses = [ListTrouble(0, "", times).ask_again_ms for times in (1, 2, 3, 4, 5, 8, 9, 500)]
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]


# -- health --------------------------------------------------------------------------------------


def lost(highest: int = 9, *times: int) -> Health:
    health = Health()
    for now in times or (1_000,):
        health.lose(now, highest)
    return health


def test_a_loss_is_mended_by_a_list_of_a_later_number_or_of_five_seconds_later() -> None:
    for seq, began, mended in ((9, 1_000, True), (8, 1_000, False), (8, 5_999, False),
                               (8, 6_000, True)):  # fmt: skip
        health = lost(9, 1_000)
        health.list_complete(seq, began, named_all=True)
        assert (health.loss is None) is mended, (seq, began)
        assert health.state == ("current" if mended else "awaiting_list")
    again = lost(9, 1_000, 4_000)
    assert again.loss is not None
    assert again.loss.since == 1_000, "a later loss does not reset the timer"
    again.list_complete(8, 8_999, named_all=True)
    assert again.loss is not None
    assert again.loss.since == 4_000, "but for what the list has mended"


def test_only_a_list_that_names_all_confirms_the_calls() -> None:
    health = Health()
    assert health.unconfirmed_ms(5_000) is None
    health.mark_unlisted(1_000, 3, 7)
    assert list(health.unconfirmed) == [Unconfirmed(1_000, 3, 7)]
    assert health.unconfirmed_ms(5_000) == 4_000
    health.list_complete(9, 2_000, named_all=False)
    assert health.state == "unconfirmed"
    assert health.unconfirmed_ms(5_000) == 4_000
    health.list_complete(9, 2_000, named_all=True)
    assert (health.state, health.unconfirmed_ms(5_000)) == ("current", None)


def test_a_silence_marks_once_until_the_next_message() -> None:
    health = lost(9, 1_000)
    assert health.fall_silent(16_000, 1, 12, 1_000) is True
    assert list(health.unconfirmed) == [Unconfirmed(16_000, 1, 12)], "all calls, not up to the loss"
    assert (health.state, health.loss) == ("unconfirmed", None)
    assert health.fall_silent(17_000, 1, 12, 1_000) is False
    assert health.fall_silent(40_000, 1, 13, 20_000) is True
    assert len(health.unconfirmed) == 2


def test_the_marks_of_a_node_go_on_under_a_new_numbering() -> None:
    old = lost(9, 1_000)
    old.set_gap(True)
    for with_loss in (True, False):
        new = Health()
        new.set_gap(True)
        new.inherit(old, with_loss=with_loss)
        assert (new.loss == old.loss) is with_loss
        assert new.gap is False, "its numbers are its own"
        assert new.state == ("awaiting_list" if with_loss else "current")
    marked = Health()
    mark = marked.mark_unconfirmed(2_000, 1, 7, "silence")
    assert mark == Unconfirmed(2_000, 1, 7)
    new = Health()
    new.inherit(marked, with_loss=False)
    assert (new.state, list(new.unconfirmed)) == ("unconfirmed", [mark])
    assert new.due_expiry(5_000, 3_001) is None
    assert new.due_expiry(5_000, 3_000) == mark
    assert new.state == "expired"


def test_a_gap_is_shown_until_its_numbers_came_or_are_written_off() -> None:
    node = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    node.take(4, 10)
    assert node.health.state == "gap"
    node.take(2, 20)
    assert node.health.state == "gap"
    node.take(3, 30)
    assert node.health.state == "current"
    node.reach(6, 40)
    assert node.health.state == "gap"
    node.mature_gap(1_039)
    assert (node.health.state, node.gaps) == ("gap", 0)
    node.mature_gap(1_040)
    assert (node.health.state, node.gaps) == ("awaiting_list", 1)
    assert node.health.loss is not None
    assert node.health.loss.highest == 6
    node.mature_gap(9_000)
    assert node.gaps == 1
    node.list_complete(6, 2_000, 2_000)
    assert (node.health.state, node.wants_list) == ("current", False)
    open_gap = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    open_gap.lose(5)
    open_gap.take(4, 10)
    open_gap.list_complete(4, 20, 20)
    assert open_gap.health.state == "gap", "numbers are missing still"


def test_an_overrun_is_a_loss_at_once() -> None:
    node = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    node.list_complete(1, 0, 0)
    assert not node.wants_list
    node.take(20_000, 10)
    assert node.wants_list
    assert node.health.loss is not None
    assert (node.health.loss.since, node.health.loss.highest) == (10, 20_000)
    beat = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    beat.reach(20_000, 10)
    assert beat.health.loss is not None
    assert beat.health.loss.highest == 20_000
    assert beat.sequence.overrun is None


def test_a_list_that_failed_is_counted_since_the_first_failure() -> None:
    node = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    node.list_complete(1, 0, 0)
    node.listing = Listing.of(part(1, 2), 5)
    node.list_failed("first", 10)
    node.list_failed("second", 20)
    assert node.list_trouble == (10, "second", 2)
    assert (node.listing, node.wants_list) == (None, True)
    fresh = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    assert fresh.wants_list, "it has never listed"
    assert (fresh.gaps, fresh.asked_at, fresh.since, fresh.unlisted) == (0, 0, 0, 0)
    assert (fresh.lists.maxlen, fresh.collisions.maxlen) == (6, 3)
    assert (fresh.restored, fresh.settling) == (False, False)
