"""Items of a list that say what the table holds are left out before it is parsed: nothing else
about the list may become another because of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.events import SYNC_SUBJECT
from livestate.ingest import dialog_lists
from livestate.ingest.known_items import without_known
from livestate.ingest.pipeline import Pipeline
from livestate.state.nodes.clock_offset import NodeClocks
from tests.calls import START
from tests.examples import examples
from tests.unit.ingest.feeding import Fed, raw

ITEM = {"call_id": "c1", "dialog": "1.1", "state": "answered", "held": False, "company_id": "101",
        "direction": "outbound", "from": "+39", "to": "+44", "trunk": "gw", "setup_at": START - 9,
        "answered_at": START - 5}  # fmt: skip


def listed(*items: Any, seq: int = 5, **envelope: Any) -> bytes:
    message = {"v": 1, "phase": "sync", "node": "n1", "epoch": 1, "seq": seq, "ts": START,
               "sync_id": f"s{seq}", "part": 1, "parts": 1, "calls": list(items)}  # fmt: skip
    return orjson.dumps(message | envelope)


def numbered(number: int, **fields: Any) -> dict[str, Any]:
    return ITEM | {"dialog": f"{number}.1", "call_id": f"c{number}"} | fields


class Feed(Fed):
    """With the clocks of nodes, as in the service."""

    def __init__(self) -> None:
        super().__init__()
        sinks = (self.recorder,)
        self.clocks = NodeClocks()
        self.pipeline = Pipeline(
            self.table, self.nodes, sinks, clock=self.clock, clocks=self.clocks
        )
        self.counters = self.pipeline.counters

    @property
    def all(self) -> Any:
        counters = self.counters
        node = self.nodes.by_name["n1"]
        return (
            [(repr(call), self.table.versions_of(call)) for call in self.table.calls.values()],
            [(repr(change.before), repr(change.after)) for change in self.recorder.changes],
            counters.listed_rejected, counters.rejected, counters.received, counters.applied,
            counters.lists, counters.lost, self.table.refused, node.wants_list,
            self.table.nodes.listed, node.listing,
        )  # fmt: skip


def fed(*sent: bytes) -> Feed:
    feed = Feed()
    feed.take(raw("heartbeat", 4))
    for data in sent:
        feed.take((SYNC_SUBJECT, data))
    return feed


def same(*sent: bytes) -> Feed:
    """Feed the lists with the first look and without it, and compare the two results."""
    looked = fed(*sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialog_lists, "without_known", lambda *_: None)
        judged = fed(*sent)
    assert looked.all == judged.all
    return looked


def known(feed: Feed, data: bytes) -> list[str]:
    """The dialogs that are left out of a list."""
    found = without_known(data, feed.table)
    return [] if found is None else sorted(call.dialog for call in found[1].values())


def test_what_the_table_holds_is_left_out() -> None:
    first = listed(*(numbered(n) for n in range(9)))
    feed = same(first, listed(*(numbered(n) for n in range(9)), seq=6))
    again = listed(*(numbered(n) for n in range(8)), numbered(8, trunk="other"), seq=7)
    assert known(feed, again) == [f"{n}.1" for n in range(8)]
    rest, _ = without_known(again, feed.table) or (b"", {})
    assert [one["trunk"] for one in orjson.loads(rest)["calls"]] == ["other"]


def test_an_item_may_say_less_than_is_known() -> None:
    feed = same(listed(ITEM), listed({name: ITEM[name] for name in ("call_id", "dialog", "state")}))
    assert known(feed, listed({name: ITEM[name] for name in ("state", "dialog", "call_id")}))


ODD: tuple[Callable[[dict[str, Any]], Any], ...] = (
    lambda one: one | {"state": "held"},
    lambda one: one | {"state": "ended"},
    lambda one: one | {"held": None},
    lambda one: one | {"held": 1},
    lambda one: one | {"attempt": True},
    lambda one: one | {"attempt": 1.0},
    lambda one: one | {"setup_at": float(one["setup_at"])},
    lambda one: one | {"setup_at": START + 3_600_000},
    lambda one: one | {"company_id": ""},
    lambda one: one | {"company_id": 101},
    lambda one: one | {"from": "x" * 300},
    lambda one: one | {"mos": 4.1},
    lambda one: one | {"mos": 99},
    lambda one: one | {"to_uri": "sip:a:secret@b"},
    lambda one: one | {"direction": "sideways"},
    lambda one: one | {"trunk": None},
    lambda one: one | {"unknown": [1]},
    lambda one: one | {"call_id": ""},
    lambda one: {name: value for name, value in one.items() if name != "dialog"},
    lambda one: 7,
    lambda one: one,
)


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_an_odd_item_is_judged_as_ever(odd: int) -> None:
    items = [numbered(1), numbered(2), numbered(3)]
    other = [numbered(1), ODD[odd](numbered(2)), numbered(3)]
    same(listed(*items), listed(*other, seq=6), listed(*other, seq=7))
    same(listed(*other), listed(*items, seq=6))
    same(listed(*items), listed(*items, ODD[odd](numbered(2)), seq=6))  # names a call twice


@pytest.mark.parametrize(
    "envelope",
    [{"epoch": 2}, {"epoch": 0}, {"v": 2}, {"ts": START - 9_000_000}, {"seq": 3}, {"part": 2},
     {"parts": 2}, {"unlisted": 1}, {"unlisted": "x"}, {"phase": "copies"}, {"sync_id": ""},
     {"seq": 2**53}, {"epoch": -1}, {"node": "n2"}, {"calls": {}}, {"calls": [ITEM] * 201}],
)  # fmt: skip
def test_an_odd_list_is_judged_as_ever(envelope: dict[str, Any]) -> None:
    items = [numbered(n) for n in range(4)]
    same(listed(*items), listed(*items[1:], seq=6, **envelope) if "seq" not in envelope
         else listed(*items[1:], **envelope), listed(*items[2:], seq=8))  # fmt: skip


def test_the_list_that_is_the_first_sign_of_a_restart_confirms_its_calls() -> None:
    feed = same(listed(ITEM), listed(ITEM, epoch=2, seq=0))
    (call,) = feed.table.calls.values()
    assert not call.unconfirmed


def test_a_list_from_before_the_last_one_names_no_call_to_a_sweep() -> None:
    feed = fed(listed(ITEM, seq=4), listed(ITEM, seq=6))
    for seq, named in ((5, 0), (7, 1)):
        feed.table.sweeping["n1"] = [set()]
        assert known(feed, listed(ITEM, seq=seq)) == ["1.1"]
        feed.take((SYNC_SUBJECT, listed(ITEM, seq=seq)))
        assert len(feed.table.sweeping["n1"][0]) == named


VALUES = st.sampled_from(
    [None, "", "101", "gw", "outbound", "answered", "held", "ringing", True, False, 0, 1, -1, 1.0,
     START - 5, START, START + 9_999, 2**53, 2**70, "x" * 65, "x" * 257, [], {}]
)  # fmt: skip
EDITS = st.dictionaries(
    st.sampled_from([*ITEM, "attempt", "ended_at", "mos", "detail", "to_uri", "else"]), VALUES,
    max_size=2,
)  # fmt: skip
LISTS = st.lists(st.tuples(st.integers(0, 4), EDITS), max_size=5)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(LISTS, st.integers(3, 9), st.integers(1, 2)), max_size=4))
def test_any_lists_have_the_same_effect(lists: Any) -> None:
    def encoded(items: Any, seq: int, epoch: int) -> bytes:
        calls = [numbered(number) | edits for number, edits in items]
        data = listed(*[{"call_id": "c", "dialog": "d"} for _ in calls], seq=seq, epoch=epoch)
        message = orjson.loads(data) | {"calls": calls}
        return json.dumps(message).encode()

    same(listed(*(numbered(n) for n in range(4))), *(encoded(*one) for one in lists))
