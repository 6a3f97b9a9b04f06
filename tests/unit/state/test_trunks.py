"""Counters per trunk: bounded, never falling, and with the sums of an oracle without a bound."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.events import EVENT
from livestate.state.call import Call, begin, evolve
from livestate.state.kpi.trunks import CLASSES, OTHER, RANK_MS, TrunkCounters


def event(phase: str, seq: int, **facts: object) -> object:
    fields = {"v": 1, "node": "n", "epoch": 1, "seq": seq, "ts": seq, "phase": phase,
            "call_id": "c", "dialog": "d", **facts}  # fmt: skip
    return EVENT.validate_python(fields)


def fold(counters: TrunkCounters, *events: tuple[str, dict[str, object]]) -> Call:
    call: Call | None = None
    for seq, (phase, facts) in enumerate(events, 1):
        parsed = event(phase, seq, **facts)
        after = begin("k", parsed) if call is None else evolve(call, parsed)  # type: ignore[arg-type]
        counters.count(call, after)
        call = after
    assert call is not None
    return call


def seen(counters: TrunkCounters) -> dict[str, tuple[int, int, dict[str, int]]]:
    return {
        name: (one.seizures, one.answers, {k: v for k, v in one.failures.items() if v})
        for name, one in counters.totals()
    }


GW = {"trunk": "gw-a", "attempt": 1}


def test_an_answered_call_is_one_attempt_and_one_answer() -> None:
    counters = TrunkCounters()
    up = GW | {"answered_at": 3, "sip_code": 200}
    fold(counters, ("setup", GW), ("ringing", GW), ("answered", up), ("hold", up), ("ended", up))
    assert seen(counters)["gw-a"] == (1, 1, {})


def test_a_failure_counts_in_the_class_of_its_response() -> None:
    counters = TrunkCounters()
    for code in (302, 404, 486, 503, 603):
        fold(counters, ("setup", GW), ("failed", GW | {"sip_code": code}))
    fold(counters, ("setup", GW), ("failed", GW))
    assert seen(counters)["gw-a"] == (6, 0, {"3xx": 1, "4xx": 2, "5xx": 1, "6xx": 1, "none": 1})


def test_a_reroute_fails_on_one_trunk_and_begins_on_the_next() -> None:
    counters = TrunkCounters()
    after = {"trunk": "gw-b", "attempt": 2, "sip_code": 503}
    fold(counters, ("setup", GW), ("reroute", after),
         ("answered", after | {"sip_code": 200, "answered_at": 3}))  # fmt: skip
    assert seen(counters)["gw-a"] == (1, 0, {"5xx": 1})
    assert seen(counters)["gw-b"] == (1, 1, {})


def test_a_challenge_is_no_failure_of_the_trunk() -> None:
    counters = TrunkCounters()
    fold(counters, ("setup", GW), ("failed", GW | {"sip_code": 407, "outcome": "challenged"}))
    assert seen(counters)["gw-a"] == (1, 0, {})


def test_a_trunk_that_is_called_other_is_counted_with_the_others() -> None:
    counters = TrunkCounters()
    fold(counters, ("setup", {"trunk": OTHER}), ("failed", {"trunk": OTHER, "sip_code": 503}))
    assert [name for name, _ in counters.totals()] == [OTHER]
    assert seen(counters)[OTHER] == (1, 0, {"5xx": 1})


def test_a_trunk_that_becomes_busy_gets_counters_and_a_quiet_one_loses_them() -> None:
    counters = TrunkCounters(most=2)
    for trunk in ("a", "b"):
        fold(counters, ("setup", {"trunk": trunk}))
    for _ in range(40):
        fold(counters, ("setup", {"trunk": "c"}))
    assert counters.name("c") == OTHER
    counters.rank(RANK_MS)
    assert counters.name("c") == "c"
    assert sorted((counters.name("a"), counters.name("b"))).count(OTHER) == 1
    assert seen(counters)["c"] == (0, 0, {})  # what was counted with the others stays there
    assert seen(counters)[OTHER][0] == 40


calls = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([200, 404, 503, None])))


@given(calls, st.integers(1, 4), st.integers(1, 20))
def test_sums_are_right_and_no_counter_falls(
    events: list[tuple[str, int | None]], most: int, every: int
) -> None:
    counters = TrunkCounters(most=most)
    now = 0
    other = 0
    truth: Counter[str] = Counter()
    gone = Counter[str]()
    for number, (trunk, code) in enumerate(events):
        if code == 200:
            fold(counters, ("setup", {"trunk": trunk}),
                 ("answered", {"trunk": trunk, "answered_at": 2}))  # fmt: skip
            truth["answers"] += 1
        else:
            facts = {"trunk": trunk} | ({"sip_code": code} if code else {})
            fold(counters, ("setup", {"trunk": trunk}), ("failed", facts))
            truth[f"{code // 100}xx" if code else "none"] += 1
        if number % every == 0:
            now += RANK_MS
            before = dict(counters.totals())
            counters.rank(now)
            after = dict(counters.totals())
            for name in before.keys() - after.keys():  # its series ends
                lost = before[name]
                gone.update({"answers": lost.answers} | lost.failures)
        assert len(list(counters.totals())) <= most + 1
        assert dict(counters.totals())[OTHER].seizures >= other
        other = dict(counters.totals())[OTHER].seizures
    sums = Counter(gone)
    for _, one in counters.totals():
        sums.update({"answers": one.answers} | one.failures)
        assert one.seizures == one.answers + sum(one.failures.values())
    assert {name: sums[name] for name in ("answers", *CLASSES)} == {
        name: truth[name] for name in ("answers", *CLASSES)
    }
