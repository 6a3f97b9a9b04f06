"""One call as Redis stores it: the same call again, and what an edit by hand can and cannot do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.errors import SnapshotUnusable
from livestate.state.call import Call, begin, evolve
from livestate.state.position import NOWHERE, as_from_sync, position_at, unpack
from livestate.state.reconcile import mark_lost, unconfirm
from livestate.store import record
from livestate.store.record import decode, encode, score
from tests.calls import event
from tests.examples import examples
from tests.promises.test_order import ANY_CALL, fold

MOST = 2**53 - 1


def call() -> Call:
    first = begin("k", event("setup", 7, epoch=3, trunk="gw", company_id="101", setup_at=5))
    return evolve(first, event("answered", 9, epoch=3, answered_at=8, **{"from": "+39"}))


def edited(change: Any, one: Call | None = None) -> tuple[Call, dict[str, int]]:
    stored = orjson.loads(encode(one or call(), {"": 4, "101": 2}))
    change(stored)
    return decode("k", orjson.dumps(stored))


def put(name: str, value: Any) -> Any:
    return lambda stored: stored.__setitem__(name, value)


@settings(max_examples=examples(200), deadline=None)
@given(ANY_CALL)
def test_a_call_is_the_same_call_again(events: Any) -> None:
    one = fold(tuple(events))
    for stored in (one, unconfirm(one), mark_lost(one, as_from_sync(one.position), 9)):
        assert decode(stored.key, encode(stored, {"": 3})) == (stored, {"": 3})


def test_a_stored_record_is_readable() -> None:
    assert orjson.loads(encode(call(), {"": 4})) == {
        "state": "answered", "node": "n1", "dialog": "1.1", "call_id": "c1", "stamp": [3, 9, 0],
        "marks": [[[3, 7, 0], "setup", 1_795_000_000_007],
                  [[3, 9, 0], "answered", 1_795_000_000_009]],
        "older": {"trunk": [3, 7, 0], "company_id": [3, 7, 0], "setup_at": [3, 7, 0]},
        "v": {"": 4}, "trunk": "gw", "company_id": "101", "from": "+39", "setup_at": 5,
        "answered_at": 8,
    }  # fmt: skip
    assert orjson.loads(encode(unconfirm(call()), {}))["unconfirmed"] is True
    assert score(call()) == 5
    assert score(begin("k", event("ringing", 7))) == 1_795_000_000_007


EDITS = st.dictionaries(
    st.sampled_from(["state", "node", "dialog", "call_id", "stamp", "marks", "v", "unconfirmed",
                     "older", "trunk", "setup_at", "attempt", "mos", "by", "other"]),
    st.sampled_from([None, "", "n1", True, 0, 1, -1, 1.5, 2**53, 2**60, [], {}, [3, 9, 0], [3, 9],
                     [[[3, 9, 0], "answered", 8]], [[[3, 9, 0], "nothing", 8]],
                     [[[3, 9, 0], "answered", 8], [[3, 7, 0], "setup", 8]], {"": 2**60}]),
    max_size=2,
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(ANY_CALL, EDITS, st.booleans())
def test_the_quick_way_reads_what_the_careful_one_reads(
    events: Any, edits: Any, backwards: bool
) -> None:
    one = fold(tuple(events))
    stored = orjson.loads(encode(one, {"": 4, "101": 2})) | edits
    if backwards:
        stored = dict(reversed(stored.items()))

    def outcome(read: Any) -> Any:
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    quick = outcome(lambda: record._usual("k", stored))
    assert quick is None or quick == outcome(lambda: record._checked("k", stored))
    if not edits and not backwards and one.rare is None and one.attributes.quality is None:
        assert quick is not None


def test_an_edited_state_has_no_effect() -> None:
    assert edited(put("state", "ended"))[0] == call()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_position_that_no_node_can_reach_is_the_lowest(part: int) -> None:
    for value, believed in (
        ((2**53 - 1, True), (2**53, False)) if part < 2 else ((1, True), (2, False))
    ):
        stamp = [3, 9, 0]
        stamp[part] = value
        (one, _) = edited(put("older", {"trunk": stamp}))
        positions = one.attribute_positions
        assert positions is not None
        epoch, seq, from_sync = stamp
        wanted = position_at(epoch, seq, bool(from_sync)) if believed else NOWHERE
        assert positions["trunk"] == wanted


def test_a_call_is_as_late_as_the_latest_of_its_records_but_for_a_loss() -> None:
    one, _ = edited(put("stamp", [3, 1, 0]))
    assert unpack(one.position) == (3, 9, 0)
    lost = mark_lost(call(), position_at(3, 20, from_sync=True), 9)
    kept, _ = edited(put("stamp", [3, 12, 0]), lost)
    assert unpack(kept.position) == (3, 12, 0)
    assert kept.lost
    high, _ = edited(put("stamp", [2**60, 1, 0]))
    assert unpack(high.position) == (3, 9, 0)


@pytest.mark.parametrize("mark", [[2**53, 1, 0], [3, 2**53, 0], [3, 10, 2]])
def test_a_record_of_a_position_that_no_node_can_reach_comes_first(mark: list[int]) -> None:
    def change(stored: dict[str, Any]) -> None:
        stored["marks"][1][0] = mark

    one, _ = edited(change)
    assert [(unpack(record.position), record.phase) for record in one.phase_records] == [
        ((0, 0, 0), "answered"), ((3, 7, 0), "setup")
    ]  # fmt: skip


def test_a_time_beyond_the_contracts_largest_number_is_that_number() -> None:
    def change(stored: dict[str, Any]) -> None:
        stored["marks"][1][2] = 2**60

    one, _ = edited(change)
    assert [record.at for record in one.phase_records] == [1_795_000_000_007, MOST]
    assert [unpack(record.position) for record in one.phase_records] == [(3, 7, 0), (3, 9, 0)]

    def last(stored: dict[str, Any]) -> None:
        stored["marks"][1] = [[MOST, MOST, 1], "answered", MOST]

    one, _ = edited(last)
    assert (unpack(one.phase_records[1].position), one.phase_records[1].at) == (
        (MOST, MOST, 1), MOST)  # fmt: skip


def test_a_version_that_no_view_can_reach_is_left_out() -> None:
    for versions, believed in (
        ({"": 0, "101": 10**15 - 1}, {"": 0, "101": 10**15 - 1}),
        ({"": 1, "101": 10**15}, {"": 1}), ({"": -1, "101": 2}, {"101": 2}),
        ({"": "1", "101": 2}, {"101": 2}), ({"": True, "101": 2}, {"101": 2}), ({}, {}),
    ):  # fmt: skip
        assert edited(put("v", versions))[1] == believed


def test_a_number_of_an_attribute_that_is_too_large_is_unknown() -> None:
    assert edited(put("answered_at", MOST))[0].answered_at == MOST
    assert edited(put("answered_at", 0))[0].answered_at == 0
    assert edited(put("answered_at", MOST + 1))[0].answered_at is None
    assert edited(put("setup_at", None))[0].attributes.setup_at is None


BAD: list[tuple[str, Any]] = [
    ("stamp", [3, 9]), ("stamp", [3, 9, True]), ("stamp", [-1, 9, 0]), ("stamp", [3, -9, 0]),
    ("stamp", [3, 9, -1]), ("stamp", ["3", 9, 0]), ("stamp", [3, 9.0, 0]), ("stamp", None),
    ("marks", []), ("marks", [[[3, 7, 0], "nope", 1]]), ("marks", [[[3, 7, 0], "setup", -1]]),
    ("marks", [[[3, 7, 0], "setup", "1"]]), ("marks", [[[3, 7, True], "setup", 1]]),
    ("marks", [[[-3, 7, 0], "setup", 1]]), ("marks", [[[3, 7, -1], "setup", 1]]),
    ("marks", [[[3, True, 0], "setup", 1]]), ("marks", [[[3, 7, 0], "setup", True]]),
    ("marks", [[[3.0, 7, 0], "setup", 1]]), ("older", {"nope": [3, 7, 0]}), ("older", {"trunk": 3}),
    ("v", [1]), ("v", None), ("node", 7), ("dialog", 7), ("call_id", None), ("unconfirmed", 1),
    ("unconfirmed", 0), ("unconfirmed", "yes"), ("trunk", 7), ("from", ["x"]), ("setup_at", "5"),
    ("setup_at", -5), ("answered_at", -1), ("setup_at", 5.0), ("attempt", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{n}-{v}" for n, v in BAD])
def test_what_is_no_call_is_unusable_and_named(name: str, value: Any) -> None:
    with pytest.raises(SnapshotUnusable) as unusable:
        edited(put(name, value))
    assert "k" in str(unusable.value)
    with pytest.raises(SnapshotUnusable):
        decode("k", b"{")
