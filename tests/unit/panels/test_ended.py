"""Calls that ended lately: which, why, and whose."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.panels import ended
from api.panels.documents import Wanted
from api.panels.ended import LATELY_MS, MOST_SHOWN, EndedDocuments
from tests.unit.state.test_kpis import Room


def fail(room: Room, dialog: str, code: int, trunk: str = "gw", company: str = "101") -> None:
    outcome = "busy" if code == 486 else "congestion"
    facts = {"trunk": trunk, "company_id": company}
    room.say("setup", dialog, **facts)
    room.say("failed", dialog, sip_code=code, outcome=outcome, ended_at=room.now, **facts)


async def document(room: Room, wanted: Wanted) -> Any:
    made = EndedDocuments(room.table, lambda: 0, lambda: room.now)
    return orjson.loads(await made.make(wanted))


async def dialogs(room: Room, *wanted: Any) -> list[str]:
    return [one["call_id"] for one in (await document(room, Wanted(*wanted)))["calls"]]


async def test_the_latest_stands_first_and_filters_narrow() -> None:
    room = Room()
    fail(room, "1", 503, "a")
    fail(room, "2", 486, "b")
    room.say("answered", "3", answered_at=room.now)
    room.say("ended", "3", outcome="answered", ended_at=room.now + 5, sip_code=200)
    room.say("setup", "4")
    assert await dialogs(room, None) == ["3", "2", "1"]
    assert await dialogs(room, None, (), "503") == ["1"]
    assert await dialogs(room, None, (), "answered") == ["3"]
    assert await dialogs(room, None, ("a", "b")) == ["2", "1"]
    assert await dialogs(room, None, ("a",), "486") == []
    assert await dialogs(room, "no such company") == []
    found = (await document(room, Wanted(None)))["calls"][1]
    assert (found["reason"], found["outcome"], found["trunk"]) == ("486", "busy", "b")


async def test_a_call_is_listed_for_five_minutes() -> None:
    room = Room()
    fail(room, "1", 503)
    room.now += LATELY_MS
    assert await dialogs(room, None) == ["1"]
    room.now += 1
    assert await dialogs(room, None) == []


async def test_a_call_that_moved_to_another_company_is_none_of_the_first() -> None:
    room = Room()
    room.say("setup", "1", company_id="101")
    room.say("transfer", "1", company_id="202")
    room.say("failed", "1", company_id="202", sip_code=503)
    assert await dialogs(room, "101") == []
    assert await dialogs(room, "202") == ["1"]


async def test_more_calls_than_are_listed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "SLICE_SECONDS", 0.0)  # every step waits
    room = Room()
    for number in range(MOST_SHOWN + 5):
        fail(room, str(number), 503)
    found = await document(room, Wanted(None))
    assert (found["total"], len(found["calls"])) == (MOST_SHOWN + 5, MOST_SHOWN)


async def test_a_company_gets_the_same_bytes_whatever_others_do() -> None:
    """Promise L."""

    async def made(*, others: bool) -> bytes:
        room = Room()
        for number in range(20):
            if others:
                fail(room, f"o{number}", 503, company="202")
            fail(room, f"a{number}", 486)
        documents = EndedDocuments(room.table, lambda: 0, lambda: room.now)
        return await documents.make(Wanted("101"))

    assert await made(others=True) == await made(others=False)
