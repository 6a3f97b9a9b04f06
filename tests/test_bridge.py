"""The translation of a real Kamailio's frames: captures end as they truly ended."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.active_calls import ActiveCalls
from livestate.bridge.kamailio import BadFrame, KamailioFeed, Outgoing
from livestate.bridge.replay import read
from livestate.call import Call
from livestate.events import CallEvent, Sync, parse
from livestate.nodes import Nodes
from livestate.runtime.pipeline import Pipeline
from tests.calls import CAPTURES, capture_names, messages

SMALL, NO_DATABASE, DATABASE = (
    f"capture-{name}.jsonl" for name in ("small", "restart-nodb", "restart-dbtext")
)
# What SIPp was told to make happen, and what the operations centre should read of it.
OUTCOME_OF_PLAN = {
    "answered": "answered",
    "answered_after_reroute": "answered",
    "busy": "busy",
    "canceled": "canceled",
    "declined": "declined",
    "ghost": "expired",
    "gw_503": "congestion",
    "no_answer": "no_answer",
    "no_reply": "no_reply",
    "not_found": "invalid_number",
    "unavailable": "unavailable",
}


def frames(name: str) -> list[Any]:
    path = CAPTURES
    for part in name.split("/"):
        path = path / part
    return [frame for _, frame in read(path.read_text(errors="replace").splitlines())]


def folded(outgoing: tuple[Outgoing, ...]) -> tuple[ActiveCalls, Pipeline]:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, Nodes(stale_after=6_000), (), clock=lambda: 1)
    for one in outgoing:
        pipeline.take(one.subject, orjson.dumps(one.message))
    assert pipeline.tally.holds
    assert not pipeline.tally.rejected
    return table, pipeline


def truth() -> dict[str, dict[str, Any]]:
    told = orjson.loads((CAPTURES / "capture-small.truth.json").read_bytes())
    return {call["call_id"]: call for call in told["truth"]}


def by_call_id(table: ActiveCalls) -> dict[str, Call]:
    calls = {call.call_id: call for call in table.calls.values()}
    assert len(calls) == len(table.calls)
    return calls


@pytest.mark.parametrize("name", capture_names())
def test_every_frame_of_every_capture_is_understood(name: str) -> None:
    feed = KamailioFeed()
    for frame in frames(name):
        for one in feed.feed(frame):
            event = parse(one.subject, orjson.dumps(one.message))
            assert event.node == "kam-lab-1"


@pytest.mark.parametrize("name", capture_names())
def test_no_call_of_a_capture_takes_a_step_that_the_table_does_not_know(name: str) -> None:
    _, pipeline = folded(messages(name))
    assert pipeline.tally.irregular == 0


def test_every_call_of_a_capture_ends_as_it_was_told_to() -> None:
    table, pipeline = folded(messages(SMALL))
    calls, told = by_call_id(table), truth()
    refused = {name for name, one in told.items() if one["planned"] == "rejected_by_proxy"}
    assert (len(told), len(calls), pipeline.tally.refused_by_proxy) == (41, 39, 2)
    assert calls.keys() == told.keys() - refused
    assert table.live == 0
    for call_id, call in calls.items():
        plan = told[call_id]
        assert not call.live
        assert call.conclusion == OUTCOME_OF_PLAN[plan["planned"]], call_id
        assert (call.company_id, call.direction) == (plan["company_id"], plan["direction"])
        assert call.callee == plan["called"]
        answered = plan["planned"] in ("answered", "answered_after_reroute", "ghost")
        assert call.state == ("ended" if answered else "failed"), call_id
        if plan["planned"] == "answered":
            assert call.by == plan["hangup_by"], call_id


def test_calls_last_as_long_as_people_talked() -> None:
    table, _ = folded(messages(SMALL))
    told = truth()
    for call_id, call in by_call_id(table).items():
        plan = told[call_id]
        # Elsewhere a hold or a transfer takes its own time, or the callee hangs up at his.
        if plan["planned"] == "answered" and plan["group"] in ("call", "inbound"):
            assert call.answered_at is not None
            talked = call.over_at - call.answered_at
            assert talked == pytest.approx(plan["talk_ms"], abs=500), call_id


def test_the_outcomes_add_up_to_the_reference_figures() -> None:
    table, pipeline = folded(messages(SMALL))
    figures = orjson.loads((CAPTURES / "capture-small.kpi.json").read_bytes())
    for company in ("101", "202", "303"):
        outcomes = Counter(
            # The figures count an answered call as answered, however its dialog ended.
            "answered" if call.answered_at is not None else call.conclusion
            for call in table.calls.values()
            if call.company_id == company
        )
        assert outcomes == figures["company_id"][company]["outcomes"]
    assert pipeline.tally.refused_by_proxy == figures["all"]["outcomes"]["rejected_local"]


def test_one_call_that_needed_a_second_gateway_shows_both_attempts() -> None:
    rerouted = [name for name, one in truth().items() if one["planned"] == "answered_after_reroute"]
    events = [one.message for one in messages(SMALL) if one.message.get("call_id") in rerouted]
    phases = [message["phase"] for message in events]
    assert phases[:2] == ["setup", "reroute"]
    assert phases[-1] == "ended"
    assert [events[0]["attempt"], events[-1]["attempt"]] == [1, 2]
    assert events[0]["trunk"] != events[-1]["trunk"]
    assert len({message["dialog"] for message in events}) == 1


def test_a_restart_without_a_database_loses_the_answered_calls_and_says_so() -> None:
    told = messages(NO_DATABASE)
    restarted = next(
        at for at, one in enumerate(told) if one.message["epoch"] != told[0].message["epoch"]
    )
    before, _ = folded(told[:restarted])
    answered = {key for key, call in before.calls.items() if call.state == "answered"}
    assert (len(answered), before.live) == (5, 6)

    table, pipeline = folded(told)
    assert table.live == 0
    assert pipeline.tally.lost == 6
    assert {call.conclusion for call in table.calls.values()} == {"lost"}
    assert {key for key, call in table.calls.items() if call.state == "ended"} == answered


def test_a_restart_with_a_database_keeps_its_calls_and_each_ends_by_itself() -> None:
    told = messages(DATABASE)
    epochs = [one.message["epoch"] for one in told]
    restarted = next(at for at, epoch in enumerate(epochs) if epoch != epochs[0])
    before, _ = folded(told[:restarted])
    after, _ = folded(told[: restarted + 1])  # and the new epoch's first list
    kept = {key for key, call in after.calls.items() if call.live}
    assert len(kept) == 5
    assert kept == {key for key, call in before.calls.items() if call.state == "answered"}
    assert not any(after.calls[key].unconfirmed for key in kept)

    table, _ = folded(told)
    assert table.live == 0
    assert {table.calls[key].conclusion for key in kept} == {"answered"}
    assert [call.conclusion for key, call in table.calls.items() if key not in kept] == ["lost"]


@pytest.mark.parametrize("name", [SMALL, DATABASE])
def test_a_list_alone_brings_back_what_the_events_had_told(name: str) -> None:
    """A service that starts in the middle sees the calls that one which was there all along saw."""
    told = messages(name)
    for at, one in enumerate(told):
        if one.message["phase"] != "sync":
            continue
        listed, _ = folded(told[at : at + 1])
        whole, _ = folded(told[: at + 1])
        seen = {key: call for key, call in whole.calls.items() if call.live}
        assert listed.calls.keys() == seen.keys()
        for key, call in listed.calls.items():
            for field in ("state", "company_id", "direction", "trunk", "attempt", "callee",
                          "setup_at", "answered_at"):  # fmt: skip
                assert getattr(call, field) == getattr(seen[key], field), (field, call.call_id)


def test_dialogs_that_are_over_are_no_part_of_a_list() -> None:
    lists = [frame for frame in frames(DATABASE) if isinstance(frame.get("result"), list)]
    over = [one for answer in lists for one in answer["result"] if one["state"] == 5]
    assert over
    told = [parse(one.subject, orjson.dumps(one.message)) for one in messages(DATABASE)]
    listed = [item for event in told if isinstance(event, Sync) for item in event.calls]
    assert not {one["call-id"] for one in over} & {
        item.call_id for item in listed if item.state == "trying"
    }
    assert sum(len(answer["result"]) for answer in lists) == len(listed) + len(over)


def mark(kind: str, seq: int = 9) -> dict[str, Any]:
    return {"v": 1, "ev": kind, "node": "kam-1", "epoch": 7, "seq": seq, "ts": "1795480000.5"}


def dialog(number: int, **changes: Any) -> dict[str, Any]:
    told = {"h_entry": number, "h_id": 1, "call-id": f"c{number}", "state": 4, "variables": [],
            "from_uri": f"sip:u{number}@x", "to_uri": "sip:1@y"}  # fmt: skip
    return told | changes


def test_a_long_list_is_cut_into_parts_of_two_hundred_that_fold_to_all_of_it() -> None:
    feed = KamailioFeed()
    answer = {"jsonrpc": "2.0", "result": [dialog(n) for n in range(1, 502)], "id": 1}
    told = [one for frame in (mark("snapshot_begin"), answer, mark("snapshot_end"))
            for one in feed.feed(frame)]  # fmt: skip
    assert [(one.message["part"], one.message["parts"]) for one in told] == [(1, 3), (2, 3), (3, 3)]
    assert max(len(orjson.dumps(one.message)) for one in told) < 256 * 1024
    table, pipeline = folded(tuple(told))
    assert (table.live, pipeline.tally.lists) == (501, 1)


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
        mark("ended") | {"call_id": "c", "sip_code": "busy"},
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
        told = parse(one.subject, orjson.dumps(orjson_safe(one.message)))
        assert isinstance(told, CallEvent)
        assert told.call_id == setup["call_id"]


def orjson_safe(message: dict[str, Any]) -> dict[str, Any]:
    """As it leaves a bridge that decodes with replacement."""
    return {
        name: told.encode("utf-8", "replace").decode() if isinstance(told, str) else told
        for name, told in message.items()
    }


def test_one_caller_with_a_huge_call_id_does_not_stop_his_nodes_lists() -> None:
    """He chooses his Call-ID; lost ends of everybody else's calls are found by lists only."""
    feed = KamailioFeed()
    told = []
    for frame in (
        mark("snapshot_begin"),
        {"jsonrpc": "2.0", "result": [dialog(1), dialog(2, **{"call-id": "x" * 600})], "id": 1},
        mark("snapshot_end"),
    ):
        told += feed.feed(frame)
    table, pipeline = folded(tuple(told))
    assert (table.live, pipeline.tally.lists) == (2, 1)


