"""The translation of a real Kamailio's frames: captures end as they truly ended."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.bridge.kamailio.translation import BadFrame, KamailioFeed
from livestate.contract.encoding import encoded
from livestate.contract.events import CallEvent
from livestate.contract.messages import Outgoing
from livestate.contract.parse import parse
from tests.calls import messages
from tests.examples import examples
from tests.unit.bridge.test_captures import SMALL, folded, frames


def mark(kind: str, seq: int = 9) -> dict[str, Any]:
    return {"v": 1, "ev": kind, "node": "kam-1", "epoch": 7, "seq": seq, "ts": "1795480000.5"}


def dialog(number: int, **changes: Any) -> dict[str, Any]:
    fields = {"h_entry": number, "h_id": 1, "call-id": f"c{number}", "state": 4, "variables": [],
            "from_uri": f"sip:u{number}@x", "to_uri": "sip:1@y"}  # fmt: skip
    return fields | changes


def test_a_long_list_is_cut_into_parts_of_two_hundred_that_fold_to_all_of_it() -> None:
    feed = KamailioFeed()
    answer = {"jsonrpc": "2.0", "result": [dialog(n) for n in range(1, 502)], "id": 1}
    sent = [one for frame in (mark("snapshot_begin"), answer, mark("snapshot_end"))
            for one in feed.feed(frame)]  # fmt: skip
    parts = [Outgoing(one.subject, orjson.loads(data)) for one in sent for data in encoded(one)]
    assert [(one.message["part"], one.message["parts"]) for one in parts] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    table, pipeline = folded(tuple(parts))
    assert (table.live, pipeline.counters.lists) == (501, 1)


def test_two_lists_never_share_a_name() -> None:
    names = [one.message["sync_id"] for one in messages(SMALL) if one.message["phase"] == "sync"]
    assert len(names) == len(set(names)) > 1


def test_an_event_between_a_lists_mark_and_its_answer_is_passed_on() -> None:
    feed = KamailioFeed()
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    assert feed.feed(mark("snapshot_begin")) == []
    assert [one.message["phase"] for one in feed.feed(setup)] == ["setup"]
    feed.feed({"jsonrpc": "2.0", "result": [], "id": 1})
    assert [one.message["phase"] for one in feed.feed(mark("snapshot_end"))] == ["sync"]


@pytest.mark.parametrize(
    "bad",
    [
        [], "text", None, {}, {"ev": "nope"}, {"ev": ["setup"]}, {"ev": "setup"},
        mark("setup") | {"call_id": "c", "h_id": 1},
        mark("heartbeat") | {"ts": "soon"}, mark("heartbeat") | {"ts": "12"} | {"epoch": None},
        mark("heartbeat") | {"starting": "many"}, mark("snapshot_end"),
    ],
)  # fmt: skip
def test_a_frame_that_makes_no_sense_is_said_to_be_bad(bad: object) -> None:
    with pytest.raises(BadFrame):
        KamailioFeed().feed(bad)


def test_a_list_that_kamailio_could_not_give_is_not_taken_for_an_empty_one() -> None:
    feed = KamailioFeed()
    feed.feed(mark("snapshot_begin"))
    with pytest.raises(BadFrame, match="failed"):
        feed.feed({"jsonrpc": "2.0", "error": {"code": 500, "message": "no"}, "id": 1})
    with pytest.raises(BadFrame):
        feed.feed(mark("snapshot_end"))


def test_a_caller_without_a_readable_name_still_has_a_call() -> None:
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    for from_uri in (..., "", "sip:", "tel:+39", "\udcff", "sip:%FF%00@x", "sip:a;b:c@x", 7):
        frame = {k: v for k, v in (setup | {"from_uri": from_uri}).items() if v is not ...}
        (one,) = KamailioFeed().feed(frame)
        event = parse(one.subject, orjson.dumps(orjson_safe(one.message)))
        assert isinstance(event, CallEvent)
        assert event.call_id == setup["call_id"]


def orjson_safe(message: dict[str, Any]) -> dict[str, Any]:
    """As it leaves a bridge that decodes with replacement."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in message.items()
    }


