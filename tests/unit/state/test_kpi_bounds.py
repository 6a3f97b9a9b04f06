"""Key figures: what is kept in memory, rankings, and peaks over an exchange; bounds by value."""

from __future__ import annotations

from typing import Any

import pytest

from livestate.contract.events import EVENT
from livestate.state.call import Call, begin, evolve
from livestate.state.kpi import trunks
from livestate.state.kpi.gauges import Gauge
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import ScopeKpis, live_counts
from livestate.state.kpi.trunks import OTHER, TrunkCounters
from livestate.state.kpi.window import Bucket
from tests.calls import START, event
from tests.unit.state.test_kpis import Room

DAY = 86_400_000
NOON = START // DAY * DAY + DAY // 2


def call(phase: str = "answered", number: int = 1, **facts: Any) -> Call:
    return begin(f"k{number}", event(phase, number, **facts))


# -- the window ----------------------------------------------------------------------------------


def test_the_window_is_as_long_as_we_have_counted_a_quarter_of_an_hour_at_most() -> None:
    room = Room(NOON)
    seconds = []
    for passed in (0, 999, 1, 99_000, 799_999, 1, 5_000_000):
        room.now += passed
        seconds.append(room.of()["window_seconds"])
    assert seconds == [0, 0, 1, 100, 899, 900, 900]


def test_a_call_counts_for_a_quarter_of_an_hour_by_half_minutes() -> None:
    room = Room(NOON)
    room.say("answered", "1", trunk="gw", answered_at=NOON)
    room.say("ended", "1", trunk="gw", outcome="answered", ended_at=NOON + 4_000)
    for passed, counted in ((899_999, 1), (900_000, 0)):
        room.now = NOON + passed
        assert (room.of()["offered"], room.of()["completed"]) == (counted, counted), passed
        assert room.of()["trunks"] == [("gw", 0, 1, counted, 100.0 if counted else None)]


def test_a_call_that_changes_its_trunk_is_up_on_the_new_one() -> None:
    for phase in ("notice", "hold"):
        room = Room(NOON)
        room.say("answered", "1", trunk="a", answered_at=NOON)
        room.say(phase, "1", trunk="b", answered_at=NOON)
        assert [one[:2] for one in room.of()["trunks"]] == [("b", 1), ("a", 0)], phase
        assert (room.of()["concurrent"], room.of()["longest_since"]) == (1, NOON)


def test_a_trunk_beyond_a_thousand_in_half_a_minute_is_not_counted() -> None:
    bucket = Bucket(1)
    for number in range(1_001):
        bucket.count_attempt(f"t{number}", answered=number % 2 == 0)
    assert len(bucket.attempts) == 1_000
    assert "t1000" not in bucket.attempts
    bucket.count_attempt("t999", answered=True)
    assert (bucket.attempts["t999"], bucket.answered_attempts["t999"]) == (2, 1)
    assert "t997" not in bucket.answered_attempts


def test_the_set_ups_of_a_second_are_divided_over_ten_and_a_challenge_is_none() -> None:
    room = Room(NOON)
    for number in range(20):
        room.say("setup", str(number))
    assert (room.of()["cps"], room.of()["cps_peak"]) == (0.0, 20)
    room.now += 1_000
    room.say("setup", "20")
    assert room.of()["cps"] == 2.0
    room.say("failed", "20", outcome="challenged", sip_code=407)
    room.now += 9_999
    assert room.of()["cps"] == 2.0
    room.now += 1
    assert room.of()["cps"] == 0.0
    assert room.of()["cps_peak"] == 20
    room.now += DAY
    assert room.of()["cps_peak"] == 0
    room.say("setup", "30")
    assert room.of()["cps_peak"] == 1


# -- gauges --------------------------------------------------------------------------------------


def test_a_days_peak_begins_with_what_it_was_at_midnight() -> None:
    gauge = Gauge()
    for by, day, peak in ((3, 7, 3), (-2, 7, 3), (1, 7, 3), (5, 7, 7), (-6, 8, 7), (1, 8, 7)):
        gauge.move(by, day)
        assert gauge.peak_of(day) == peak
    assert (gauge.now, gauge.peak_of(9)) == (2, 2)


def test_trunks_without_a_call_are_dropped_when_there_are_very_many() -> None:
    scope = ScopeKpis()
    day = NOON // DAY
    for number in range(1_001):
        one = call(number=number + 1, trunk=f"t{number}")
        scope.enter(one, day)
        if number:
            scope.leave(one, day)
    assert len(scope.trunks) == 1_001
    scope.enter(call(number=5_000, trunk="new"), day)
    assert len(scope.trunks) == 2
    assert (scope.trunks["t0"].now, scope.trunks["new"].now, scope.live.now) == (1, 1, 2)


