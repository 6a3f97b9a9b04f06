"""A node's list of dialogs: one bad item is refused alone, and a list that is not whole ends no
call. What is wrong is seen: on the node, in the figures, in the log."""

from __future__ import annotations

import json
import logging
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.events import REJECT_REASONS, Sync
from livestate.contract.parse import parse
from livestate.state.nodes.dialog_list import ASK_AGAIN_MS, LONGEST_PAUSE_MS, PART_LATE_MS
from tests.calls import START
from tests.unit.ingest.feeding import Fed, Raw, raw, sync

FAR: dict[str, Any] = {
    "a Call-ID of 600 characters": {"call_id": "x" * 600},
    "a Call-ID that is empty": {"call_id": ""},
    "a dialog of 65 characters": {"dialog": "9" * 65},
    "a state that is none": {"state": "hovering"},
    "no state": {"state": ...},
    "a time before all": {"setup_at": -1},
    "an integer over 64 bits": {"attempt": 2**70},
    "a company of 65 characters": {"company_id": "c" * 65},
    "a fraction": {"attempt": 1.5},
    "a nested value": {"trunk": {"a": [1]}},
    "a value nested 300 deep": {"trunk": json.loads("[" * 300 + "]" * 300)},
}
RAW_ITEMS = [
    b"null", b"7", b'"x"', b"[]", b"{}", b'{"dialog":7,"call_id":null}', b"1e999", b"NaN",
    b'{"a":1e999}', b"[" * 300 + b"]" * 300, b"1" * 5_000, b'{"\\ud800":"\\ud800"}',
]  # fmt: skip


def up(*dialogs: str) -> Fed:
    """A node with these calls up, seen by their events."""
    fed = Fed()
    for seq, dialog in enumerate(dialogs, 1):
        fed.take(raw("answered", seq, dialog=dialog))
    return fed


def item(name: str, /, **changes: Any) -> dict[str, Any]:
    fields = {"call_id": "c1", "dialog": name, "state": "answered"} | changes
    return {name: value for name, value in fields.items() if value is not ...}


def listed(seq: int, *items: dict[str, Any], **envelope: Any) -> Raw:
    """``orjson`` writes no integer of more than 64 bits: another bridge may."""
    subject, data = sync(seq, **envelope)
    return subject, json.dumps(orjson.loads(data) | {"calls": list(items)}).encode()


def states(fed: Fed) -> dict[str, str]:
    return {call.dialog: call.state for call in fed.table.calls.values()}


@pytest.mark.parametrize("changes", FAR.values(), ids=FAR.keys())
def test_one_bad_item_is_refused_alone_and_ends_no_call(changes: dict[str, Any]) -> None:
    fed = up("1.1", "2.2", "3.3")
    fed.take(listed(3, item("1.1"), item("2.2", **changes)))
    wanted = {"1.1": "answered", "2.2": "answered", "3.3": "ended"}
    if "dialog" in changes:
        wanted["3.3"] = "answered"  # they all have the Call-ID that is left of the item's name
    assert states(fed) == wanted
    assert fed.counters.lists == 1
    assert fed.counters.listed_rejected.total() == 1
    assert fed.counters.listed_rejected.keys() <= set(REJECT_REASONS)
    assert fed.counters.rejected.total() == 0
    assert fed.nodes.by_name["n1"].list_trouble is None


@pytest.mark.parametrize("changes", FAR.values(), ids=FAR.keys())
def test_a_bad_item_begins_no_call(changes: dict[str, Any]) -> None:
    fed = Fed().take(listed(3, item("1.1"), item("2.2", **changes)))
    assert states(fed) == {"1.1": "answered"}


@pytest.mark.parametrize("bad", RAW_ITEMS)
def test_while_an_item_names_no_call_what_the_list_lacks_is_marked_not_ended(bad: bytes) -> None:
    fed = up("1.1", "2.2")
    subject, data = listed(2, item("1.1"))
    fed.take((subject, data.replace(b'"calls": [', b'"calls": [' + bad + b",")))
    calls = {call.dialog: call for call in fed.table.calls.values()}
    assert {name: (c.state, bool(c.unconfirmed)) for name, c in calls.items()} == {
        "1.1": ("answered", False), "2.2": ("answered", True)
    }  # fmt: skip
    assert fed.nodes.by_name["n1"].unlisted == 1
    # As every call in doubt it expires a stated time later, unless an event or a list confirms it.
    assert not list(fed.nodes.due_expiry(START + 119_999, START - 60_000, 120_000))
    assert list(fed.nodes.due_expiry(START + 120_000, START - 60_000, 120_000))
    fed.take(sync(2, "1.1", "2.2", sync_id="next"))
    assert not any(call.unconfirmed for call in fed.table.calls.values())
    assert not list(fed.nodes.due_expiry(START + 120_000, START - 60_000, 120_000))


