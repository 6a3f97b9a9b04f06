"""Another source: FreeSWITCH's events say the same in the contract. Sampled from its documentation,
never run against one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.active_calls import ActiveCalls
from livestate.bridge.esl import BadEsl, EslDecoder
from livestate.bridge.freeswitch import FreeswitchFeed
from livestate.bridge.kamailio import BadFrame, Outgoing
from livestate.nodes import Nodes
from livestate.runtime.pipeline import Pipeline
from tests.calls import CAPTURES

WIRE = (CAPTURES / "freeswitch-sampled.esl").read_bytes()


def events() -> list[dict[str, Any]]:
    return [orjson.loads(m.body) for m in EslDecoder().feed(WIRE) if m.kind == "text/event-json"]


def told(feed: FreeswitchFeed, heard: list[dict[str, Any]]) -> list[Outgoing]:
    return [one for event in heard for one in feed.feed(event)]


def folded(outgoing: list[Outgoing]) -> tuple[ActiveCalls, Pipeline]:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, Nodes(stale_after=60_000), (), clock=lambda: 1)
    for one in outgoing:
        pipeline.take(one.subject, orjson.dumps(one.message))
    assert pipeline.tally.holds
    assert not pipeline.tally.rejected
    return table, pipeline


def phases(number: int) -> list[str]:
    return [one.message["phase"] for one in told(FreeswitchFeed(), events())
            if str(one.message.get("dialog", "")).startswith(f"{number:08x}")]  # fmt: skip


def test_each_call_ends_as_it_was_sampled_to() -> None:
    table, pipeline = folded(told(FreeswitchFeed(), events()))
    ended = {call.callee: [] for call in table.calls.values()}  # type: dict[str | None, list[Any]]
    for call in table.calls.values():
        ended[call.callee].append((call.conclusion, call.by, call.sip_code))
    assert {callee: sorted(ends) for callee, ends in ended.items()} == {
        "4420700000": [("answered", "callee", 200), ("answered", "caller", 200)],
        "4499700004": [("answered", "callee", 200)],
        "4420700002": [("busy", "callee", 486)],
        "4420700003": [("canceled", "caller", 487), ("no_answer", "timeout_ringing", 480)],
        "4420700004": [("congestion", "callee", 503)],
        "4420700005": [("invalid_number", "callee", 404)],
        "4420700007": [("unavailable", "callee", 480)],
        "4420700008": [("declined", "callee", 603)],
        "4420700009": [("no_reply", "timeout_no_reply", 480)],
    }
    assert table.live == 0
    assert pipeline.tally.irregular == 0
    for call in table.calls.values():
        assert (call.node, call.company_id, call.direction) == ("fs1-mil-example", "101",
                                                               "outbound")  # fmt: skip
        assert call.call_id.endswith("@192.0.2.77")


def test_a_call_is_one_though_it_has_two_legs() -> None:
    assert phases(1) == ["setup", "ringing", "answered", "hold", "resume", "ended"]
    assert phases(2) == ["setup", "ringing", "answered", "transfer", "ended"]


def test_a_second_gateway_is_a_second_attempt() -> None:
    assert phases(3) == ["setup", "reroute", "early_media", "answered", "ended"]
    table, _ = folded(told(FreeswitchFeed(), events()))
    (call,) = (call for call in table.calls.values() if call.callee == "4499700004")
    assert (call.attempt, call.trunk) == (2, "gw-b")


def test_numbers_are_without_gaps_and_a_heartbeat_repeats_the_last() -> None:
    messages = [one.message for one in told(FreeswitchFeed(), events())]
    numbered = [m["seq"] for m in messages if m["phase"] != "heartbeat"]
    assert numbered == list(range(1, len(numbered) + 1))
    assert [m["seq"] for m in messages if m["phase"] == "heartbeat"] == [0, numbered[-1]]


def test_a_freeswitch_that_was_started_anew_is_a_new_epoch() -> None:
    feed = FreeswitchFeed()
    first = told(feed, events()[:3])
    later = [event | {"Core-UUID": "another", "Event-Date-Timestamp": "1764009999000000"}
             for event in events()[1:3]]  # fmt: skip
    again = told(feed, later)
    assert again[0].message["epoch"] > first[0].message["epoch"]
    assert again[0].message["seq"] == 1


def row(channel: str, callstate: str, **more: str) -> dict[str, str]:
    return {"uuid": channel, "direction": "inbound", "callstate": callstate, "cid_num": "1",
            "dest": "2", "accountcode": "101", "call_uuid": ""} | more  # fmt: skip


def test_a_list_is_of_calls_and_not_of_channels() -> None:
    feed = FreeswitchFeed()
    heard = told(feed, events()[:5])
    channel = heard[1].message["dialog"]
    answer = {"row_count": 4, "rows": [
        row(channel, "RINGING"), row("other", "HELD"),
        row("leg", "RINGING", direction="outbound", call_uuid=channel), row("gone", "HANGUP"),
    ]}  # fmt: skip
    with pytest.raises(BadFrame, match="Call-ID"):
        feed.listed(answer, {}, 1764000009000)
    listed = feed.listed(answer, {"other": "o@x"}, 1764000009000)
    table, pipeline = folded([*heard, *listed])
    assert {(c.dialog, c.state) for c in table.calls.values()} == {(channel, "ringing"),
                                                                   ("other", "held")}  # fmt: skip
    assert pipeline.tally.lists == 1
    (empty,) = feed.listed({"row_count": 0}, {}, 1764000009000)
    assert empty.message["calls"] == []


@given(st.sets(st.integers(0, len(WIRE))))
def test_messages_come_out_whole_however_they_were_cut(cuts: set[int]) -> None:
    edges, decoder = [0, *sorted(cuts), len(WIRE)], EslDecoder()
    came = [m for at, edge in enumerate(edges[1:]) for m in decoder.feed(WIRE[edges[at] : edge])]
    assert came == list(EslDecoder().feed(WIRE))


@pytest.mark.parametrize("wire", [b"Content-Length: x\n\n", b"Content-Length: 99999999999\n\n",
                                  b"a" * 70_000])  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(wire: bytes) -> None:
    with pytest.raises(BadEsl):
        list(EslDecoder().feed(wire))


@given(st.data())
def test_a_mangled_event_is_bad_at_worst(data: st.DataObject) -> None:
    feed = FreeswitchFeed()
    for event in events():
        if data.draw(st.integers(0, 9)) == 0:
            field = data.draw(st.sampled_from(sorted(event)))
            event[field] = data.draw(st.none() | st.integers() | st.text(max_size=8) | st.just([]))
        try:
            for one in feed.feed(event):
                assert one.message["seq"] <= feed.seq
        except BadFrame:
            continue
    for bad in ([], None, {}, {"Event-Name": "CHANNEL_CREATE"}):
        with pytest.raises(BadFrame):
            feed.feed(bad)
