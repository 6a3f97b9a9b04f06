"""A password within a URI (RFC 3261 §19.1.1) is neither shown, nor sent, nor stored."""

from __future__ import annotations

from typing import Any, Final

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.parse import parse, parse_cdr
from livestate.contract.sip_address import without_password

SECRET: Final = "s3cr3t"
# The address as it came, and what is left of it.
ADDRESSES: Final = {
    f"sip:alice:{SECRET}@acme.example": "sip:alice@acme.example",
    f"SIP:alice:{SECRET}@acme.example:5060;transport=tcp":
        "SIP:alice@acme.example:5060;transport=tcp",
    f"sips:alice:{SECRET}@[2001:db8::1]:5061": "sips:alice@[2001:db8::1]:5061",
    f"sip:+39:{SECRET};x=1@acme.example": "sip:+39@acme.example",
    f"sip:alice:p:{SECRET}@acme.example": "sip:alice@acme.example",
    f"sip:alice:p@{SECRET}@acme.example": "sip:alice@acme.example",
    f"sip:alice:p?{SECRET}@acme.example?Subject=a:b": "sip:alice@acme.example?Subject=a:b",
    f"sip::{SECRET}@acme.example": "sip:@acme.example",
    f'"Alice: x" <sip:alice:{SECRET}@acme.example>;tag=1':
        '"Alice: x" <sip:alice@acme.example>;tag=1',
    f"alice:{SECRET}@acme.example": "alice@acme.example",
    f"https://alice:{SECRET}@acme.example/": "https://alice@acme.example/",
    f"sip:a\ufffd:{SECRET}@acme.example": "sip:a\ufffd@acme.example",
    f"sip:alice:{SECRET}{'x' * 400}@acme.example": "sip:alice@acme.example",
}  # fmt: skip
UNCHANGED: Final = (
    "sip:alice@acme.example", "sip:acme.example:5060", "sip:alice@acme.example:5060",
    "sip:alice@[2001:db8::1]:5060", "tel:+39;phone-context=a:b", "urn:service:sos",
    "urn:x:y:z@w", "sip:alice%3Aname@acme.example", "alice", "", "sip:", "@", "sip:a;b:c",
    "sip:alice@acme.example;x=a:b", '"a:b@c" <sip:alice@acme.example>',
)  # fmt: skip
FRAME: Final[dict[str, Any]] = {
    "v": 1, "node": "kam-1", "epoch": 7, "seq": 1, "ts": "1795480001.5", "h_entry": 1, "h_id": 2,
    "call_id": "c@x",
}  # fmt: skip


@pytest.mark.parametrize("came", ADDRESSES)
def test_a_password_is_stripped_and_the_rest_stays(came: str) -> None:
    assert without_password(came) == ADDRESSES[came]


@pytest.mark.parametrize("address", UNCHANGED)
def test_an_address_without_a_password_stays_as_it_came(address: str) -> None:
    assert without_password(address) == address


@pytest.mark.parametrize("came", ADDRESSES)
def test_an_event_and_a_list_of_kamailio_hold_no_password(came: str) -> None:
    uris = {"from_uri": came, "to_uri": came, "ruri_user": came}
    dialog = {"h_entry": 1, "h_id": 2, "call-id": "c@x", "state": 4, "from_uri": came,
              "to_uri": came, "variables": [{"ls_dialled": came}]}  # fmt: skip
    feed = KamailioFeed()
    messages = feed.feed(FRAME | uris | {"ev": "setup"})
    feed.feed(FRAME | {"ev": "snapshot_begin"})
    feed.feed({"jsonrpc": "2.0", "result": [dialog], "id": "livestate-list"})
    messages += feed.feed(FRAME | {"ev": "snapshot_end"})
    assert [one.message["phase"] for one in messages] == ["setup", "sync"]
    assert messages[0].message["from_uri"] == ADDRESSES[came]
    for one in messages:
        assert SECRET not in orjson.dumps(one.message).decode()


@pytest.mark.parametrize("came", ADDRESSES)
def test_a_password_that_another_source_sends_goes_no_further(came: str) -> None:
    call = {"call_id": "c@x", "dialog": "1.2", "from_uri": came, "to_uri": came}
    message = {"v": 1, "node": "n", "epoch": 1, "seq": 1, "ts": 1_795_480_001_500}
    setup = parse("call.events.setup", orjson.dumps(message | call | {"phase": "setup"}))
    cdr = parse_cdr(orjson.dumps(message | call | {"phase": "failed"}))
    listed = parse("call.events.sync", orjson.dumps(message | {
        "phase": "sync", "sync_id": "s", "part": 1, "parts": 1,
        "calls": [call | {"state": "answered"}]}))  # fmt: skip
    for event in (setup, cdr, listed):
        assert SECRET not in repr(event)