@pytest.mark.parametrize("changes", [{"call_id": 7}, {"call_id": ...}, {"dialog": None}])
def test_half_a_name_of_a_call_is_enough_not_to_end_it(changes: dict[str, Any]) -> None:
    fed = up("1.1", "2.2").take(raw("answered", 3, dialog="3.3", call_id="c3"))
    fed.take(listed(3, item("1.1"), item("2.2", **changes)))
    assert states(fed) == {"1.1": "answered", "2.2": "answered", "3.3": "ended"}


def test_a_bad_item_vouches_for_the_call_that_it_names() -> None:
    """Or the call would be given up later: nothing else says that it is up."""
    fed = up("1.1")
    fed.pipeline.mark_unconfirmed("n1", None)
    assert [call.unconfirmed for call in fed.table.calls.values()] == [True]
    fed.take(listed(1, item("1.1", sip_code=9_999)))
    assert [call.unconfirmed for call in fed.table.calls.values()] == [False]


def test_a_list_that_says_it_could_not_name_all_dialogs_ends_none() -> None:
    fed = up("1.1", "2.2").take(sync(2, "1.1", unlisted=3))
    assert states(fed) == {"1.1": "answered", "2.2": "answered"}
    assert fed.nodes.by_name["n1"].unlisted == 3


def test_the_log_names_what_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        up("1.1").take(listed(1, item("2.2", call_id="x" * 600), item("1.1")))
    assert "dialog='2.2'" in caplog.text
    assert "at most 512" in caplog.text


# -- a list that does not come whole -----------------------------------------------------------

WHOLE_REFUSED = {
    "no JSON": b'{"v":1,"node":"n1",',
    "too large": orjson.dumps(
        orjson.loads(sync(2, "1.1")[1]) | {"x": "y" * 300_000}
    ),
    "201 calls": orjson.dumps(
        orjson.loads(sync(2)[1]) | {"calls": [item(f"{n}.1") for n in range(201)]}
    ),
    "part 3 of 2": sync(2, "1.1", part=3, parts=2)[1],
    "part 10,001": sync(2, "1.1", part=10_001, parts=10_001)[1],
    "calls that are none": sync(2, calls="none")[1],
    "a number beyond all": sync(2, "1.1")[1].replace(b'"seq":2', b'"seq":1e999'),
}  # fmt: skip


@pytest.mark.parametrize("data", WHOLE_REFUSED.values(), ids=WHOLE_REFUSED.keys())
def test_refused_lists_are_reported_and_end_no_call(data: bytes) -> None:
    fed = up("1.1", "2.2").take(sync(2, "1.1", "2.2", sync_id="good"))
    for second in range(0, 8, 2):
        fed.clock.now = START + second * 1_000
        fed.take(("call.events.sync", data), raw("heartbeat", 2))
        late = [node.name for node in fed.nodes.without_list(fed.clock.now)]
        assert late == (["n1"] if second >= 6 else [])
    assert states(fed) == {"1.1": "answered", "2.2": "answered"}
    trouble = fed.nodes.by_name["n1"].list_trouble
    assert trouble is not None
    assert (trouble.since, trouble.times) == (START, 4)
    assert trouble.reason
    assert fed.counters.lists_failed == fed.counters.rejected.total() == 4
    fed.take(sync(2, "1.1", sync_id="better"))
    assert fed.nodes.without_list(fed.clock.now) == []
    assert states(fed) == {"1.1": "answered", "2.2": "ended"}


def test_a_part_that_never_comes_ends_no_call_and_the_list_is_asked_for_again() -> None:
    fed = up("1.1", "2.2").take(sync(2, "1.1", "2.2", sync_id="good"))
    list(fed.nodes.to_ask(START))
    fed.clock.now = START + 10_000
    fed.take(sync(2, "1.1", part=1, parts=2, sync_id="half"))
    assert list(fed.nodes.to_ask(fed.clock.now + PART_LATE_MS - 1)) == []
    assert list(fed.nodes.to_ask(fed.clock.now + PART_LATE_MS)) == ["n1"]
    trouble = fed.nodes.by_name["n1"].list_trouble
    assert trouble is not None
    assert trouble.reason == "part 2 of 2 did not come"
    assert states(fed) == {"1.1": "answered", "2.2": "answered"}


