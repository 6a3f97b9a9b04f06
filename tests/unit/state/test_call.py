"""One call: what may follow what, and what a list of dialogs adds to it."""

from __future__ import annotations

from itertools import product

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.events import PHASES as MESSAGES
from livestate.contract.events import CallEvent, SyncedCall
from livestate.contract.parse import parse
from livestate.contract.states import LIVE_STATES, State
from livestate.state.call import PARTS, Call, attributes_of, begin, evolve, looks_the_same
from livestate.state.call_fields import FIELDS, field_values
from livestate.state.position import position_at
from livestate.state.reconcile import begin_listed, mark_lost, reconcile, unconfirm
from livestate.state.transitions import PHASES, TRANSITIONS
from tests.calls import CALL_PHASES, event, invented_calls
from tests.examples import examples

FINAL = {"ended", "failed"}
# Parsed once: exhaustive tests below fold them tens of thousands of times.
NUMBERED = {(phase, seq): event(phase, seq) for phase in CALL_PHASES for seq in range(1, 5)}


def fold(*events: CallEvent) -> Call:
    call = begin("k", events[0])
    for one in events[1:]:
        call = evolve(call, one)
    return call


def listed(state: str, **fields: object) -> SyncedCall:
    return SyncedCall.model_validate(
        {"call_id": "c1", "dialog": "1.1", "state": state, **fields}, strict=True
    )


@pytest.mark.parametrize("phase", CALL_PHASES)
def test_attributes_are_read_under_their_own_names(phase: str) -> None:
    """They are sliced out of a model's dictionary: whoever makes events in another
    way must keep the attributes first, and in their order."""
    data = {"v": 1, "phase": phase, "node": "a", "epoch": 1, "seq": 1, "ts": 1, "call_id": "c1",
            "trunk": "gw-a", "detail": "d", "answered_at": 5, "company_id": "101",
            "jitter_ms": 24}  # fmt: skip
    parsed = parse(f"call.events.{phase}", orjson.dumps(data))
    assert isinstance(parsed, CallEvent)
    repaired = parse(f"call.events.{phase}", orjson.dumps(data | {"from": "x" * 300}))
    assert isinstance(repaired, CallEvent)
    made = type(parsed).model_construct(detail="d", company_id="101", phase=phase)
    copied = parsed.model_copy(update={"setup_at": 3, "answered_at": None})
    for one in (parsed, repaired, made, copied, listed("held", to="7", trunk="gw-a")):
        assert field_values(attributes_of(one)) == [getattr(one, name) for name in FIELDS]


def test_every_step_of_the_table_leads_to_a_state_of_the_table() -> None:
    assert set(TRANSITIONS) == LIVE_STATES | FINAL
    for steps in TRANSITIONS.values():
        assert set(steps) <= PHASES
        assert set(steps.values()) <= set(TRANSITIONS)


def test_the_table_and_the_contract_speak_of_the_same_phases() -> None:
    """Heartbeats and lists are of no call."""
    assert MESSAGES - {"heartbeat", "sync"} == PHASES


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_a_live_call_can_end_in_every_way(state: State) -> None:
    for phase in ("ended", "failed", "lost"):
        assert TRANSITIONS[state][phase] in FINAL  # type: ignore[index]


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_call_that_is_over_stays_as_it_is(state: State) -> None:
    assert set(TRANSITIONS[state].values()) <= {state}


def test_every_state_can_be_reached() -> None:
    reached = {"trying"}
    while new := {to for state in reached for to in TRANSITIONS[state].values()} - reached:  # type: ignore[index]
        reached |= new
    assert reached == set(TRANSITIONS)


def test_events_in_order_walk_the_table() -> None:
    """Exhaustive: every sequence of up to four phases. What comes after an end is a user agent's
    or a node's mistake; all it may not do is bring the call back."""
    for length in range(1, 5):
        for phases in product(CALL_PHASES, repeat=length):
            walked: State = "trying"
            for phase in phases:
                walked = TRANSITIONS[walked].get(phase, walked)  # type: ignore[call-overload]
            call = fold(*(NUMBERED[phase, seq] for seq, phase in enumerate(phases, 1)))
            assert call.live == FINAL.isdisjoint(phases), phases
            if FINAL.isdisjoint(phases[:-1]):
                assert call.state == walked, phases