def test_one_caller_with_a_huge_call_id_does_not_stop_his_nodes_lists() -> None:
    """He chooses his Call-ID; lost ends of everybody else's calls are found by lists only."""
    feed = KamailioFeed()
    sent = []
    for frame in (
        mark("snapshot_begin"),
        {"jsonrpc": "2.0", "result": [dialog(1), dialog(2, **{"call-id": "x" * 600})], "id": 1},
        mark("snapshot_end"),
    ):
        sent += feed.feed(frame)
    table, pipeline = folded(tuple(sent))
    assert (table.live, pipeline.counters.lists) == (2, 1)


def test_what_a_configuration_should_not_say_of_a_call_spoils_no_list() -> None:
    """A company that is too long, for it was taken from a header; a direction that is none."""
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    feed, huge = KamailioFeed(), "x" * 65
    sent = feed.feed(setup | {"company_id": huge, "trunk": huge, "direction": "up"})
    named = dialog(2, variables=[{"co": huge}, {"gw": huge}, {"dir": "up"}])
    for frame in (mark("snapshot_begin"), {"jsonrpc": "2.0", "result": [dialog(1), named]},
                  mark("snapshot_end")):  # fmt: skip
        sent += feed.feed(frame)
    table, pipeline = folded(tuple(sent))
    assert {(c.company_id, c.trunk, c.direction) for c in table.calls.values()} == {(None,) * 3}
    assert pipeline.counters.lists == 1


def test_a_call_id_that_is_no_text_is_one_call_in_events_and_lists() -> None:
    """As a real Kamailio does: the event lacks it, the list has its bytes."""
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    feed = KamailioFeed()
    sent = feed.feed({name: value for name, value in setup.items() if name != "call_id"})
    raw = dialog(setup["h_entry"], h_id=setup["h_id"], state=2, **{"call-id": "c2\ufffd\ufffd@x"})
    begun = {name: setup[name] for name in ("v", "node", "epoch", "seq", "ts")}
    for frame in (begun | {"ev": "snapshot_begin"}, {"jsonrpc": "2.0", "result": [raw]},
                  begun | {"ev": "snapshot_end"}):  # fmt: skip
        sent += feed.feed(frame)
    table, _ = folded(tuple(sent))
    assert [call.state for call in table.calls.values()] == ["trying"]


def test_a_caller_with_a_huge_name_has_a_cdr_that_nats_takes() -> None:
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    huge = "sip:" + '"' * 60_000 + "@acme.example"
    facts = {"from_uri": huge, "to_uri": huge, "ruri_user": huge, "sip_reason": huge}
    (one,) = KamailioFeed().feed(setup | facts | {"ev": "ended", "detail": huge})
    assert len(orjson.dumps(one.message)) < 16 * 1024


def test_two_huge_call_ids_that_begin_alike_stay_two() -> None:
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    ids = ["x" * 600 + end for end in ("1", "2")]
    ids = [
        one.message["call_id"]
        for call_id in ids
        for one in KamailioFeed().feed(setup | {"call_id": call_id})
    ]
    assert len(set(ids)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
@settings(max_examples=examples(400), deadline=None)
def test_a_mangled_frame_is_bad_at_worst(data: st.DataObject) -> None:
    """Whatever a field holds, the feed goes on with the next frame."""
    around = data.draw(st.sampled_from([SMALL, "probes/end_dlg-and-set_state.jsonl"]))
    lived = frames(around)
    frame = copy.deepcopy(data.draw(st.sampled_from(lived)))
    feed = KamailioFeed()
    feed.feed(mark("snapshot_begin"))
    if isinstance(result := frame.get("result"), list) and result:
        spoilt = data.draw(st.sampled_from(result))
    else:
        spoilt = frame
    field = data.draw(st.sampled_from(sorted(spoilt)))
    spoilt[field] = data.draw(JSON)
    for one in (frame, mark("snapshot_end")):
        try:
            feed.feed(one)
        except BadFrame:
            continue