def test_conversations_that_are_over_do_not_pile_up_behind_a_long_one() -> None:
    scope = ScopeKpis()
    long = call(number=1, answered_at=START)
    scope.add_answered(long)
    for number in range(2, 67):
        one = call(number=number, answered_at=START + number)
        scope.add_answered(one)
        scope.add_answered(one)
        scope.remove_answered(one)
    assert len(scope.oldest_answered) == 66
    one = call(number=67, answered_at=START + 67)
    scope.add_answered(one)
    scope.remove_answered(one)
    assert len(scope.oldest_answered) == 1
    assert scope.longest_since() == START
    scope.remove_answered(long)
    assert scope.longest_since() is None


# -- days, exchanges, evictions ------------------------------------------------------------------


def test_peaks_of_the_day_survive_an_exchange_of_the_table() -> None:
    room = Room(NOON)
    for number in range(5):
        room.say("answered", str(number), trunk="gw", answered_at=START)
    for number in range(3):
        room.say("ended", str(number), outcome="answered")
    room.kpis.replace(live_counts(room.table.calls.values()), ())
    for company in (None, "101"):
        told = room.of(company)
        assert (told["concurrent"], told["concurrent_peak"]) == (2, 5)
        assert told["trunks"][0][:3] == ("gw", 2, 5)
    assert room.of()["companies"] == [("101", 2, 5)]
    assert room.of()["series"]["concurrent"][-1] == 2


def test_calls_of_before_our_restart_fill_the_window_from_its_first_moment() -> None:
    before, after = Room(NOON), Room(NOON)
    for number in range(2):
        before.say("answered", str(number), answered_at=START)
    after.kpis.restore(live_counts(before.table.calls.values()))
    after.now += 60_000
    for company in (None, "101"):
        assert after.of(company)["series"]["concurrent"][-3:] == [2, 2, 2]
    after.now += DAY
    assert after.of()["companies"] == [("101", 2, 2)]


def test_unused_names_are_forgotten_after_a_day() -> None:
    room = Room(NOON)
    room.say("answered", "1", company_id="quiet", trunk="old")
    room.say("ended", "1", company_id="quiet", outcome="answered")
    room.say("answered", "2", company_id="up", trunk="busy")
    room.now += DAY // 2 - 1
    assert [name for name, *_ in room.of()["companies"]] == ["up", "quiet"]
    assert len(room.of()["trunks"]) == 2
    room.now += 1
    room.of("up")
    assert set(room.kpis._of) == {"up"}
    assert [name for name, *_ in room.of()["companies"]] == ["up"]
    assert [name for name, *_ in room.of()["trunks"]] == ["busy"]
    late = Room(NOON)
    late.now = NOON + DAY // 2 - 600_000
    late.say("answered", "1", company_id="quiet")
    late.say("ended", "1", company_id="quiet", outcome="busy")
    late.now += 600_000
    assert late.of("quiet")["offered"] == 1, "it is in the window still"
    late.now += DAY
    late.of()
    assert not late.kpis._of


def test_an_evicted_company_is_forgotten_unless_it_has_calls() -> None:
    room = Room(NOON)
    for company in ("a", "b", "c"):
        room.say("answered", company, company_id=company)
    room.say("ended", "a", company_id="a", outcome="answered")
    room.kpis.forget(["a", "b", "never heard of"])
    assert [name for name, *_ in room.of()["companies"]] == ["b", "c"]
    assert room.of("a")["offered"] == 0
    assert room.of("c")["concurrent"] == 1


def test_a_report_names_the_twenty_busiest_by_calls_then_peak_then_name() -> None:
    room = Room(NOON)
    for number in range(25):
        for again in range(3 if number == 7 else 1):
            room.say("answered", f"{number}-{again}", company_id=f"c{number:02}",
                     trunk=f"t{number:02}")  # fmt: skip
    for dialog in ("9-0", "8-0", "3-0"):
        room.say("ended", dialog, company_id=f"c0{dialog[0]}", outcome="answered")
    room.say("answered", "3-1", company_id="c03", trunk="t03")
    room.say("answered", "3-2", company_id="c03", trunk="t03")
    room.say("ended", "3-2", company_id="c03", outcome="answered")
    figures = room.of()
    names = [name for name, *_ in figures["companies"]]
    assert len(names) == len(figures["trunks"]) == 20
    assert names[:3] == ["c07", "c03", "c00"]
    assert not {"c08", "c09"} & set(names)


