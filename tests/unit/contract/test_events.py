"""The contract at the door: what is an event, what is not, and why."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import orjson
import pytest

from livestate.contract.errors import Rejected, UnknownPhase
from livestate.contract.events import PHASES, REJECT_REASONS, CallEvent, Sync, contract_schema
from livestate.contract.parse import parse
from livestate.contract.validation import MAX_DISPLAY_CHARS
from tests.calls import START, capture_names, messages

GOOD: dict[str, Any] = {
    "v": 1, "phase": "setup", "node": "kam-1", "epoch": 7, "seq": 9, "ts": START, "call_id": "x",
}  # fmt: skip
SYNC = {"v": 1, "phase": "sync", "node": "kam-1", "epoch": 7, "seq": 9, "ts": START,
        "sync_id": "1", "part": 1, "parts": 1, "calls": []}  # fmt: skip
SCHEMA = jsonschema.Draft202012Validator(contract_schema())


def raw(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


def reason(subject: str, data: bytes) -> str:
    with pytest.raises(Rejected) as rejected:
        parse(subject, data)
    return rejected.value.reason


@pytest.mark.parametrize("phase", sorted(PHASES))
def test_every_phase_has_a_smallest_event(phase: str) -> None:
    smallest = {
        "heartbeat": {"call_id": ...}, "sync": SYNC, "copies": SYNC | {"calls": []},
        "lost": {"dialog": "1.1"},
    }.get(phase, {})  # fmt: skip
    event = parse(f"call.events.{phase}", raw(**{**smallest, "phase": phase}))
    assert event.phase == phase


@pytest.mark.parametrize("node", ["a", "kam-mil-1", "sbc1.example.com", "10.0.0.7", "A_b.c-d"])
def test_a_host_name_is_a_node_name(node: str) -> None:
    assert parse("call.events.setup", raw(node=node)).node == node


def test_unknown_fields_are_ignored() -> None:
    event = parse("call.events.setup", raw(colour="green", nested={"a": [1, {"b": None}]}))
    assert isinstance(event, CallEvent)


@pytest.mark.parametrize(
    ("subject", "data", "why"),
    [
        ("call.events.nope", raw(), "unknown_phase"),
        ("call.events", raw(), "unknown_phase"),
        ("call.events.setup.extra", raw(), "unknown_phase"),
        ("call.events.*", raw(), "unknown_phase"),
        ("call.events.Setup", raw(), "unknown_phase"),
        ("call.events.ended", raw(), "phase_mismatch"),
        ("call.events.setup", raw(phase="nope"), "phase_mismatch"),
        ("call.events.setup", b" " * 262_145, "too_large"),
        ("call.events.setup", b"", "not_json"),
        ("call.events.setup", b"{", "not_json"),
        ("call.events.setup", b"\xff\xfe{}", "not_json"),
        ("call.events.setup", b"[" * 100_000, "not_json"),
        ("call.events.setup", raw()[:-1] + b',"call_id":"y"}', "duplicate_keys"),
        ("call.events.setup", raw()[:-1] + b',"z":1,"z":2}', "duplicate_keys"),
        ("call.events.setup", raw(v=2), "unsupported_version"),
        ("call.events.setup", raw(v="1"), "unsupported_version"),
        ("call.events.setup", raw(v=...), "missing_field"),
        ("call.events.setup", raw(call_id=...), "missing_field"),
        ("call.events.setup", raw(phase=...), "missing_field"),
        ("call.events.setup", b"{}", "missing_field"),
        ("call.events.setup", raw(call_id="x" * 513), "too_long"),
        (
            "call.events.sync",
            json.dumps(
                SYNC | {"calls": [{"call_id": "x", "dialog": "y", "state": "held"}] * 201}
            ).encode(),
            "too_long",
        ),
        ("call.events.setup", raw(call_id=""), "out_of_range"),
        ("call.events.setup", raw(seq=-1), "out_of_range"),
        ("call.events.setup", raw(seq=2**53), "out_of_range"),
        ("call.events.setup", raw(seq=2**200), "out_of_range"),
        ("call.events.setup", raw(ts=-1), "out_of_range"),
        ("call.events.setup", raw(ts=2**53), "out_of_range"),
        ("call.events.setup", raw(node="a..b"), "out_of_range"),
        ("call.events.setup", raw(node=".a"), "out_of_range"),
        ("call.events.setup", raw(node="a."), "out_of_range"),
        ("call.events.setup", raw(node="a.*"), "out_of_range"),
        ("call.events.setup", raw(node=">"), "out_of_range"),
        ("call.events.setup", raw(node=""), "out_of_range"),
        ("call.events.setup", raw(node="a\n"), "out_of_range"),
        ("call.events.setup", raw(node="a" * 254), "too_long"),
        ("call.events.setup", raw(node="a b"), "out_of_range"),
        ("call.events.setup", raw(node="*"), "out_of_range"),
        ("call.events.setup", raw(sip_code=1000), "out_of_range"),
        ("call.events.setup", raw(direction="sideways"), "out_of_range"),
        ("call.events.setup", raw(seq="9"), "wrong_type"),
        ("call.events.setup", raw(seq=9.0), "wrong_type"),
        ("call.events.setup", raw(seq=True), "wrong_type"),
        ("call.events.setup", raw(call_id=None), "wrong_type"),
        ("call.events.setup", raw(call_id=["x"]), "wrong_type"),
        ("call.events.setup", raw(**{"from": {"a": 1}}), "wrong_type"),
        ("call.events.setup", b"null", "wrong_type"),
        ("call.events.setup", b"7", "wrong_type"),
        ("call.events.setup", b"[]", "wrong_type"),
        ("call.events.setup", b'"setup"', "wrong_type"),
    ],
)
def test_a_reject_says_why(subject: str, data: bytes, why: str) -> None:
    assert reason(subject, data) == why


@pytest.mark.parametrize(
    "again",
    [
        b', "call_id": "y"}',
        b',"call\\u005fid":"y"}',
        b',"from":"\\":","call_id":"y"}',
        pytest.param(
            b',"call_id" :"y"}',
        ),
    ],
)
def test_a_key_twice_is_found_however_it_is_spaced(again: bytes) -> None:
    assert reason("call.events.setup", raw()[:-1] + again) == "duplicate_keys"


@pytest.mark.parametrize("version", [True, 1.0])
def test_a_version_that_only_equals_ours_is_not_ours(version: object) -> None:
    assert reason("call.events.setup", raw(v=version)) == "unsupported_version"


def test_a_null_is_as_good_as_nothing() -> None:
    event = parse("call.events.setup", raw(dialog=None, trunk=None, **{"from": None}))
    assert isinstance(event, CallEvent)
    assert (event.dialog, event.trunk, event.caller) == (None, None, None)


@pytest.mark.parametrize("field", ["from", "to", "from_uri", "to_uri"])
def test_a_name_in_a_list_cannot_hide_the_list(field: str) -> None:
    calls = [{"call_id": "x", "dialog": "1.1", "state": "ringing", field: "\ud800" * 999}]
    event = parse("call.events.sync", json.dumps(SYNC | {"calls": calls}).encode())
    assert isinstance(event, Sync)
    assert len(event.calls) == 1


@pytest.mark.parametrize("phase", ["sync", "copies"])
@pytest.mark.parametrize("calls", [None, {}, "x", [{"call_id": "c", "dialog": "1.1"}] * 201])
def test_a_list_without_a_sound_list_is_rejected(phase: str, calls: object) -> None:
    """One by one its calls might be good: the part as a whole is not."""
    data = raw(phase=phase, sync_id="s", part=1, parts=1, calls=calls)
    assert reason(f"call.events.{phase}", data) in REJECT_REASONS


def test_every_reason_can_happen() -> None:
    table = test_a_reject_says_why.pytestmark[0].args[1]  # type: ignore[attr-defined]
    # tests/unit/state/test_active_calls.py, unit/state/test_nodes.py,
    # unit/state/test_forged.py
    of_the_table = {"too_many_calls", "too_many_companies", "too_many_nodes", "unproven",
                    "forged_node"}  # fmt: skip
    assert {why for _, _, why in table} == set(REJECT_REASONS) - of_the_table


def test_an_unknown_phase_still_counts_its_number() -> None:
    with pytest.raises(UnknownPhase) as unknown:
        parse("call.events.recording", raw(phase="recording"))
    assert (unknown.value.node, unknown.value.epoch, unknown.value.seq) == ("kam-1", 7, 9)


@pytest.mark.parametrize("field", ["from", "to", "from_uri", "to_uri", "sip_reason", "detail"])
@pytest.mark.parametrize(
    "text", ["x" * 10_000, "\ud800", "a\udfffb", "\x00\x1b[2J", "‮gnp.exe", "\U0001f4de" * 300]
)
def test_a_callers_name_cannot_hide_his_call(field: str, text: str) -> None:
    event = parse("call.events.setup", raw(**{field: text}))
    assert isinstance(event, CallEvent)
    name = {"from": "caller", "to": "callee"}.get(field, field)
    kept = getattr(event, name)
    assert len(kept) <= MAX_DISPLAY_CHARS
    orjson.dumps(kept)  # what we send on is valid UTF-8
    assert event.call_id == "x"


def test_the_schema_knows_everything_a_real_kamailio_said() -> None:
    for name in capture_names():
        for outgoing in messages(name):
            SCHEMA.validate(outgoing.message)
            parse(outgoing.subject, orjson.dumps(outgoing.message))


def test_the_schema_refuses_what_we_refuse() -> None:
    for wrong in ({"seq": "9"}, {"phase": "nope"}, {"node": "a..b"}, {"v": 2}, {"call_id": ""}):
        assert not SCHEMA.is_valid(GOOD | wrong)
