"""Promise R: a stored record is the same call again, and an invalid one is refused alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.errors import SnapshotUnusable
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import position_at
from livestate.store.loader import load
from livestate.store.record import decode, encode, score
from tests.calls import event, invented_calls, real_calls
from tests.examples import examples
from tests.promises.projection import (
    SECRET,
    Make,
    shown,
)
from tests.promises.test_order import fold, same


@given(st.one_of(st.sampled_from(real_calls()), invented_calls()), st.integers(1, 9), st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_a_stored_call_is_the_same_call_again(events: Any, upto: int, unsure: bool) -> None:
    call = fold(events[:upto])
    if unsure:
        call = call.replaced(unconfirmed=True)
    again, versions = decode(call.key, encode(call, {"": 3, "101": 2}))
    assert same(again) == same(call)
    assert versions == {"": 3, "101": 2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


_FIELDS = [*orjson.loads(encode(fold(real_calls()[0]), {"": 1})), "older", "unconfirmed", "odd"]


@given(st.dictionaries(st.sampled_from(_FIELDS), JSON, max_size=3), st.integers(0, 300),
       st.binary(max_size=4))  # fmt: skip
@settings(max_examples=examples(400), deadline=None)
def test_a_hand_edited_record_is_a_call_or_unusable(
    edits: dict[str, Any], cut: int, junk: bytes
) -> None:
    good = orjson.loads(encode(fold(real_calls()[0]), {"": 1}))
    try:
        data = orjson.dumps(good | edits)
    except TypeError:
        return  # an integer that JSON of ours cannot write
    for one in (data, data[:cut] + junk + data[cut:], data[:cut], junk):
        try:
            call, _ = decode("k", one)
        except SnapshotUnusable as unusable:
            assert unusable.key == "k"
        else:
            encode(call, {})


def first_mark(record: Any, *position: int) -> None:
    record["marks"][-1][0] = position


BEYOND: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an epoch beyond all": lambda record: record.update(stamp=[2**60, 5, 0]),
    "a number beyond all": lambda record: record.update(stamp=[1, 2**60, 0]),
    "neither list nor event": lambda record: record.update(stamp=[1, 5, 9]),
    "a mark of an epoch beyond all": lambda record: first_mark(record, 2**60, 1, 0),
    "a mark of a number beyond all": lambda record: first_mark(record, 1, 2**63, 1),
    "a mark behind its call": lambda record: first_mark(record, 1, 700, 0),
    "all of them": lambda record: (record.update(stamp=[2**63, 2**63, 3]),
                                   first_mark(record, 2**63, 2**63, 3)),
    "a fact beyond all positions": lambda record: record.update(older={"trunk": [2**60, 1, 0]}),
    "a version beyond all": lambda record: record.update(v={"": 2**63, "101": 2**53}),
    "a version below zero": lambda record: record.update(v={"": -1, "101": "x"}),
    "no versions": lambda record: record.update(v={}),
    "a time beyond all": lambda record: record.update(setup_at=2**63),
}  # fmt: skip


@pytest.mark.parametrize("what", BEYOND)
def test_a_number_that_no_node_can_give_out_is_not_believed(what: str) -> None:
    """The call comes back under its key, its node's next list can end it, and its view counts on
    with numbers that a browser can hold."""
    table = ActiveCalls(secret=SECRET, epoch="a" * 16)
    for seq, phase in enumerate(("setup", "ringing", "answered"), 5):
        table.apply(event(phase, seq, company_id="101", trunk="gw", setup_at=1_000), seq)
    (call,) = table.calls.values()
    record = orjson.loads(encode(call, table.versions_of(call)))
    BEYOND[what](record)
    stored, versions = decode(call.key, orjson.dumps(record))
    again = ActiveCalls(secret=SECRET, epoch="b" * 16)
    again.restore([(stored, versions)], {"": (3, 0), "101": (3, 0)}, "a" * 16, 1)
    (back,) = again.calls.values()
    assert (back.key, back.state, back.trunk) == (call.key, "answered", "gw")
    assert float(score(back)) == score(back) < 2**53
    assert all(view.version < 2**52 and view.live == 1 for view in again.views)
    assert max(mark.position for mark in back.phase_records) <= back.position
    assert shown(again, None).keys() == {call.key}
    encode(back, again.versions_of(back))
    for change in again.sweeps.close_missing("n1", position_at(1, 1_000, from_sync=True), set(), 9):
        assert change is not None
        assert not change.after.live
    assert again.live == 0


async def test_a_record_that_is_none_loses_only_itself(make: Make) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    live = next(key for key, call in world.table.calls.items() if call.live)
    await world.redis.hset("{active_calls}:calls", live, "nonsense")
    loaded = await load(world.redis)
    assert loaded is not None
    assert loaded.unusable == 1
    assert len(loaded.calls) == len(world.table.calls) - 1
