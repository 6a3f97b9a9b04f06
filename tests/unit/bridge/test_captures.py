"""Captures of a real Kamailio, translated and folded, end as they were planned."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.events import Sync
from livestate.contract.messages import Outgoing
from livestate.contract.parse import parse
from livestate.devtools.replay import read
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.nodes.registry import Nodes
from tests.calls import CAPTURES, capture_names, messages

SMALL, NO_DATABASE, DATABASE = (
    f"capture-{name}.jsonl" for name in ("small", "restart-nodb", "restart-dbtext")
)
# What SIPp did, and what the operations centre should read of it.
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
    now = 1
    pipeline = Pipeline(table, Nodes(stale_after=6_000), (), clock=lambda: now)
    for one in outgoing:
        now = max(now, one.message["ts"])  # a restart is believed by what is received after it
        pipeline.handle(one.subject, orjson.dumps(one.message))
    assert pipeline.counters.balanced
    assert not pipeline.counters.rejected
    return table, pipeline


def truth() -> dict[str, dict[str, Any]]:
    capture = orjson.loads((CAPTURES / "capture-small.truth.json").read_bytes())
    return {call["call_id"]: call for call in capture["truth"]}


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
    assert pipeline.counters.irregular == 0


def test_every_call_of_a_capture_ends_as_planned() -> None:
    table, pipeline = folded(messages(SMALL))
    calls, plans = by_call_id(table), truth()
    refused = {name for name, one in plans.items() if one["planned"] == "rejected_by_proxy"}
    assert (len(plans), len(calls), pipeline.counters.refused_by_proxy) == (41, 39, 2)
    assert calls.keys() == plans.keys() - refused
    assert table.live == 0
    for call_id, call in calls.items():
        plan = plans[call_id]
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
    plans = truth()
    for call_id, call in by_call_id(table).items():
        plan = plans[call_id]
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
    assert pipeline.counters.refused_by_proxy == figures["all"]["outcomes"]["rejected_local"]


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
    sent = messages(NO_DATABASE)
    restarted = next(
        at for at, one in enumerate(sent) if one.message["epoch"] != sent[0].message["epoch"]
    )
    before, _ = folded(sent[:restarted])
    answered = {key for key, call in before.calls.items() if call.state == "answered"}
    assert (len(answered), before.live) == (5, 6)

    table, pipeline = folded(sent)
    assert table.live == 0
    assert pipeline.counters.lost == 6
    assert {call.conclusion for call in table.calls.values()} == {"lost"}
    assert {key for key, call in table.calls.items() if call.state == "ended"} == answered


def test_a_restart_with_a_database_keeps_its_calls_and_each_ends_by_itself() -> None:
    sent = messages(DATABASE)
    epochs = [one.message["epoch"] for one in sent]
    restarted = next(at for at, epoch in enumerate(epochs) if epoch != epochs[0])
    before, _ = folded(sent[:restarted])
    after, _ = folded(sent[: restarted + 1])  # and the new epoch's first list
    kept = {key for key, call in after.calls.items() if call.live}
    assert len(kept) == 5
    assert kept == {key for key, call in before.calls.items() if call.state == "answered"}
    assert not any(after.calls[key].unconfirmed for key in kept)

    table, _ = folded(sent)
    assert table.live == 0
    assert {table.calls[key].conclusion for key in kept} == {"answered"}
    assert [call.conclusion for key, call in table.calls.items() if key not in kept] == ["lost"]


@pytest.mark.parametrize("name", [SMALL, DATABASE])
def test_a_list_alone_restores_what_events_carried(name: str) -> None:
    """A service that starts in the middle sees the calls that one which was there all along saw."""
    sent = messages(name)
    for at, one in enumerate(sent):
        if one.message["phase"] != "sync":
            continue
        listed, _ = folded(sent[at : at + 1])
        whole, _ = folded(sent[: at + 1])
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
    events = [parse(one.subject, orjson.dumps(one.message)) for one in messages(DATABASE)]
    listed = [item for event in events if isinstance(event, Sync) for item in event.calls]
    assert not {one["call-id"] for one in over} & {
        item.call_id for item in listed if item.state == "trying"
    }
    assert sum(len(answer["result"]) for answer in lists) == len(listed) + len(over)
