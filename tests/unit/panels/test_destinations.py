"""Where calls go: countries and areas, of all calls or a company; bounded whatever is dialled."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from api.panels.destinations import DestinationDocuments
from api.panels.documents import Wanted
from api.panels.numbering import KINDS, Numbering, Place
from api.setting_types import Country
from livestate.state.kpi import destinations
from livestate.state.kpi.recent import LATELY_MS, digits_of
from tests.unit.state.test_kpis import Room


async def document(room: Room, company: str | None = None, country: str | None = "IT") -> Any:
    made = DestinationDocuments(room.table, Numbering(country), lambda: room.now)
    return orjson.loads(await made.make(Wanted(company)))


async def rows(room: Room, company: str | None = None) -> dict[str, dict[str, Any]]:
    found = (await document(room, company))["destinations"]
    return {row["prefix"] or row["kind"]: row for row in found}


def call(room: Room, dialog: str, to: str, **facts: Any) -> None:
    room.say("setup", dialog, to=to, setup_at=room.now, **facts)


def end(room: Room, dialog: str, to: str, seconds: int, **facts: Any) -> None:
    room.say("answered", dialog, to=to, answered_at=room.now, setup_at=room.now, **facts)
    ended_at = room.now + 1_000 * seconds
    room.say("ended", dialog, to=to, outcome="answered", ended_at=ended_at, **facts)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+39 02 555-1234", "+39025551234"),
        ("0039 (02) 5551234", "+39025551234"),
        ("02/555.12", "0255512"),
        ("112", "112"),
        ("anonymous", ""),
        ("+", ""),
        ("", ""),
        (None, ""),
        ("٠١٢٣٤٥٦", ""),
        ("1" * 64, "1" * 18),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str | None, number: str) -> None:
    assert digits_of(text) == number


@pytest.mark.parametrize(
    ("number", "place"),
    [
        ("+390612345678", Place("IT", "+39 06", "fixed")),
        ("0612345678", Place("IT", "+39 06", "fixed")),
        ("+393471234567", Place("IT", "+39 347", "mobile")),
        ("+442079460000", Place("GB", "+44 20", "fixed")),
        ("+12125551234", Place("US", "+1 212", "fixed")),
        ("+18095551234", Place("DO", "+1 809", "fixed")),
        ("+390669812345", Place("VA", "+39 06", "fixed")),
        ("+88216123456", Place(None, "+882 16", "satellite")),
        ("112", Place(None, None, "short")),
        ("+0000", Place()),
        ("", Place()),
    ],
)
async def test_a_number_belongs_to_a_country_and_an_area(number: str, place: Place) -> None:
    numbering = Numbering("IT")
    await numbering.load()
    found = numbering.place(number)
    assert found == place
    assert found.kind in KINDS


async def test_without_a_country_a_national_number_stays_unknown() -> None:
    numbering = Numbering(None)
    await numbering.load()
    assert numbering.place("0612345678") == Place()
    assert numbering.grouped("0612345678") is None
    assert numbering.grouped("+390612345678") == "+39 06 1234 5678"


async def test_calls_are_counted_where_they_go() -> None:
    room = Room()
    call(room, "1", "+390612345678")
    call(room, "2", "06 1234 9999")
    end(room, "3", "00390612345670", 60)
    room.say("setup", "4", to="+390612340000")
    room.say("failed", "4", to="+390612340000", sip_code=503, outcome="congestion")
    call(room, "5", "+442079460000", company_id="202")
    call(room, "6", "+390655555555", direction="inbound")
    call(room, "7", "201", direction="internal")
    call(room, "8", "sales")
    found = await rows(room)
    assert set(found) == {"+39 06", "+44 20", "unknown"}
    rome = found["+39 06"]
    assert (rome["live"], rome["seizures"], rome["attempts"], rome["answered"]) == (2, 3, 2, 1)
    assert (rome["asr"], rome["ner"], rome["acd_seconds"]) == (50.0, 50.0, 60.0)
    assert rome["country"] == "IT"
    assert set(await rows(room, "202")) == {"+44 20"}


async def test_calls_that_ended_long_ago_are_not_counted() -> None:
    room = Room()
    end(room, "1", "+390612345678", 1)
    room.now += LATELY_MS + 5_000
    call(room, "2", "+442079460000")
    assert set(await rows(room)) == {"+44 20"}


async def test_a_company_gets_the_same_bytes_whatever_others_dial() -> None:
    """Promise L."""

    async def made(*, others: bool) -> bytes:
        room = Room()
        for number in range(20):
            if others:
                call(room, f"o{number}", f"+1212555{number:04}", company_id="202")
            call(room, f"a{number}", f"+3906{number:07}", company_id="101")
        room.now = 1
        return await DestinationDocuments(room.table, Numbering("IT"), lambda: 1).make(
            Wanted("101")
        )

    assert await made(others=True) == await made(others=False)


async def test_made_up_numbers_take_no_more_than_the_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr(destinations, "MOST", 10)
    room = Room()
    for number in range(50):
        call(room, str(number), f"+39{number:02}1234567")
    found = destinations.Destinations(
        (one for one in room.table.calls.values()), room.now - LATELY_MS
    )
    for _ in found.steps():
        pass
    assert len(found.by_start) == 11
    assert sum(one.live for one in found.by_start.values()) == 50


async def test_the_parties_of_a_call_are_written_out() -> None:
    room = Room()
    room.say("setup", "1", **{"from": "0255501234", "to": "sales"})
    (one,) = room.table.calls.values()
    found = await Numbering("IT").of_call(one)
    assert found == {"from": {"text": "+39 02 5550 1234", "country": "IT"}}


@pytest.mark.parametrize(
    ("text", "known"), [("it", True), ("GB", True), ("UK", False), ("ITA", False)]
)
def test_a_country_that_has_no_numbers_is_refused_at_the_start(text: str, known: bool) -> None:
    country = TypeAdapter(Country)
    if known:
        assert country.validate_python(text) == text.upper()
    else:
        with pytest.raises(ValueError, match="ISO 3166-1"):
            country.validate_python(text)


@pytest.mark.parametrize(
    ("number", "country"), [("+12280009176", "US"), ("+440645494440", "GB"), ("+888", None)]
)
async def test_an_invalid_number_still_has_its_country(number: str, country: str | None) -> None:
    """Callers dial them: daviddrysdale/python-phonenumbers#266, libphonenumber-for-php#123."""
    numbering = Numbering("IT")
    await numbering.load()
    assert numbering.place(number).country == country