# -- counters of trunks --------------------------------------------------------------------------


def seize(counters: TrunkCounters, trunk: str, times: int = 1) -> None:
    for _ in range(times):
        counters.count(None, call("setup", trunk=trunk))


def test_trunks_are_ranked_once_a_minute() -> None:
    counters = TrunkCounters(most=1)
    seize(counters, "a")
    counters.rank(1_000)
    seize(counters, "b", 9)
    counters.rank(60_999)
    assert counters.name("b") == OTHER
    counters.rank(61_000)
    assert (counters.name("a"), counters.name("b")) == (OTHER, "b")


def test_a_trunk_takes_the_place_of_another_with_more_than_twice_its_attempts() -> None:
    for attempts, taken in ((9, False), (10, True)):
        counters = TrunkCounters(most=2)
        seize(counters, "quiet", 4)
        seize(counters, "busy", 5)
        seize(counters, "new", attempts)
        counters.rank(0)
        assert (counters.name("new") == "new") is taken
        assert (counters.name("quiet") == OTHER) is taken
        assert counters.name("busy") == "busy"


def test_attempts_count_less_with_every_minute() -> None:
    for attempts, named in ((3, "a"), (4, "b")):  # 5 are not more than 2·2 + 1, 6 are
        counters = TrunkCounters(most=1)
        seize(counters, "a", 8)
        seize(counters, "b", 8)
        counters.rank(0)  # 4 and 4
        counters.rank(60_000)  # 2 and 2
        seize(counters, "b", attempts)
        counters.rank(120_000)
        assert counters.name(named) == named
    other = TrunkCounters(most=1)
    seize(other, "a", 8)
    seize(other, "b", 1)
    other.rank(0)
    assert not other._candidates, "one attempt of long ago is none"


def test_five_trunks_a_minute_get_counters_and_a_thousand_are_compared() -> None:
    counters = TrunkCounters(most=6)
    for number in range(6):
        seize(counters, f"old{number}")
    for number in range(8):
        seize(counters, f"new{number}", 10 + number)
    counters.rank(0)
    named = {name for name, _ in counters.totals()} - {OTHER}
    assert {name for name in named if name.startswith("new")} == {f"new{n}" for n in range(3, 8)}
    many = TrunkCounters(most=0)
    for number in range(1_000):
        seize(many, f"t{number}")
    seize(many, "one more")
    seize(many, "t999")
    assert len(many._candidates) == 1_000
    assert many._candidates["t999"] == 2
    assert dict(many.totals())[OTHER].seizures == 1_002


def test_each_trunk_shows_its_calls_and_the_rest_together() -> None:
    kpis = Kpis(lambda: NOON)
    kpis.trunks = TrunkCounters(most=1)
    room = Room(NOON)
    room.kpis = kpis
    room.say("answered", "1", trunk="a")
    room.say("answered", "2", trunk="b")
    room.say("answered", "3", trunk="c")
    room.say("setup", "4", trunk="a")
    room.say("ended", "1", outcome="answered")
    assert kpis.live_by_trunk() == {"a": 1, OTHER: 2}


@pytest.mark.parametrize(("before", "after", "counted"), [
    ({}, {}, "none"), ({}, {"sip_code": 299}, "none"), ({}, {"sip_code": 300}, "3xx"),
    ({"sip_code": 503}, {"sip_code": 503}, "none"), ({"sip_code": 486}, {"sip_code": 503}, "5xx"),
])  # fmt: skip
def test_a_reroute_fails_by_a_new_response_only(
    before: dict[str, int], after: dict[str, int], counted: str
) -> None:
    def told(phase: str, seq: int, **facts: object) -> Any:
        return EVENT.validate_python(
            {
                "v": 1,
                "node": "n",
                "epoch": 1,
                "seq": seq,
                "ts": seq,
                "phase": phase,
                "call_id": "c",
                "dialog": "d",
                **facts,
            }
        )

    counters = TrunkCounters()
    first = begin("k", told("setup", 1, trunk="a", **before))
    counters.count(None, first)
    counters.count(first, evolve(first, told("reroute", 2, trunk="b", attempt=2, **after)))
    totals = dict(counters.totals())
    assert {name: n for name, n in totals["a"].failures.items() if n} == {counted: 1}
    assert (totals["a"].seizures, totals["b"].seizures) == (1, 1)
    assert trunks.CLASSES == ("3xx", "4xx", "5xx", "6xx", "none")
