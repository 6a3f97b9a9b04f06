"""Calls as JSON for clients: parts of a snapshot, merge patches, and records encoded once."""

from __future__ import annotations

from typing import Any

import orjson

from livestate.fanout import patch
from livestate.state.call import Call, begin
from livestate.state.reconcile import unconfirm
from tests.calls import event


def call(number: int, phase: str = "answered", **facts: Any) -> Call:
    return begin(f"k{number}", event(phase, number, dialog=f"{number}.1", **facts))


def parts(calls: list[Call], part_bytes: int) -> list[dict[str, Any]]:
    rows = [(one.key, one, version) for version, one in enumerate(calls, 70)]
    return [orjson.loads(part) for part in patch.snapshot(rows, patch.Records(), 99, part_bytes)]


def test_a_snapshot_is_cut_into_parts_of_about_a_size() -> None:
    calls = [call(number) for number in range(1, 8)]
    one = len(b'"k1":' + orjson.dumps(patch.record(calls[0]) | {"v": 70})) + 1  # and a comma
    for room, sizes in ((-1_000, [1] * 7), (one, [1] * 7), (2 * one - 1, [1] * 7),
                        (2 * one, [2, 2, 2, 1]), (3 * one, [3, 3, 1]), (7 * one, [7]),
                        (10**6, [7])):  # fmt: skip
        size = room + patch.ENVELOPE_BYTES
        made = parts(calls, size)
        assert [len(part["calls"]) for part in made] == sizes, size
        assert [part["part"] for part in made] == list(range(1, len(sizes) + 1))
        assert {(part["parts"], part["as_of"]) for part in made} == {(len(sizes), 99)}
        shown = {key: record for part in made for key, record in part["calls"].items()}
        assert shown == {one.key: patch.record(one) | {"v": version}
                         for version, one in enumerate(calls, 70)}  # fmt: skip
    assert parts([], 10) == [{"part": 1, "parts": 1, "as_of": 99, "calls": {}}]


def test_a_record_has_known_attributes_only_and_whether_it_is_confirmed() -> None:
    ringing = call(1, "ringing", company_id="101")
    assert patch.record(ringing) == {
        "state": "ringing", "node": "n1", "call_id": "c1", "company_id": "101"
    }  # fmt: skip
    assert patch.record(unconfirm(ringing))["unconfirmed"] is True


def test_a_patch_on_what_a_client_has_gives_what_there_is() -> None:
    before = call(1, "ringing", company_id="101", trunk="a", detail="x")
    after = call(1, "answered", company_id="101", trunk="b", answered_at=5)
    assert patch.changed(before, after) == {"state": "answered", "trunk": "b", "answered_at": 5}
    assert patch.changed(after, after) == {}
    assert patch.changed(after, unconfirm(after)) == {"unconfirmed": True}


def diff(rows: list[patch.Row], before: dict[str, Call | None],
         over: dict[str, Call] | None = None) -> dict[str, Any]:  # fmt: skip
    (data,) = patch.diff(rows, before, (over or {}).get, patch.Records(), 99)
    decoded: dict[str, Any] = orjson.loads(data)
    assert decoded.pop("as_of") == 99
    return decoded


def test_a_diff_has_changed_fields_of_live_calls_whole_records_and_removals() -> None:
    ringing, answered, ended = call(1, "ringing"), call(1), call(1, "ended")
    whole = patch.record(answered) | {"v": 4}
    rows: list[patch.Row] = [("k1", answered, 4)]
    assert diff(rows, {"k1": ringing}) == {"calls": {"k1": {"state": "answered", "v": 4}}}
    for before in ({}, {"k1": None}, {"k1": ended}):
        assert diff(rows, before) == {"calls": {"k1": whole}}
    gone: list[patch.Row] = [("k1", None, 5)]
    assert diff(gone, {"k1": answered}) == {"calls": {"k1": None}}
    failed = call(1, "failed", outcome="busy", sip_code=486, ended_at=8)
    assert diff([*gone, ("k2", call(2), 6)], {}, {"k1": failed}) == {
        "calls": {"k1": None, "k2": patch.record(call(2)) | {"v": 6}},
        "ended": {"k1": {"outcome": "busy", "sip_code": 486, "ended_at": 8}},
    }
    assert "sip_code" not in patch.ending(call(1, "failed", outcome="busy", ended_at=8))


def test_a_record_is_encoded_once_while_it_is_used() -> None:
    records, one, other = patch.Records(), call(1), call(2)
    assert orjson.loads(records.get(one) + b"}") == patch.record(one)
    records.get(one)
    records.get(other)
    assert (records.encodes, len(records)) == (2, 2)
    records.get(call(1))
    assert (records.encodes, len(records)) == (3, 2), "another object is another state"
    records.evict_unused()
    records.get(other)
    assert (records.encodes, len(records)) == (3, 2)
    records.evict_unused()
    assert len(records) == 1
    records.get(other)
    assert records.encodes == 3
    records.forget("k2")
    records.forget("k2")
    assert len(records) == 0
    records.get(other)
    records.evict_unused()
    records.forget("k2")
    records.get(other)
    assert records.encodes == 5