@pytest.mark.parametrize("other", [{"seq": 3}, {"parts": 3}, {"sync_id": "b"}])
def test_parts_that_differ_are_of_two_lists_that_are_never_mixed(other: dict[str, Any]) -> None:
    fed = up("1.1", "2.2", "3.3")
    first = {"sync_id": "a", "part": 1, "parts": 2}
    second = {"seq": 2, "sync_id": "a", "part": 2, "parts": 2} | other
    fed.take(sync(2, "1.1", **first), sync(second.pop("seq"), "2.2", **second))
    assert fed.counters.lists == 0
    assert states(fed) == {"1.1": "answered", "2.2": "answered", "3.3": "answered"}


def test_a_part_that_comes_twice_changes_nothing() -> None:
    fed = up("1.1", "2.2", "3.3")
    parts = [sync(3, "1.1", part=1, parts=2), sync(3, "2.2", part=2, parts=2)]
    fed.take(parts[0], parts[0], parts[1], parts[1], parts[0])
    assert states(fed) == {"1.1": "answered", "2.2": "answered", "3.3": "ended"}
    node = fed.nodes.by_name["n1"]
    assert (node.list_trouble, node.listing, fed.counters.lists) == (None, None, 1)


def test_a_long_list_is_of_its_node_however_far_events_go_on_meanwhile() -> None:
    """50,000 dialogs take a bridge 5 s; the list is true at the number at which it began."""
    fed = up("1.1", "2.2", "3.3")
    seq, parts = 3, 10
    for part in range(1, parts + 1):
        fed.take(sync(3, "1.1" if part < 5 else "2.2", part=part, parts=parts, sync_id="long"))
        for _ in range(10):
            seq += 1
            fed.take(raw("hold" if seq % 2 else "resume", seq, dialog="1.1"))
        fed.settle(1_000).take(raw("heartbeat", seq, ts=fed.clock.now))
    node = fed.nodes.by_name["n1"]
    assert (node.rivals, node.list_trouble, node.wants_list) == ([], None, False)
    assert states(fed) == {"1.1": "held", "2.2": "answered", "3.3": "ended"}


def test_a_list_that_fails_again_and_again_is_asked_for_ever_less_often() -> None:
    fed = up("1.1")
    asked = []
    for at in range(START, START + 300_000, 500):
        fed.clock.now = at
        for _ in fed.nodes.to_ask(at):
            asked.append(at)
            fed.take(("call.events.sync", WHOLE_REFUSED["201 calls"]))
    pauses = [b - a for a, b in pairwise(asked)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (ASK_AGAIN_MS, LONGEST_PAUSE_MS)


def test_a_restart_of_the_node_hides_no_failing_lists() -> None:
    fed = up("1.1").take(("call.events.sync", WHOLE_REFUSED["201 calls"]))
    fed.clock.now += 7_000
    fed.take(raw("heartbeat", 0, epoch=2))
    assert [node.name for node in fed.nodes.without_list(fed.clock.now)] == ["n1"]


def test_a_list_over_the_most_calls_says_how_many_were_refused() -> None:
    fed = Fed().take(raw("answered", 1, node="n2"))
    fed.table.most = 3
    fed.take(sync(0, "1.1", "2.2", "3.3"))
    assert fed.table.live == 3
    assert fed.counters.listed_rejected == {"too_many_calls": 1}


ODD = st.sampled_from([json.dumps(item("2.2") | change).encode() for change in (
    {"call_id": "x" * 600}, {"state": "?"}, {"attempt": 2**70}, {"company_id": ""}, {"held": 1},
)] + RAW_ITEMS)  # fmt: skip


@given(st.lists(ODD, max_size=4), st.permutations(["1.1", "2.2", "3.3"]), st.integers(1, 3))
def test_whatever_else_a_list_holds_the_calls_that_it_names_go_on(
    odd: list[bytes], names: list[str], most: int
) -> None:
    fed = up("1.1", "2.2", "3.3")
    named = names[:most]
    items = odd + [json.dumps(item(name)).encode() for name in named]
    subject, data = sync(3)
    fed.take((subject, data.replace(b'"calls":[]', b'"calls":[' + b",".join(items) + b"]")))
    assert {name: states(fed)[name] for name in named} == dict.fromkeys(named, "answered")
    assert fed.counters.listed_rejected.total() == len(odd)
    assert fed.counters.lists == 1


def test_what_was_refused_is_no_part_of_what_is_said_again() -> None:
    event = parse(*listed(1, item("1.1"), item("2.2", state="?")))
    assert isinstance(event, Sync)
    assert [refused.dialog for refused in event.refused] == ["2.2"]
    again = parse("call.events.sync", event.model_dump_json(by_alias=True).encode())
    assert isinstance(again, Sync)
    assert (again.calls, again.refused) == (event.calls, ())
