"""Promise O: any order, any duplication, any late arrival of one call's events is the same call."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.events import CallEvent
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call, begin, evolve
from livestate.state.nodes.registry import Nodes
from livestate.state.transitions import TRANSITIONS
from tests.calls import capture_names, event, invented_calls, messages, real_calls
from tests.examples import examples

ANY_CALL = st.one_of(st.sampled_from(real_calls()), invented_calls())


def fold(events: tuple[CallEvent, ...]) -> Call:
    call = begin("k", events[0])
    for one in events[1:]:
        call = evolve(call, one)
    return call


def same(call: Call) -> tuple[Any, ...]:
    """All of a call; an empty and an absent memory of older facts are the same."""
    return call.replaced(attribute_positions=dict(call.attribute_positions or {}))


@st.composite
def retold(draw: st.DrawFn) -> tuple[tuple[CallEvent, ...], tuple[CallEvent, ...]]:
    """Some of a call's events in order, and the same shuffled, with duplicates."""
    events = draw(ANY_CALL)
    kept = draw(st.lists(st.sampled_from(events), min_size=1, unique_by=lambda e: (e.epoch, e.seq)))
    ordered = tuple(sorted(kept, key=lambda e: (e.epoch, e.seq)))
    again = draw(st.lists(st.sampled_from(ordered), max_size=6))
    return ordered, tuple(draw(st.permutations(kept + again)))


@given(retold())
@settings(max_examples=examples(1500), deadline=None)
def test_the_same_events_make_the_same_call_however_they_come(
    orders: tuple[tuple[CallEvent, ...], tuple[CallEvent, ...]],
) -> None:
    ordered, shuffled = orders
    assert same(fold(shuffled)) == same(fold(ordered))


def test_every_order_of_every_short_real_call() -> None:
    for events in real_calls():
        whole = same(fold(events))
        for shuffled in permutations(events[:5]):
            assert same(fold(shuffled + events[5:])) == whole


@given(retold())
@settings(max_examples=examples(300), deadline=None)
def test_a_call_whose_end_arrived_is_over(
    orders: tuple[tuple[CallEvent, ...], tuple[CallEvent, ...]],
) -> None:
    _, shuffled = orders
    call = fold(shuffled)
    assert call.live == all(one.phase not in ("ended", "failed") for one in shuffled)


def test_a_step_in_order_is_the_step_of_the_table() -> None:
    """Exhaustive: from every state that three events reach, every further phase."""
    phases = [phase for phase in TRANSITIONS["trying"] if phase != "lost"]
    for first in phases:
        for second in phases:
            for third in phases:
                state = "trying"
                events = tuple(event(p, n) for n, p in enumerate((first, second, third), 1))
                for one in events:
                    state = TRANSITIONS[state].get(one.phase, state)
                last_of_its_phase = len({first, second, third}) == 3
                if last_of_its_phase or first == second:
                    assert fold(events).state == state, (first, second, third)


def test_an_event_twice_is_no_change_at_all() -> None:
    for events in real_calls():
        call = fold(events)
        for one in events:
            assert evolve(call, one) is call


def table_after(sent: list[tuple[str, bytes]]) -> dict[str, Any]:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, Nodes(stale_after=10_000), (), clock=lambda: 1)
    for subject, data in sent:
        pipeline.handle(subject, data)
    assert pipeline.counters.balanced
    return {
        key: (call.state, call.unconfirmed, *call.attributes) for key, call in table.calls.items()
    }


def swapped(draw: st.DrawFn, sent: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """As a real Kamailio's messages arrive: overtaken by three at most, some twice."""
    hops = draw(st.dictionaries(st.integers(0, len(sent) - 1), st.integers(1, 3), max_size=30))
    order = sorted(range(len(sent)), key=lambda at: (at + hops.get(at, 0), -hops.get(at, 0)))
    came = [sent[at] for at in order]
    for at in draw(st.lists(st.integers(0, len(came) - 1), max_size=10)):
        came.insert(min(at + 2, len(came)), came[at])
    return came


@given(st.data())
@settings(max_examples=examples(400), deadline=None)
def test_a_whole_capture_ends_in_the_same_table_whatever_overtook_what(data: st.DataObject) -> None:
    """With the node's lists among its events, as they came: those overtake events too."""
    name = data.draw(st.sampled_from(capture_names()))
    sent = [(out.subject, orjson.dumps(out.message)) for out in messages(name)]
    if len(sent) < 5:
        return
    assert table_after(swapped(data.draw, sent)) == table_after(sent)


def test_replaying_the_whole_log_gives_the_same_table() -> None:
    for name in capture_names():
        sent = [(out.subject, orjson.dumps(out.message)) for out in messages(name)]
        assert table_after(sent) == table_after(sent)
        assert table_after(sent + sent) == table_after(sent)


@st.composite
def forged(draw: st.DrawFn, sent: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A message under a node's name with numbers that it cannot have reached, or of another day."""
    _, data = draw(st.sampled_from(sent))
    envelope = {name: value for name, value in orjson.loads(data).items()
                if name in ("v", "node", "epoch", "seq", "ts")}  # fmt: skip
    claim = draw(st.sampled_from([
        {"epoch": 2**53 - 1, "seq": 0}, {"seq": 2**53 - 1}, {"seq": 10**9},
        {"epoch": envelope["epoch"] + 10**6},
    ]))  # fmt: skip
    phase = draw(st.sampled_from(["heartbeat", "setup", "answered", "ended", "lost"]))
    call = {"call_id": "forged", "dialog": "1.1"} if phase != "heartbeat" else {}
    return f"call.events.{phase}", orjson.dumps(envelope | claim | call | {"phase": phase})


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_forged_messages_among_those_of_a_capture_leave_the_same_calls(
    data: st.DataObject,
) -> None:
    """The first message is the node's: from an unknown name any number is accepted."""
    name = data.draw(st.sampled_from(capture_names()))
    sent = [(out.subject, orjson.dumps(out.message)) for out in messages(name)]
    if len(sent) < 5:
        return
    came = list(sent)
    for _ in range(data.draw(st.integers(1, 8))):
        came.insert(data.draw(st.integers(1, len(came))), data.draw(forged(sent)))
    assert states(table_after(came)) == states(table_after(sent))


def states(table: dict[str, Any]) -> dict[str, str]:
    """Live and ended calls; marks set on the way may differ."""
    return {key: seen[0] for key, seen in table.items()}
