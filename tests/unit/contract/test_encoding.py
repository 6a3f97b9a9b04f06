"""A message that does not fit is made to fit, and takes no other with it."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestate.bridge.kamailio.identity import call_id
from livestate.contract.encoding import (
    CALLS_A_STEP,
    LEAST_ROOM,
    MAX_DISPLAY_BYTES,
    Unsendable,
    cut_text,
    encode,
    encode_list,
    encoded,
)
from livestate.contract.events import (
    CDR_SUBJECT,
    MAX_CALL_ID_CHARS,
    MAX_MESSAGE_BYTES,
    MAX_PARTS,
    CallEvent,
    Sync,
)
from livestate.contract.messages import Outgoing, message_for, sync
from livestate.contract.parse import parse
from livestate.contract.validation import DISPLAY_FIELDS, MAX_DISPLAY_CHARS
from tests.calls import START
from tests.examples import examples

ENVELOPE = {"v": 1, "node": "kam-1", "epoch": 7, "seq": 9, "ts": START}
ROOMS = (LEAST_ROOM, 64 * 1024, MAX_MESSAGE_BYTES)
# Texts that grow in JSON: control characters six times, quotes twice, other scripts four times.
NASTY = st.characters(exclude_categories=()) | st.sampled_from(
    '\0\x01"\\\ud83d\udcde\ud800\U0001f4de'
)
LONG = st.builds(lambda text, times: text * times, st.text(NASTY, max_size=20), st.integers(0, 900))
TEXTS = st.dictionaries(st.sampled_from(sorted(DISPLAY_FIELDS)), LONG)


def call(number: int, **fields: Any) -> dict[str, Any]:
    return {"dialog": f"{number}.1", "call_id": f"{number}@x", "state": "answered"} | fields


def parts_of(calls: list[dict[str, Any]], room: int) -> tuple[list[Sync], list[str]]:
    """The list as the service reads it, and what was refused."""
    refused: list[str] = []
    (whole,) = sync(ENVELOPE, "a", calls)
    parts = []
    for data in encode_list(whole, room, refused.append):
        if data is not None:
            assert len(data) <= room
            part = parse("call.events.sync", data)
            assert isinstance(part, Sync)
            assert part.refused == ()
            parts.append(part)
    assert [part.part for part in parts] == list(range(1, len(parts) + 1))
    assert {part.parts for part in parts} == {len(parts)}
    return parts, refused


def dialogs(parts: list[Sync]) -> list[str]:
    return [item.dialog for part in parts for item in part.calls]


@given(st.lists(TEXTS, max_size=12), st.sampled_from(ROOMS))
@settings(max_examples=examples(150))
def test_a_list_of_calls_with_any_texts_arrives_whole(
    texts: list[dict[str, str]], room: int
) -> None:
    calls = [call(number, **fields) for number, fields in enumerate(texts)]
    parts, refused = parts_of(calls, room)
    assert dialogs(parts) == [one["dialog"] for one in calls]
    assert refused == []
    assert {part.unlisted for part in parts} == {None}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("text", ["h" * 256, "\0" * 256, "\U0001f4de" * 256, '"' * 9_000])
@pytest.mark.parametrize("calls", [0, 1, 205, 2_000])
def test_long_headers_cost_more_parts_and_no_call(calls: int, text: str, room: int) -> None:
    texts = dict.fromkeys(("from", "to", "from_uri", "to_uri"), text)
    listed = [call(n, **texts, company_id="c" * 64, trunk="t" * 64) for n in range(calls)]
    parts, refused = parts_of(listed, room)
    assert (len(dialogs(parts)), refused) == (calls, [])


def test_parts_are_as_few_as_their_bytes_allow() -> None:
    parts, _ = parts_of([call(n) for n in range(501)], MAX_MESSAGE_BYTES)
    assert [len(part.calls) for part in parts] == [200, 200, 101]
    parts, _ = parts_of([call(n, **{"from": "f" * 256}) for n in range(501)], 16 * 1024)
    assert len(parts) <= 501 * 340 // (16 * 1024) + 2


def test_a_call_too_long_is_sent_without_its_texts() -> None:
    texts = dict.fromkeys(DISPLAY_FIELDS - {"sip_reason", "detail"}, "\0" * 256)
    (part,), refused = parts_of([call(1, **texts, company_id="101", setup_at=START)], LEAST_ROOM)
    (item,) = part.calls
    assert (item.company_id, item.setup_at, item.state) == ("101", START, "answered")
    assert item.caller  # as many of its texts as fit, what people look at last to go
    assert item.to_uri is None
    assert refused == []


BAD_CALLS: dict[str, dict[str, Any]] = {
    "a Call-ID of 513 characters": {"call_id": "x" * 513},
    "an integer of 70 bits": {"attempt": 2**70},
    "no state": {"state": None},
    "bytes": {"trunk": b"x"},
    "a list": {"from": ["x"]},
}


@pytest.mark.parametrize("odd", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_an_invalid_call_alone_is_left_out_and_reported(odd: dict[str, Any]) -> None:
    parts, refused = parts_of([call(1), call(2, **odd), call(3)], MAX_MESSAGE_BYTES)
    assert dialogs(parts) == ["1.1", "3.1"]
    assert [part.unlisted for part in parts] == [1]  # so that it does not end by this list
    (reason,) = refused
    assert "'2.1'" in reason


def test_a_list_of_more_parts_than_there_may_be_is_sent_without_texts_or_not_at_all() -> None:
    room = 1_000
    wide = [call(n, **{"from": "f" * 256, "to": "t" * 256}) for n in range(MAX_PARTS + 500)]
    parts, _ = parts_of(wide, room)
    assert len(parts) < MAX_PARTS // 2
    assert len(dialogs(parts)) == len(wide)
    (whole,) = sync(ENVELOPE, "a", [call(n, call_id=f"{n:0400}") for n in range(2 * MAX_PARTS)])
    with pytest.raises(Unsendable) as refused:  # the half of a list would end the other half
        list(encoded(whole, room))
    assert refused.value.reason == "too_many_parts"
    assert refused.value.size > 400 * 2 * MAX_PARTS


@given(TEXTS, st.text(NASTY, min_size=1, max_size=MAX_CALL_ID_CHARS), st.sampled_from(ROOMS))
@settings(max_examples=examples(300))
@example(dict.fromkeys(DISPLAY_FIELDS, "\0" * 256), "\0" * 512, LEAST_ROOM)
@example(dict.fromkeys(DISPLAY_FIELDS, "\ud800" * 256), "\ud800" * 512, LEAST_ROOM)
def test_an_event_with_any_texts_fits(texts: dict[str, str], texted: str, room: int) -> None:
    name = call_id(texted, "1.1")
    for phase in ("setup", "ended"):
        outgoing = message_for(phase, ENVELOPE | {"dialog": "1.1", "call_id": name} | texts)
        for subject in (outgoing.subject, CDR_SUBJECT if phase == "ended" else outgoing.subject):
            data = encode(Outgoing(subject, outgoing.message), room)
            assert len(data) <= room
            event = parse(outgoing.subject, data)
            assert isinstance(event, CallEvent)
            assert event.call_id == name


@pytest.mark.parametrize(
    "odd",
    [
        {"seq": 2**60}, {"epoch": 2**70}, {"ts": -1}, {"ts": float("nan")}, {"node": "a b"},
        {"node": "x" * 254}, {"call_id": ""}, {"sip_code": 1_000}, {"dialog": object()}, {"v": 2},
    ],
)  # fmt: skip
def test_what_livestate_would_reject_is_not_sent(odd: dict[str, Any]) -> None:
    with pytest.raises(Unsendable) as refused:
        encode(message_for("setup", ENVELOPE | {"dialog": "1.1", "call_id": "x"} | odd), 9_999)
    assert refused.value.reason == "contract"


@given(LONG | st.text(NASTY, max_size=400))
@settings(max_examples=examples(300))
@example("\ud83d\udcde" * 200)
def test_text_for_people_is_cut_between_characters_and_within_its_bytes(text: str) -> None:
    cut = cut_text(text)
    assert len(cut) <= MAX_DISPLAY_CHARS
    assert len(orjson.dumps(cut)) - 2 <= MAX_DISPLAY_BYTES
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert whole.startswith(cut) or len(text) > 2 * MAX_DISPLAY_CHARS
    if len(whole) <= MAX_DISPLAY_CHARS and not set(whole) & {chr(n) for n in range(32)}:
        assert cut == whole  # no script loses anything


def test_a_long_list_gives_others_a_turn_and_takes_time_in_proportion() -> None:
    """A ratio: ten times the calls take about ten times as long."""

    def taken(calls: int) -> float:
        (whole,) = sync(ENVELOPE, "a", [call(n, **{"from": "x" * 40}) for n in range(calls)])
        began = time.process_time()
        steps = list(encode_list(whole, MAX_MESSAGE_BYTES, print))
        assert steps.count(None) == calls // CALLS_A_STEP
        return time.process_time() - began

    small, large = min(taken(2_000) for _ in range(5)), min(taken(20_000) for _ in range(2))
    assert large < 40 * small
