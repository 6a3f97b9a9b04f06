"""Promise K: a limit on calls is a limit on memory, however long their texts are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.errors import Rejected
from livestate.contract.events import SyncedCall
from livestate.state.active_calls import ActiveCalls
from livestate.state.call_weight import extra_weight
from livestate.state.position import position_at
from tests.calls import event

TEXTS = ("from", "to", "from_uri", "to_uri", "sip_reason", "detail")
WIDE = "x" * 255 + "\U0001f600"  # one such character makes all of them take four bytes


def table(most: int = 100) -> ActiveCalls:
    return ActiveCalls(secret=b"s" * 16, epoch="e", most=most)


def one_event(phase: str, seq: int, number: int, **texts: Any) -> Any:
    return event(phase, seq, dialog=f"{number}.1", call_id=f"c{number}", **texts)


def long_texts(text: str = WIDE) -> dict[str, str]:
    return dict.fromkeys(TEXTS, text)


def test_a_call_with_the_longest_texts_weighs_as_much_as_seven_others() -> None:
    calls = table()
    refused = 0
    for number in range(100):
        try:
            calls.apply(one_event("answered", number + 1, number, **long_texts()), 1)
        except Rejected as rejected:
            assert rejected.reason == "too_many_calls"
            refused += 1
    assert calls.live + refused == 100
    weight = 1 + extra_weight(next(iter(calls.calls.values())))
    assert weight == 7
    assert calls.live == -(-100 // weight)


@pytest.mark.parametrize("text", ["", "x" * 40, "М" * 40, "\U0001f600" * 40])
def test_ordinary_texts_in_any_alphabet_weigh_no_more(text: str) -> None:
    calls = table(3)
    for number in range(3):
        calls.apply(one_event("answered", number + 1, number, **{"from": text, "to": text}), 1)
    assert calls.live == 3


def test_the_weight_of_ended_calls_is_bounded_too() -> None:
    calls = table()
    for number in range(40):
        calls.apply(one_event("answered", 2 * number + 1, number, **long_texts()), 1)
        calls.apply(one_event("ended", 2 * number + 2, number, **long_texts()), 1)
    assert (calls.live, calls.weights.live, len(calls.calls)) == (0, 0, 40)
    calls.trim(0, 70)
    assert len(calls.calls) <= 70 // 6
    calls.trim(2, 70)
    assert not calls.calls
    assert calls.weights.ended == 0


def test_a_full_table_takes_no_longer_texts_but_every_end() -> None:
    calls = table(2)
    calls.apply(one_event("setup", 1, 1), 1)
    calls.apply(one_event("setup", 2, 2), 1)
    with pytest.raises(Rejected):
        calls.apply(one_event("answered", 3, 1, **long_texts()), 1)
    item = SyncedCall(call_id="c2", dialog="2.1", state="answered", **long_texts())
    key = calls.key_of("n1", "2.1", "c2")
    with pytest.raises(Rejected):
        calls.apply_listed("n1", key, item, position_at(1, 4, from_sync=True), 1)
    calls.apply(one_event("answered", 5, 1), 1)
    calls.apply(one_event("ended", 6, 1, **long_texts()), 1)
    assert calls.live == 1


STEPS = st.tuples(
    st.sampled_from(["setup", "answered", "notice", "ended"]),
    st.integers(0, 5),
    st.sampled_from(["", "x" * 255, WIDE]),
    st.sampled_from([False, False, False, True]),
)


@given(st.lists(STEPS, max_size=40))
def test_the_weights_are_those_of_the_calls(steps: list[tuple[str, int, str, bool]]) -> None:
    calls = table()
    for seq, (phase, number, text, trimmed) in enumerate(steps, 1):
        calls.apply(one_event(phase, seq, number, **(long_texts(text) if text else {})), seq)
        if trimmed:
            calls.trim(seq, 2)
    stored = [(call, calls.versions_of(call)) for call in calls.calls.values()]
    restored = table()
    restored.restore(stored, {}, "e", 1)
    exchanged = table()
    exchanged.become(restored)
    for each in (calls, exchanged):
        for live, weight in ((True, each.weights.live), (False, each.weights.ended)):
            there = (call for call in each.calls.values() if call.live is live)
            assert weight == sum(map(extra_weight, there))