@given(invented_calls(), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_an_event_without_news_returns_the_same_call(
    events: tuple[CallEvent, ...], data: st.DataObject
) -> None:
    call = fold(*events)
    again = data.draw(st.sampled_from(events))
    assert evolve(call, again) is call
    assert evolve(call, again, state_counts=False) is call


@given(invented_calls())
@settings(max_examples=examples(300), deadline=None)
def test_a_call_remembers_no_more_than_one_mark_a_phase(events: tuple[CallEvent, ...]) -> None:
    call = fold(*events)
    assert len({mark.phase for mark in call.phase_records}) == len(call.phase_records)
    assert list(call.phase_records) == sorted(call.phase_records)


@pytest.mark.parametrize(
    ("last", "times", "state"),
    [
        ("setup", {}, "trying"),
        ("setup", {"progress_at": 1_795_000_000_000}, "ringing"),
        ("setup", {"answered_at": 1_795_000_000_000}, "answered"),
        ("notice", {"answered_at": 1_795_000_000_000}, "answered"),
        ("failed", {"answered_at": 1_795_000_000_000}, "ended"),
        ("reroute", {"progress_at": 1_795_000_000_000}, "trying"),
        ("setup", {"progress_at": 1_795_000_000_000, "attempt": 2}, "trying"),
        ("hold", {}, "held"),
        ("transfer", {}, "answered"),
    ],
)
def test_one_event_from_the_middle_is_enough_to_know_the_state(
    last: str, times: dict[str, int], state: str
) -> None:
    assert fold(event(last, 9, **times)).state == state


def test_a_reroute_goes_back_to_trying_with_the_next_gateway() -> None:
    call = fold(
        event("setup", 1, trunk="gw-a", attempt=1),
        event("ringing", 2, trunk="gw-a", attempt=1, progress_at=1_795_000_000_000),
        event("reroute", 3, trunk="gw-b", attempt=2, sip_code=503),
    )
    assert (call.state, call.trunk, call.attempt) == ("trying", "gw-b", 2)


def test_the_first_end_counts_and_a_second_only_adds_facts() -> None:
    call = fold(event("answered", 1), event("ended", 2), event("failed", 3, sip_code=487))
    assert (call.state, call.sip_code) == ("ended", 487)


def test_a_late_event_fills_in_what_is_missing_and_overwrites_nothing() -> None:
    call = fold(
        event("answered", 5, trunk="gw-b"), event("setup", 1, trunk="gw-a", direction="inbound")
    )
    assert (call.trunk, call.direction) == ("gw-b", "inbound")


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_a_call_first_seen_in_a_list_has_the_state_of_the_list(state: str) -> None:
    assert (
        begin_listed("k", "n1", listed(state), position_at(1, 5, from_sync=True), 1).state == state
    )


def test_a_list_adds_what_was_missed_and_never_brings_an_ended_call_back() -> None:
    at = position_at(1, 9, from_sync=True)
    missed = reconcile(fold(event("setup", 1)), listed("answered", trunk="gw-a"), at, 1)
    assert (missed.state, missed.trunk) == ("answered", "gw-a")
    over = fold(event("answered", 1), event("ended", 2))
    assert not reconcile(over, listed("answered"), at, 1).live


def test_a_list_ends_a_hold_only_if_its_node_knows_holds() -> None:
    held = fold(event("answered", 1), event("hold", 2))
    at = position_at(1, 9, from_sync=True)
    assert reconcile(held, listed("answered"), at, 1).state == "held"
    assert reconcile(held, listed("answered", held=True), at, 1).state == "held"
    assert reconcile(held, listed("answered", held=False), at, 1).state == "answered"


def test_a_list_older_than_the_calls_last_event_changes_no_state() -> None:
    call = fold(event("answered", 7))
    at = position_at(1, 5, from_sync=True)
    assert reconcile(call, listed("held"), at, 1).state == "answered"
    assert reconcile(call, listed("ringing", trunk="gw-a"), at, 1).trunk == "gw-a"


def test_a_list_without_news_returns_the_same_call() -> None:
    call = fold(event("answered", 1, trunk="gw-a"))
    assert (
        reconcile(call, listed("answered", trunk="gw-a"), position_at(1, 5, from_sync=True), 1)
        is call
    )


@pytest.mark.parametrize("phase", ["ended", "failed"])
def test_a_lost_call_learns_its_real_end_late(phase: str) -> None:
    call = mark_lost(fold(event("answered", 1)), position_at(1, 5, from_sync=True), 77)
    assert (call.live, call.lost, call.conclusion, call.over_at) == (False, True, "lost", 77)
    ended = evolve(call, event(phase, 4, outcome="expired", ended_at=1_795_000_000_009))
    assert (ended.lost, ended.conclusion, ended.over_at) == (False, "expired", 1_795_000_000_009)


def test_a_call_in_doubt_is_sure_again_with_its_next_event_or_list() -> None:
    doubted = unconfirm(fold(event("answered", 1)))
    assert doubted.unconfirmed
    assert unconfirm(doubted) is doubted
    assert evolve(doubted, event("hold", 2)).unconfirmed is False
    assert (
        reconcile(doubted, listed("answered"), position_at(1, 5, from_sync=True), 1).unconfirmed
        is False
    )


def test_a_call_in_doubt_twice_is_confirmed_by_a_second_list_at_the_same_number() -> None:
    """We restart twice; the node has no event in between, so its list is at the same number."""
    at = position_at(1, 5, from_sync=True)
    once = reconcile(unconfirm(fold(event("answered", 1))), listed("answered"), at, 1)
    twice = reconcile(unconfirm(once), listed("answered"), at, 2)
    assert twice.unconfirmed is False


@given(invented_calls())
@settings(max_examples=examples(200), deadline=None)
def test_what_people_see_changes_only_if_a_fact_or_the_state_does(
    events: tuple[CallEvent, ...],
) -> None:
    call = begin("k", events[0])
    for one in events[1:]:
        after = evolve(call, one)
        seen = {name for name in PARTS if getattr(call, name) != getattr(after, name)}
        assert (not looks_the_same(call, after)) == bool(
            seen - {"position", "phase_log", "attribute_positions"}
        )
        call = after
