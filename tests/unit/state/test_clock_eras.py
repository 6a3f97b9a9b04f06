"""When a clock counts as set, and which times of a call are known then; bounds by value, in ms."""

from __future__ import annotations

import pytest

from livestate.contract.events import Ended, Sync, SyncedCall
from livestate.state.nodes.clock_offset import NodeClocks
from tests.calls import START, event

HOUR, DAY = 3_600_000, 86_400_000


def heard(clocks: NodeClocks, ahead: int, at: int = 0) -> bool:
    now = START + at
    return clocks.observe("n1", now + ahead, now)


def right() -> NodeClocks:
    clocks = NodeClocks()
    assert heard(clocks, 0)
    return clocks


# -- finding an offset ---------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-5_000, 0, 5_000])
def test_a_clock_within_five_seconds_is_right(ahead: int) -> None:
    clocks = NodeClocks()
    assert heard(clocks, ahead)
    assert clocks.off == {}


@pytest.mark.parametrize(("ahead", "after"), [
    (5_001, 1_000), (HOUR, 1_000),  # never early
    (-5_001, 10_000), (-59_999, 10_000),  # seconds late
    (-60_000, 3_000), (-DAY, 3_000), (-DAY - HOUR, 3_000),  # hardly a minute
])  # fmt: skip
def test_a_clock_was_set_when_only_odd_messages_came_for_a_while(ahead: int, after: int) -> None:
    clocks = right()
    assert not heard(clocks, ahead, 10)
    assert not heard(clocks, ahead, 10 + after - 1)
    assert clocks.off == {}
    assert heard(clocks, ahead, 10 + after)
    assert clocks.off == {"n1": ahead}


@pytest.mark.parametrize("ahead", [5_001, HOUR, -DAY, -DAY - 1])
def test_of_a_node_that_was_never_right_an_early_or_ancient_time_is_its_clock(ahead: int) -> None:
    clocks = NodeClocks()
    assert heard(clocks, ahead)
    assert clocks.off == {"n1": ahead}


@pytest.mark.parametrize("ahead", [-5_001, -HOUR, -DAY + 1])
def test_of_a_node_that_was_never_right_a_late_message_proves_nothing(ahead: int) -> None:
    clocks = NodeClocks()
    assert not heard(clocks, ahead)
    assert clocks.off == {}


def test_a_message_that_fits_shows_that_others_were_only_late() -> None:
    clocks = right()
    assert not heard(clocks, -HOUR, 10)
    assert heard(clocks, 0, 20)
    assert not heard(clocks, -HOUR, 2_900)
    assert not heard(clocks, -HOUR, 5_899)
    assert heard(clocks, -HOUR, 5_900), "3 s after the first one that followed"


def test_an_opposite_offset_restarts_the_wait() -> None:
    clocks = right()
    assert not heard(clocks, -HOUR, 0)
    assert not heard(clocks, HOUR, 900)
    assert not heard(clocks, HOUR, 1_899)
    assert heard(clocks, HOUR, 1_900)
    assert clocks.off == {"n1": HOUR}


def test_the_offset_is_that_of_the_least_late_message() -> None:
    clocks = right()
    for ahead, at in ((-HOUR - 900, 0), (-HOUR, 100), (-HOUR - 500, 3_000)):
        heard(clocks, ahead, at)
    assert clocks.off == {"n1": -HOUR}


def test_a_clock_that_is_set_right_is_right_and_forgotten_after_a_day() -> None:
    clocks = right()
    heard(clocks, HOUR, 0)
    heard(clocks, HOUR, 1_000)
    assert clocks.off == {"n1": HOUR}
    assert not heard(clocks, 3, 2_000)
    assert heard(clocks, 3, 12_000)
    assert clocks.off == {}
    clock = clocks._clocks["n1"]
    assert [era.offset for era in clock.eras] == [0, HOUR, 0]
    heard(clocks, 0, 12_003 + DAY)
    assert "n1" in clocks._clocks
    heard(clocks, 0, 12_004 + DAY)
    assert "n1" not in clocks._clocks
    assert heard(clocks, HOUR, 12_005 + DAY) is False, "known to be right, as at first"


def test_eight_settings_of_a_clock_are_remembered() -> None:
    clocks = right()
    for number in range(1, 11):
        for passed in (0, 20_000):
            heard(clocks, number * HOUR, number * 100_000 + passed)
    eras = clocks._clocks["n1"].eras
    assert [era.offset for era in eras] == [number * HOUR for number in range(3, 11)]
    clocks.forget("n1")
    assert clocks.off == {}
    assert not heard(clocks, -HOUR, 9_000_000), "it is not known to be right"


def test_ten_thousand_names_are_remembered() -> None:
    clocks = NodeClocks()
    for number in range(10_001):
        assert clocks.observe(f"right-{number}", START, START)
        clocks.observe(f"wrong-{number}", START + HOUR, START)
    assert len(clocks._right) == 10_000
    assert len(clocks.off) == 10_000
    assert not clocks.observe("one more", START + HOUR, START)


# -- times of a call -----------------------------------------------------------------------------


