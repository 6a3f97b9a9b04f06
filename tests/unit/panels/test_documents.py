"""A panel's document is made once for all who look, and pages are told to ask more slowly."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.panels.documents import FRESH_SECONDS, LONGEST_SECONDS, Documents, NotAvailable, Wanted
from api.panels.trunk_file import TrunkFile
from api.panels.trunks import TrunkDocuments
from tests.unit.state.test_kpis import Room


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_all_who_ask_together_share_one_document() -> None:
    clock, asked = Clock(), list[str | None]()

    async def make(wanted: Wanted) -> bytes:
        asked.append(wanted.company_id)
        await asyncio.sleep(0)
        return orjson.dumps({"company": wanted.company_id})

    documents = Documents(make, clock)
    many = await asyncio.gather(
        *(documents.get(Wanted(None)) for _ in range(50)), documents.get(Wanted("101"))
    )
    assert asked == [None, "101"]
    assert len({id(one) for one in many[:50]}) == 1
    assert orjson.loads(many[0].plain) == {"next_seconds": 4, "company": None}
    assert gzip.decompress(many[0].gzipped) == many[0].plain
    clock.now += FRESH_SECONDS
    await documents.get(Wanted(None))
    assert asked == [None, "101", None]


async def test_a_failure_is_not_kept_and_a_client_that_leaves_breaks_nothing() -> None:
    answers: list[Any] = [NotAvailable("away"), b"{}"]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def make(wanted: Wanted) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        begun.set()
        await go_on.wait()
        return b'{"a":1}'

    documents = Documents(make, Clock())
    with pytest.raises(NotAvailable):
        await documents.get(Wanted(None))
    leaving, staying = (asyncio.create_task(documents.get(Wanted(None))) for _ in range(2))
    await begun.wait()
    leaving.cancel()
    go_on.set()
    assert orjson.loads((await staying).plain)["a"] == 1


async def test_documents_of_many_companies_are_forgotten() -> None:
    clock = Clock()

    async def make(wanted: Wanted) -> bytes:
        return b'{"a":1}'

    documents = Documents(make, clock)
    for number in range(100):
        await documents.get(Wanted(str(number)))
        clock.now += 1
    assert len(documents._kept) <= FRESH_SECONDS + 1


@pytest.mark.parametrize(("readers", "wanted"), [(1, 4), (60, 4), (600, 40), (6_000, 300)])
async def test_many_readers_ask_more_slowly(readers: int, wanted: int) -> None:
    """Together at most 15 times a second, until each waits for five minutes."""
    clock = Clock()

    async def make(wanted: Wanted) -> bytes:
        return b'{"a":1}'

    documents = Documents(make, clock)
    due = [0.01 * number for number in range(readers)]
    for _ in range(4_000):
        clock.now += 0.5
        for reader, at in enumerate(due):
            if at <= clock.now:
                documents.pace.count()
                due[reader] = clock.now + documents.pace.next_seconds
        if clock.now > 3 * LONGEST_SECONDS:
            break
    assert documents.pace.next_seconds == pytest.approx(wanted, rel=0.35)


async def test_a_panel_that_reads_all_calls_is_made_less_often() -> None:
    clock = Clock()

    async def make(wanted: Wanted) -> bytes:
        return b'{"a":1}'

    documents = Documents(make, clock, "destinations")
    for _ in range(40):
        found = orjson.loads((await documents.get(Wanted(None))).plain)
        clock.now += 1
    assert (documents.made, found["next_seconds"]) == (2, 30)


async def test_a_company_gets_the_same_bytes_whatever_others_do(tmp_path: Path) -> None:
    """Promise L: nothing of other companies' calls on the same trunk, and nothing of the file."""
    path = tmp_path / "trunks.csv"
    path.write_bytes(b"gw,10,Carrier,IT\nother,5\noops,oops\n")

    async def document(*, others: bool) -> bytes:
        room = Room()
        file = TrunkFile(str(path) if others else None, room.kpis.trunk_window.keep)
        await file.refresh()
        for number in range(60):
            if others:
                room.say("setup", f"o{number}", company_id="202", trunk="gw")
                if number % 2:
                    room.say("failed", f"o{number}", company_id="202", trunk="gw", sip_code=503)
            room.say("answered", f"a{number}", trunk="gw", answered_at=room.now)
            if number % 3:
                room.say("ended", f"a{number}", trunk="gw", outcome="answered",
                         ended_at=room.now + 1_000)  # fmt: skip
        return await TrunkDocuments(room.kpis, file, lambda: 0).make(Wanted("101"))

    alone = await document(others=False)
    assert await document(others=True) == alone
    assert [row["live"] for row in orjson.loads(alone)["trunks"]] == [20]