def test_what_a_configuration_should_not_say_of_a_call_spoils_no_list() -> None:
    """A company that is too long, for it was taken from a header; a direction that is none."""
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    feed, huge = KamailioFeed(), "x" * 65
    told = feed.feed(setup | {"company_id": huge, "trunk": huge, "direction": "up"})
    named = dialog(2, variables=[{"co": huge}, {"gw": huge}, {"dir": "up"}])
    for frame in (mark("snapshot_begin"), {"jsonrpc": "2.0", "result": [dialog(1), named]},
                  mark("snapshot_end")):  # fmt: skip
        told += feed.feed(frame)
    table, pipeline = folded(tuple(told))
    assert {(c.company_id, c.trunk, c.direction) for c in table.calls.values()} == {(None,) * 3}
    assert pipeline.tally.lists == 1


def test_a_call_id_that_is_no_text_is_one_call_in_events_and_lists() -> None:
    """As a real Kamailio does: the event lacks it, the list has its bytes."""
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    feed = KamailioFeed()
    told = feed.feed({name: value for name, value in setup.items() if name != "call_id"})
    raw = dialog(setup["h_entry"], h_id=setup["h_id"], state=2, **{"call-id": "c2\ufffd\ufffd@x"})
    begun = {name: setup[name] for name in ("v", "node", "epoch", "seq", "ts")}
    for frame in (begun | {"ev": "snapshot_begin"}, {"jsonrpc": "2.0", "result": [raw]},
                  begun | {"ev": "snapshot_end"}):  # fmt: skip
        told += feed.feed(frame)
    table, _ = folded(tuple(told))
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
    told = [
        one.message["call_id"]
        for call_id in ids
        for one in KamailioFeed().feed(setup | {"call_id": call_id})
    ]
    assert len(set(told)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
@settings(max_examples=400, deadline=None)
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
