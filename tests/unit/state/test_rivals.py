"""When a numbering beside the believed one is far ahead, over, contested, or takes over.

All bounds by their literal values: heartbeats come every 2 s, so each of them says how many
missing ones decide.
"""

from __future__ import annotations

import pytest

from livestate.state.nodes.node import Node
from livestate.state.nodes.rival_epochs import (
    Kind,
    Rival,
    as_ms,
    contested,
    may_be_set_back,
    of_epoch,
    too_far,
)
from livestate.state.nodes.sequence import Sequence
from tests.calls import START

HOUR, DAY = 3_600_000, 86_400_000
KINDS: list[Kind] = ["before", "later", "lower", "back", "ahead", "far"]


def node(last_seen_at: int, **known: object) -> Node:
    return Node("n", 7, Sequence(1, 100), last_seen_at, **known)  # type: ignore[arg-type]


def rival(kind: Kind, since: int = 0, last: int = 0, **known: object) -> Rival:
    return Rival(kind, 5, 40, since, last, **known)  # type: ignore[arg-type]


def test_an_epoch_is_a_time_in_seconds_milliseconds_or_microseconds() -> None:
    """Kamailio's start in s, and the largest and the smallest of each unit."""
    assert as_ms(1_795_000_000) == as_ms(1_795_000_000_000) == as_ms(1_795_000_000_000_000)
    assert as_ms(99_999_999_999) == 99_999_999_999_000
    assert as_ms(100_000_000_000) == 100_000_000_000
    assert as_ms(99_999_999_999_999) == 99_999_999_999_999
    assert as_ms(100_000_000_000_000) == 100_000_000_000
    assert as_ms(100_000_000_000_999) == 100_000_000_000
    assert as_ms(0) == 0


def test_an_epoch_an_hour_ahead_of_our_clock_is_believed_not_more() -> None:
    old = START - 30 * DAY
    assert not too_far(START + HOUR, 0, old, START)
    assert too_far(START + HOUR + 1, 0, old, START)


def test_an_epoch_a_day_and_an_hour_behind_the_last_is_believed_whatever_our_clock_says() -> None:
    """Our own clock may be wrong: the epoch before is as good a witness."""
    ours = START - 300 * DAY
    assert not too_far(START + DAY + HOUR, 0, START, ours)
    assert too_far(START + DAY + HOUR + 1, 0, START, ours)


def test_no_node_gives_out_more_than_twenty_numbers_a_millisecond() -> None:
    for age in (0, 1, 1_000):
        assert not too_far(START - age, 10_000 + 20 * age, 5, START)
        assert too_far(START - age, 10_001 + 20 * age, 5, START)
    assert not too_far(START + HOUR, 10_000, 5, START), "it began later by our clock"
    assert too_far(START + HOUR, 10_001, 5, START)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rival_is_over_after_one_or_two_missing_heartbeats_or_ten_seconds(kind: Kind) -> None:
    after = 3_000 if kind == "before" else 10_000
    assert not rival(kind, last=70).over(node(0), 70 + after - 1)
    assert rival(kind, last=70).over(node(0), 70 + after)
    after = 5_000 if kind == "before" else 10_000  # it was heard beside the new one
    assert not rival(kind, last=70, beats=1).over(node(0), 70 + after - 1)
    assert rival(kind, last=70, beats=1).over(node(0), 70 + after)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rival_takes_over_from_one_that_went_silent_when_it_came(kind: Kind) -> None:
    after = 4_000 if kind in ("lower", "back") else 3_000
    for last in (100, 200):
        assert not rival(kind, since=200).takes_over(node(last), last + after - 1)
        assert rival(kind, since=200).takes_over(node(last), last + after)
    # Both were heard: one missing heartbeat more.
    assert not rival(kind, since=200).takes_over(node(201), 201 + 4_999)
    assert rival(kind, since=200).takes_over(node(201), 201 + 5_000)
    # Known from before our restart only: whatever is heard is more.
    assert rival(kind, since=200).takes_over(node(200, restored=True), 200)


def test_two_alternating_numberings_contest_a_name() -> None:
    def both(now: int, *, beats: int = 2, last: int = 1_500, seen: int = 1_000) -> bool:
        known = node(10_000 + seen)
        known.rivals = [rival("far"), rival("lower", 10_000, 10_000 + last, beats=beats)]
        return contested(known, 10_000 + now)

    assert both(1_500)
    assert not both(1_500, beats=1), "one late heartbeat is no second node"
    assert not both(1_500, last=1_499), "one burst of late ones is none"
    assert not both(1_500, seen=999), "the node itself was not heard since"
    assert both(6_999)
    assert not both(7_000), "one of the two has been silent for six seconds"
    assert both(7_499, seen=3_000)
    assert not both(7_500, seen=3_000)


def test_three_collisions_in_ten_seconds_contest_a_name() -> None:
    known = node(0)
    for at in (1_000, 5_000):
        known.collisions.append(at)
        assert not contested(known, at)
    known.collisions.append(6_000)
    assert contested(known, 10_999)
    assert not contested(known, 11_000)
    known.collisions.append(9_000)  # the oldest of three is now that of 5,000
    assert contested(known, 14_999)
    assert not contested(known, 15_000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_with_only_lower_numbers_may_be_set_back(kind: Kind) -> None:
    known = node(1_000)
    known.rivals = [rival("far", last=9_000), rival(kind, last=1_001)]
    assert not may_be_set_back(known, 3_499)
    assert may_be_set_back(known, 3_500) == (kind in ("lower", "back"))
    known.rivals[1].last_seen_at = 1_000
    assert not may_be_set_back(known, 3_500), "it was not heard after the node"


def test_only_a_list_ends_the_quarantine_and_proves_no_more_than_its_number() -> None:
    for kind in KINDS:
        one = rival(kind)
        assert one.quarantined == (kind in ("ahead", "far"))
        one.list_complete(30)
        assert not one.quarantined
        assert (one.listed, one.highest) == (30, 30 if kind in ("ahead", "far") else 40)


def test_a_rivals_numbers_rise_as_fast_as_time_allows() -> None:
    one = rival("lower", last=500)
    assert not one.ahead(40 + 10_000 + 20 * 7, 507)
    assert one.ahead(41 + 10_000 + 20 * 7, 507)


def test_rivals_are_found_by_their_epoch() -> None:
    known = node(0)
    first, second = rival("lower"), Rival("far", 9, 1, 0, 0)
    known.rivals = [first, second]
    assert of_epoch(known, 9) is second
    assert of_epoch(known, 5) is first
    assert of_epoch(known, 6) is None
