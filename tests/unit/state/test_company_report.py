"""The companies of the panel: the figures of their tiles, the order, and the bound."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.panels.companies import CompanyDocuments
from api.panels.documents import Wanted
from livestate.devtools.simulator import Network, Traffic
from livestate.state.kpi import company_report
from tests.unit.state.test_kpis import Room


async def document(room: Room) -> dict[str, Any]:
    made = await CompanyDocuments(room.kpis, lambda: room.now).make(Wanted(None))
    return dict(orjson.loads(made))


def fail(room: Room, dialog: str, company: str) -> None:
    room.say("setup", dialog, company_id=company, trunk="gw")
    room.say("failed", dialog, company_id=company, trunk="gw", sip_code=503, outcome="congestion")


def answer(room: Room, dialog: str, company: str) -> None:
    at = room.now
    room.say("answered", dialog, company_id=company, answered_at=at, setup_at=at - 2_000)
    room.say("ended", dialog, company_id=company, outcome="answered", ended_at=at + 60_000)


@pytest.mark.parametrize("seed", range(2))
async def test_a_company_has_the_figures_of_its_tiles(seed: int) -> None:
    room = Room()
    network = Network(Traffic(cps=8, seed=seed, companies=4, talk_seconds=20), room.now)
    for _ in range(4 * 60):
        room.now += 1_000
        for message in network.due(room.now):
            room.pipeline.handle(message.subject, orjson.dumps(message.message))
    rows = (await document(room))["companies"]
    assert {row["company_id"] for row in rows} == set(room.kpis._of)
    for row in rows:
        tiles = room.of(row["company_id"])
        assert row["live"] == tiles["concurrent"]
        assert row["peak"] == tiles["concurrent_peak"]
        assert row["attempts"] == tiles["offered"]
        assert row["asr"] == pytest.approx(tiles["asr"], abs=0.06)
        assert row["ner"] == pytest.approx(tiles["ner"], abs=0.06)
        assert row["acd_seconds"] == pytest.approx(tiles["acd_seconds"], abs=0.06)
        assert row["pdd_ms"] == pytest.approx(tiles["pdd_ms"], abs=0.06)
        assert len(row["asr_by_minute"]) == company_report.MINUTES


async def test_the_company_whose_calls_the_network_fails_stands_first() -> None:
    room = Room()
    for number in range(400):
        answer(room, f"g{number}", "large")
    for number in range(20):
        fail(room, f"f{number}", "large")
        fail(room, f"d{number}", "dead")
    first, second = (await document(room))["companies"]
    assert (first["company_id"], first["level"], first["asr"]) == ("dead", "alarm", 0.0)
    assert first["codes"] == {"503": 20}
    assert first["seizures"] == 20
    assert (second["company_id"], second["level"]) == ("large", "")


async def test_companies_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company_report, "MOST_SHOWN", 2)
    room = Room()
    for number in range(5):
        room.say("setup", str(number), company_id=f"c{number}")
    fail(room, "x", "c3")
    found = await document(room)
    assert next(row["company_id"] for row in found["companies"]) == "c3"
    assert (len(found["companies"]), found["more"], found["more_live"]) == (2, 3, 3)


async def test_a_company_that_was_quiet_for_the_window_is_not_listed() -> None:
    room = Room()
    answer(room, "1", "gone")
    room.now += 16 * 60_000
    room.say("setup", "2", company_id="here")
    assert [row["company_id"] for row in (await document(room))["companies"]] == ["here"]
