"""When an edge may begin streams of a view, and say live, after it stood still or was cut off."""

from __future__ import annotations

import pytest

from livestate.cluster.doubt import DOUBT_MS, Doubt
from livestate.state.source import Source

LIVE = Source()


@pytest.fixture
def doubt() -> Doubt:
    made = Doubt(0)
    assert not made.tick(250)
    assert made.judge(LIVE, 250) == LIVE
    return made


def test_a_standstill_is_noticed_before_the_next_tick(doubt: Doubt) -> None:
    assert not doubt.about("acme", 2_250)
    assert doubt.about("acme", 2_251), "also a view that was not named"
    assert doubt.judge(LIVE, 7_000).stale_since == 250, "a beat that was buffered changes nothing"
    assert doubt.tick(7_000)


def test_only_an_answer_to_a_later_question_settles_it(doubt: Doubt) -> None:
    assert doubt.tick(7_000)
    doubt.begin([None, "acme"], 7_000)
    assert not doubt.settle("acme", 100), "asked before the standstill"
    assert doubt.about("acme", 7_010)
    assert doubt.settle("acme", 7_001)
    assert not doubt.about("acme", 7_010)
    assert doubt.judge(LIVE, 7_010).stale_since == 250, "the other one is still in doubt"
    assert doubt.settle(None, 7_001)
    assert doubt.judge(LIVE, 7_020) == LIVE


def test_a_short_loss_of_nats_is_not_stale_and_a_long_one_is(doubt: Doubt) -> None:
    doubt.begin(["acme"], 1_000)
    assert doubt.about("acme", 1_000)
    assert doubt.judge(LIVE, 1_000) == LIVE
    doubt.tick(2_000)
    assert doubt.judge(LIVE, 2_251).stale_since == 250


def test_what_the_engine_says_is_kept(doubt: Doubt) -> None:
    said = Source(77, "silent")
    assert doubt.judge(said, 300) == said
    doubt.begin(["acme"], 300)
    assert doubt.judge(said, 9_000) == said


def test_it_ends_where_no_engine_answers(doubt: Doubt) -> None:
    doubt.begin(["acme"], 1_000)
    doubt.tick(1_000 + DOUBT_MS)
    assert not doubt.expire(1_000 + DOUBT_MS)
    assert doubt.expire(1_001 + DOUBT_MS)
    assert not doubt.about("acme", 1_001 + DOUBT_MS)
    assert not doubt.expire(1_002 + DOUBT_MS), "once"


def test_a_view_that_is_let_go_of_is_in_no_doubt(doubt: Doubt) -> None:
    doubt.begin(["acme"], 300)
    doubt.forget("acme")
    assert not doubt.about("acme", 300)