def test_times_in_a_wrong_clock_are_brought_into_ours() -> None:
    clocks = NodeClocks()
    ts = START + HOUR
    told = event("answered", 1, ts=ts, setup_at=ts - 9_000, progress_at=ts + 5_000,
                 answered_at=ts, ended_at=ts + 5_001)  # fmt: skip
    known = clocks.call(told, START)
    assert known.ts == START
    assert known.setup_at == START - 9_000
    assert (known.progress_at, known.answered_at) == (START + 5_000, START)
    assert known.ended_at is None, "later than its own message"


@pytest.mark.parametrize("name", ["setup_at", "progress_at", "answered_at", "ended_at"])
def test_a_time_later_than_its_message_is_unknown_in_a_right_clock_too(name: str) -> None:
    clocks = right()
    fine = event("notice", 1, ts=START, **{name: START + 5_000})
    assert clocks.call(fine, START) is fine, "not even copied"
    late = clocks.call(event("notice", 1, ts=START, **{name: START + 5_001}), START)
    assert getattr(late, name) is None
    fresh = NodeClocks().call(event("notice", 1, ts=START, **{name: START + 5_000}), START)
    assert getattr(fresh, name) == START + 5_000


def test_while_a_clock_is_not_known_times_are_unknown_and_an_event_is_of_now() -> None:
    clocks = right()
    told = clocks.call(event("answered", 1, ts=START - HOUR, setup_at=START - HOUR - 5,
                             answered_at=START - HOUR), START)  # fmt: skip
    assert (told.ts, told.setup_at, told.answered_at) == (START, None, None)


def test_a_time_of_before_the_clock_was_set_is_known_only_with_its_own_event() -> None:
    clocks = right()
    heard(clocks, HOUR, 0)
    heard(clocks, HOUR, 1_000)  # its era begins here, at START + HOUR + 1_000 of the node
    ts, now = START + HOUR + 2_000, START + 2_000
    told = event("answered", 1, ts=ts, setup_at=START - 70_000, progress_at=ts - 1_001,
                 answered_at=ts - 1_000)  # fmt: skip
    known = clocks.call(told, now)
    assert (known.setup_at, known.progress_at, known.answered_at) == (None, None, now - 1_000)
    own = clocks.call(event("answered", 1, ts=ts, answered_at=ts - 2_000), now)
    assert own.answered_at == now - 2_000, "so near to the event's own time it was taken with it"
    assert clocks.call(event("answered", 1, ts=ts, answered_at=ts - 2_001), now).answered_at is None


def listed(**times: int) -> Sync:
    call = SyncedCall(call_id="c", dialog="1.1", state="answered", **times)
    return Sync(v=1, phase="sync", node="n1", epoch=1, seq=1, ts=START, sync_id="s", part=1,
                parts=1, calls=(call,))  # fmt: skip


@pytest.mark.parametrize("name", ["setup_at", "progress_at", "answered_at", "ended_at"])
def test_times_in_a_list_are_judged_like_those_of_events(name: str) -> None:
    fine = listed(**{name: START + 5_000})
    assert right().list(fine, START) is fine
    late = right().list(listed(**{name: START + 5_001}), START)
    assert getattr(late.calls[0], name) is None
    off = NodeClocks().list(listed(**{name: START - 7}), START - HOUR)
    assert getattr(off.calls[0], name) == START - 7 - HOUR
    unsure = right().list(listed(**{name: START - 7}), START + HOUR)
    assert getattr(unsure.calls[0], name) is None


# -- CDRs ----------------------------------------------------------------------------------------


def cdr(ts: int, **times: int) -> Ended:
    one = event("ended", 1, ts=ts, **times)
    assert isinstance(one, Ended)
    return one


def test_a_cdr_of_a_right_clock_keeps_its_times_unless_it_is_of_the_future() -> None:
    clocks = right()
    kept = clocks.cdr(cdr(START + 5_000, ended_at=START, setup_at=START + 10_001), START)
    assert (kept.ts, kept.ended_at, kept.setup_at) == (START + 5_000, START, None)
    future = clocks.cdr(cdr(START + 5_001, ended_at=START), START)
    assert (future.ts, future.ended_at) == (START, None)


def test_the_time_of_a_cdr_decides_its_era() -> None:
    clocks = right()
    heard(clocks, HOUR, 10_000)
    heard(clocks, HOUR, 20_000)  # two eras: until START, and from START + HOUR + 20_000
    heard(clocks, HOUR, 30_000)
    now = START + 60_000
    old = clocks.cdr(cdr(START - DAY, ended_at=START - DAY, setup_at=START + HOUR + 25_000), now)
    assert (old.ts, old.ended_at, old.setup_at) == (START - DAY, START - DAY, None)
    ts = START + HOUR + 35_000
    new = clocks.cdr(cdr(ts, ended_at=ts, setup_at=START - 5), now)
    assert (new.ts, new.ended_at, new.setup_at) == (ts - HOUR, ts - HOUR, None)
    for ts, known in ((START + HOUR + 35_001, False), (START + 900_000, False)):
        neither = clocks.cdr(cdr(ts, ended_at=ts), now)
        assert (neither.ts, neither.ended_at) == (min(ts, now), None), known
