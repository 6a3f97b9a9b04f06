"""The contract's limits by their literal values, and what is repaired instead of rejected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from livestate.contract.errors import Rejected
from livestate.contract.events import CHALLENGES, CallEvent, Copies, Sync
from livestate.contract.parse import listed_problem, parse, parse_cdr
from livestate.contract.sip_address import bare, split, userinfo

SETUP = {"v": 1, "phase": "setup", "node": "n1", "epoch": 7, "seq": 9, "ts": 5, "call_id": "x",
         "dialog": "1.1"}  # fmt: skip
ITEM = {"call_id": "x", "dialog": "1.1", "state": "ringing"}


def setup(**facts: Any) -> CallEvent:
    event = parse("call.events.setup", json.dumps(SETUP | facts).encode())
    assert isinstance(event, CallEvent)
    return event


def listed(*items: Any, phase: str = "sync", **facts: Any) -> Sync | Copies:
    message = SETUP | {"phase": phase, "sync_id": "s", "part": 1, "parts": 1, "calls": items}
    event = parse(f"call.events.{phase}", json.dumps(message | facts).encode())
    assert isinstance(event, Sync | Copies)
    return event


def why(subject: str, data: bytes) -> str:
    with pytest.raises(Rejected) as rejected:
        parse_cdr(data) if subject == "cdr.raw" else parse(subject, data)
    return str(rejected.value)


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["call.events.setup", "cdr.raw"])
def test_a_message_has_a_quarter_of_a_megabyte_at_most(subject: str) -> None:
    message = SETUP | ({"phase": "ended"} if subject == "cdr.raw" else {})
    data = json.dumps(message).encode().ljust(262_144)
    assert (parse_cdr(data) if subject == "cdr.raw" else parse(subject, data)).seq == 9
    assert why(subject, data + b" ") == "too_large: 262145 bytes"


def test_a_list_has_two_hundred_calls_a_part_and_ten_thousand_parts_at_most() -> None:
    assert len(listed(*[ITEM] * 200).calls) == 200
    assert listed(part=10_000, parts=10_000).part == 10_000
    for facts in ({"part": 10_000, "parts": 10_001}, {"part": 0}, {"part": 2, "parts": 1}):
        with pytest.raises(Rejected, match="out_of_range"):
            listed(**facts)
    bad = [ITEM | {"state": "nope"}] * 201
    with pytest.raises(Rejected):
        listed(*bad)  # the part as a whole, not 201 items one by one


def test_names_have_64_characters_a_call_id_512_and_numbers_53_bits() -> None:
    longest = setup(call_id="x" * 512, dialog="d" * 64, trunk="t" * 64, company_id="c" * 64,
                    seq=2**53 - 1, ts=0, epoch=0, sip_code=100)  # fmt: skip
    assert (longest.seq, longest.ts, longest.sip_code) == (2**53 - 1, 0, 100)
    for facts in ({"call_id": "x" * 513}, {"dialog": "d" * 65}, {"trunk": "t" * 65},
                  {"company_id": "c" * 65}, {"company_id": ""}, {"seq": 2**53}, {"epoch": -1},
                  {"sip_code": 99}, {"sip_code": 700}):  # fmt: skip
        with pytest.raises(Rejected):
            setup(**facts)
    assert setup(sip_code=699).sip_code == 699


def test_an_invite_is_asked_for_again_by_four_responses() -> None:
    assert set(CHALLENGES) == {401, 407, 422, 494}


# -- repairs -------------------------------------------------------------------------------------


def test_texts_for_people_are_cut_and_names_are_not() -> None:
    long = "é" * 257
    event = setup(**{"from": long, "sip_reason": long, "detail": "d" * 256, "trunk": "gw"})
    assert (event.caller, event.sip_reason) == ("é" * 256, "é" * 256)
    assert (event.detail, event.trunk) == ("d" * 256, "gw")
    mixed = setup(**{"from": "\ud800", "call_id": "y" * 300})
    assert (mixed.caller, mixed.call_id) == ("\ufffd", "y" * 300), "a name is never cut"
    with pytest.raises(Rejected, match=r"too_long: setup\.trunk"):
        setup(**{"from": long, "trunk": "t" * 65})


def test_a_foreign_version_differs_from_a_missing_one() -> None:
    without = {name: {k: v for k, v in SETUP.items() if k != name} for name in ("v", "ts")}
    for message, told in (
        (SETUP | {"v": 2}, "unsupported_version"), (without["v"], "missing_field: setup.v"),
        (without["ts"], "missing_field: setup.ts"), (SETUP | {"ts": "v"}, "wrong_type: setup.ts"),
    ):  # fmt: skip
        assert why("call.events.setup", json.dumps(message).encode()).startswith(told)


@pytest.mark.parametrize("phase", ["sync", "copies"])
def test_a_bad_item_of_a_list_is_refused_alone_with_what_can_be_read_of_it(phase: str) -> None:
    good = ITEM | ({"owner": "n2"} if phase == "copies" else {})
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    bad = [
        (good | {"state": "nope"}, "out_of_range", "1.1", "x"),
        (good | {"dialog": "d" * 65}, "too_long", "d" * 65, "x"),
        (good | {"call_id": 7}, "wrong_type", "1.1", None),
        ({"dialog": "2.2"}, "missing_field", "2.2", None),
        (7, "wrong_type", None, None),
    ]
    for item, reason, dialog, call_id in bad:
        part = listed(good, item, good | {"from": "z" * 300}, phase=phase)
        assert [call.caller for call in part.calls] == [None, "z" * 256]
        (refused,) = part.refused
        assert (refused.reason, refused.dialog, refused.call_id) == (reason, dialog, call_id)
    part = listed(good, good | {"more": deep}, phase=phase)
    assert (len(part.calls), part.refused) == (2, ()), "an unknown field is ignored, however deep"
    assert listed_problem(json.dumps(good).encode(), phase) is None


def test_a_number_of_hundreds_of_digits_costs_one_item_of_a_list() -> None:
    for digits in (300, 400, 401, 5_000):
        data = json.dumps(SETUP | {"phase": "sync", "sync_id": "s", "part": 1, "parts": 1,
                                   "calls": [ITEM, ITEM | {"attempt": 7}]})  # fmt: skip
        part = parse("call.events.sync", data.replace("7}]", "9" * digits + "}]").encode())
        assert isinstance(part, Sync)
        assert (len(part.calls), len(part.refused)) == (1, 1), digits


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "uri"), [
    ("sip:a@b", "sip:a@b"), (" sip:a@b ", "sip:a@b"), ("<sip:a@b>;tag=1", "sip:a@b"),
    ('"A <x>" < sips:a@b >', "sips:a@b"), ("A B <tel:+39>", "tel:+39"), ("plain", "plain"),
    ('"a\\"b" <sip:c@d>', "sip:c@d"), ("", ""),
])  # fmt: skip
def test_the_uri_of_an_address(address: str, uri: str) -> None:
    assert bare(address) == uri


@pytest.mark.parametrize(("address", "parts", "user"), [
    ("SIP:a@b", ("sip", "a@b"), "a"), ("tel:+39", ("tel", "+39"), None), ("a@b", ("", "a@b"), "a"),
    ("sip:alice@home@host;x=y@z", ("sip", "alice@home@host;x=y@z"), "alice@home"),
    ("<sip:a@b?h=c@d>", ("sip", "a@b?h=c@d"), "a"), ("sip:@b", ("sip", "@b"), ""),
])  # fmt: skip
def test_an_address_is_split(address: str, parts: tuple[str, str], user: str | None) -> None:
    assert split(address) == parts
    assert userinfo(parts[1]) == user
