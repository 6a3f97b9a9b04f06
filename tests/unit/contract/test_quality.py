"""The quality of a call: what is a figure of it, and that a bad one costs nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from livestate.contract.errors import Rejected
from livestate.contract.events import CallEvent, Sync, contract_schema
from livestate.contract.parse import parse, parse_batch, parse_cdr
from livestate.contract.quality import FIGURES, RANGES
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.registry import Nodes
from tests.calls import START
from tests.examples import examples

BASE: dict[str, Any] = {"v": 1, "node": "n1", "epoch": 1, "seq": 1, "ts": START}
CALL = BASE | {"phase": "answered", "call_id": "c1", "dialog": "1.1", "trunk": "gw-a"}
ITEM = {"call_id": "c1", "dialog": "1.1", "state": "answered", "trunk": "gw-a"}
LIST = BASE | {"phase": "sync", "sync_id": "s", "part": 1, "parts": 1}
# As bytes of JSON, because NaN and its like are no values of it.
BAD = {
    "wrong_type": ['"3.2"', "true", "[3]", '{"mos":3}', '""'],
    "out_of_range": ["-1", "1e999", "NaN", "Infinity", "-Infinity", "65535.5", "1e300", "9" * 300],
}
SCHEMA = Draft202012Validator(contract_schema())


def with_figure(message: dict[str, Any], name: str, text: str) -> bytes:
    return orjson.dumps(message)[:-1] + f',"{name}":{text}}}'.encode()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_its_range_is_read(name: str) -> None:
    for value in (*RANGES[name], 3, 1.25):
        event = parse("call.events.answered", orjson.dumps(CALL | {name: value}))
        assert getattr(event, name) == value
        assert SCHEMA.is_valid(CALL | {name: value})
    least, most = RANGES[name]
    assert not SCHEMA.is_valid(CALL | {name: least - 0.01})
    assert not SCHEMA.is_valid(CALL | {name: most + 0.01})


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("reason", BAD)
def test_a_bad_figure_is_left_out_alone_and_counted_with_its_reason(name: str, reason: str) -> None:
    other = next(one for one in FIGURES if one != name)
    for text in BAD[reason]:
        found: Counter[tuple[str, str]] = Counter()
        data = with_figure(CALL | {other: 2}, name, text)

        def count(*left_out: str, found: Counter[tuple[str, str]] = found) -> None:
            found[left_out] += 1  # type: ignore[index]

        for event in (
            parse("call.events.answered", data, count),
            parse_batch(b"[%b,%b]" % (orjson.dumps(CALL), data), count)[1],
            parse_cdr(data.replace(b"answered", b"ended"), count),
        ):
            assert isinstance(event, CallEvent), text
            assert (getattr(event, name), getattr(event, other), event.trunk) == (None, 2, "gw-a")
        assert found == {(name, reason): 3}, text


def test_a_bad_figure_of_one_call_of_a_list_costs_no_other_call() -> None:
    found = []
    good, bad = orjson.dumps(ITEM | {"call_id": "c2", "mos": 4}), with_figure(ITEM, "mos", "NaN")
    data = orjson.dumps(LIST)[:-1] + b',"calls":[%b,%b,{"call_id":"c3"}]}' % (good, bad)
    part = parse("call.events.sync", data, lambda *left_out: found.append(left_out))
    assert isinstance(part, Sync)
    assert [(one.call_id, one.mos, one.trunk) for one in part.calls] == [
        ("c2", 4, "gw-a"), ("c1", None, "gw-a")
    ]  # fmt: skip
    assert [one.call_id for one in part.refused] == ["c3"], "refused for another reason"
    assert found == [("mos", "out_of_range")]


def test_an_event_that_is_rejected_for_another_reason_counts_no_figure() -> None:
    found = []
    data = with_figure(CALL | {"sip_code": 9_999}, "mos", "NaN")
    with pytest.raises(Rejected):
        parse("call.events.answered", data, lambda *left_out: found.append(left_out))
    assert found == []


def test_a_figure_that_comes_twice_is_no_way_past_the_check_for_repeated_keys() -> None:
    with pytest.raises(Rejected, match="duplicate_keys"):
        parse("call.events.answered", with_figure(CALL | {"mos": 9}, "mos", "3"))


@given(st.data())
@settings(max_examples=examples(200), deadline=None)
def test_whatever_stands_for_a_figure_the_event_is_folded_and_counted_once(
    data: st.DataObject,
) -> None:
    name = data.draw(st.sampled_from(FIGURES))
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2) | st.sampled_from([1, 2.5, 5, 0, 100])
    )  # fmt: skip
    message = CALL | {name: value}
    try:
        payload = orjson.dumps(message)
    except TypeError:  # an integer beyond 64 bits
        payload = with_figure(CALL, name, str(value))
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, Nodes(stale_after=10_000), (), clock=lambda: START)
    pipeline.handle("call.events.answered", payload)
    counters = pipeline.counters
    assert counters.balanced
    assert counters.applied == 1
    (call,) = table.calls.values()
    assert call.attributes.trunk == "gw-a"
    kept = dict(zip(FIGURES, call.quality or (None,) * 3, strict=True))[name]
    assert counters.fields_left_out.total() == (
        kept is None and orjson.loads(payload)[name] is not None
    )
    if kept is not None:
        assert kept == value
        assert RANGES[name][0] <= kept <= RANGES[name][1]
