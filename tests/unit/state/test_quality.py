"""The quality of a call: three figures that merge, are stored, and reach clients each alone."""

from __future__ import annotations

import sys
from itertools import permutations
from typing import Any

import orjson
import pytest

from livestate.cluster.replica import live_call
from livestate.contract.events import SyncedCall
from livestate.contract.quality import FIGURES
from livestate.fanout.patch import changed, record
from livestate.state.call import Call, begin, evolve
from livestate.state.call_fields import Attributes
from livestate.state.combine import combine
from livestate.state.position import position_at
from livestate.state.reconcile import reconcile
from livestate.store.record import decode, encode
from tests.calls import event

MEASURED: dict[str, Any] = {"mos": 3.2, "jitter_ms": 24, "loss_pct": 1.8}
REPORTS = (
    event("answered", 1, trunk="gw-a", mos=4.4, jitter_ms=5),
    event("notice", 2, trunk="gw-a", loss_pct=1.5),
    event("notice", 3, mos=3.2),
    event("ended", 4, trunk="gw-a", loss_pct=0),
)


def fold(*events: Any) -> Call:
    call = begin("k", events[0])
    for one in events[1:]:
        call = evolve(call, one)
    return call


def test_of_each_figure_the_latest_counts_whatever_the_order() -> None:
    """Also where one event reports one of them and another event the others."""
    for order in permutations(REPORTS):
        call = fold(*order, *order[:2])
        assert call.quality == (3.2, 5, 0), order
        assert call.state == "ended"
        assert fold(*REPORTS).replaced() == call
        assert evolve(call, order[0]) is call, "an event twice brings nothing new"


def test_two_that_heard_different_reports_know_all_together() -> None:
    for order in permutations(REPORTS):
        for heard in range(1, 4):
            one, other = fold(*order[:heard]), fold(*order[heard:])
            assert combine(one, other).quality == combine(other, one).quality == (3.2, 5, 0)


def test_a_report_after_the_end_is_added_and_brings_no_call_back() -> None:
    over = fold(event("answered", 1), event("ended", 2))
    later = evolve(over, event("notice", 3, **MEASURED))
    assert (later.state, later.quality) == ("ended", (3.2, 24, 1.8))


def test_a_list_may_report_quality_as_well() -> None:
    item = SyncedCall.model_validate(
        {"call_id": "c1", "dialog": "1.1", "state": "answered", "loss_pct": 2.0}, strict=True
    )
    call = reconcile(fold(event("answered", 1, mos=4)), item, position_at(1, 2, from_sync=True), 5)
    assert call.quality == (4, None, 2)


def test_a_client_gets_the_figures_that_changed_and_never_a_null() -> None:
    before = fold(event("answered", 1, trunk="gw-a", mos=4.4, jitter_ms=5))
    after = evolve(before, event("notice", 2, trunk="gw-a", mos=3.2, loss_pct=1.8))
    assert record(before) == {
        "state": "answered", "node": "n1", "call_id": "c1", "trunk": "gw-a", "mos": 4.4,
        "jitter_ms": 5,
    }  # fmt: skip
    assert changed(before, after) == {"mos": 3.2, "loss_pct": 1.8}
    assert record(before) | changed(before, after) == record(after)
    for call in (before, after):
        assert record(live_call("k", record(call))) == record(call)
    at_an_edge = live_call("k", changed(before, after), live_call("k", record(before)))
    assert record(at_an_edge) == record(after)
    assert not set(FIGURES) & record(fold(event("answered", 1))).keys()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_a_stored_call_has_its_quality_again(most: int) -> None:
    for order in permutations(REPORTS):
        call = fold(*order[:most])
        stored = encode(call, {"": 3})
        assert decode("k", stored) == (call, {"": 3})
        assert decode("k", stored)[0].attribute_positions == call.attribute_positions


def test_a_record_of_the_version_before_quality_loads() -> None:
    stored = orjson.loads(encode(fold(REPORTS[0], REPORTS[2]), {}))
    assert stored["older"] == {"trunk": [1, 1, 0]}, "names that version 0.1 knows"
    for name in (*FIGURES, "older_figures"):
        stored.pop(name, None)
    assert decode("k", orjson.dumps(stored))[0].quality is None


@pytest.mark.parametrize("bad", ["3.2", True, -1, 6e4 * 9, [], {"a": 1}])
def test_a_figure_that_was_edited_to_none_is_unknown(bad: object) -> None:
    stored = orjson.loads(encode(fold(event("answered", 1, **MEASURED)), {}))
    assert decode("k", orjson.dumps(stored | {"mos": bad}))[0].quality == (None, 24, 1.8)


def test_a_call_that_nobody_measured_keeps_one_reference_for_it() -> None:
    """Most calls have no quality, and there are 50,000."""
    call = fold(event("answered", 1))
    assert call.quality is None
    before = len(Attributes._fields) - 1
    assert sys.getsizeof(call.attributes) - sys.getsizeof(tuple(range(before))) <= 8
