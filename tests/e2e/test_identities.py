"""Caller and callee, as a real Kamailio reports them in events and in lists."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from tests.e2e.agents import Dialog, Stage
from tests.e2e.lab import Kamailio
from tests.e2e.test_holds import folded
from tests.unit.bridge.test_identities import VECTORS

pytestmark = pytest.mark.timeout(90)

# Bytes that are no UTF-8, which JSON cannot carry.
RAW: Final = [
    {"what": "a user that is no UTF-8", "from": b"<sip:M\xfcller@acme.example>",
     "ruri": b"sip:4420\xff@acme.example", "to": None,
     "shows": {"from": "M\ufffdller", "to": "4420\ufffd"}},
    {"what": "a display name that is no UTF-8",
     "from": b'"M\xfcller, \xff\xfe" <sip:1000@acme.example>',
     "ruri": b"sip:4420700000@acme.example", "to": None,
     "shows": {"from": "1000", "to": "4420700000"}},
]  # fmt: skip


def invite(vector: dict[str, Any], number: int, port: int) -> bytes:
    def raw(text: str | bytes) -> bytes:
        return text if isinstance(text, bytes) else text.encode()

    to = raw(vector["to"]) if vector["to"] else b"<" + raw(vector["ruri"]) + b">"
    return (
        b"INVITE %b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-id%d\r\n"
        b"From: %b;tag=i%d\r\nTo: %b\r\nCall-ID: i%d@x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
        b"X-Company: 101\r\nContact: <sip:x@127.0.0.1:%d>\r\nContent-Length: 0\r\n\r\n"
        % (raw(vector["ruri"]), port, number, raw(vector["from"]), number, to, number, port)
    )


async def test_from_and_to_are_the_same_in_events_and_in_lists() -> None:
    wrong = []
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        caller = await stage.agent()
        vectors = [*VECTORS, *RAW]
        for number, vector in enumerate(vectors):
            caller.send(invite(vector, number, caller.port))
        await asyncio.sleep(1.5)
        listed = await stage.listener.listed()
        for number, vector in enumerate(vectors):
            events = folded(stage.listener.of(f"i{number}@x"))
            by_list = [call for call in folded(listed).calls.values()
                       if call.call_id == f"i{number}@x"]  # fmt: skip
            for call in (*events.calls.values(), *by_list):
                shown = {"from": call.caller, "to": call.callee}
                if shown != vector["shows"]:
                    wrong.append((vector["what"], vector["shows"], shown))
            if len(events.calls) != 1 or len(by_list) != 1:
                wrong.append((vector["what"], "not one call", len(events.calls), len(by_list)))
    assert not wrong


async def test_a_call_that_no_route_gave_a_company_has_none() -> None:
    """And no trunk: an unset variable is absent, not ``<null>``."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        callee, caller = await stage.agent(kamailio.pbx), await stage.agent()
        dialog = Dialog.between(caller, callee, "39100001", "5500", "unowned.example")
        await dialog.set_up("", "")
        for frames in (stage.listener.of(dialog.call_id), await stage.listener.listed()):
            (call,) = folded(frames).calls.values()
            assert (call.company_id, call.trunk, call.direction) == (None, None, None)
        assert not any("<null>" in str(frame) for frame in stage.listener.frames)
        await dialog.hang_up()
