"""Hints of fraud: each rule at its limit, of a company its own, in bounded memory."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import orjson
import pytest

from api.panels.documents import Wanted
from api.panels.hints import HintDocuments
from api.panels.numbering import UNKNOWN, Numbering, Place, _import
from livestate.state.kpi.hints import RULES, HintRules, Hints, Outside, parse
from livestate.state.kpi.top_keys import TopKeys
from tests.unit.state.test_kpis import Room

OFF = HintRules(**dict.fromkeys(RULES, 0))


async def hints(room: Room, company: str | None = None, **rules: int) -> list[tuple[Any, ...]]:
    documents = HintDocuments(room.table, Numbering("IT"), OFF._replace(**rules), lambda: room.now)
    found = orjson.loads(await documents.make(Wanted(company)))["hints"]
    return [(one["rule"], one["caller"], one["callee"], one["count"]) for one in found]


def call(room: Room, dialog: str, caller: str, callee: str, **facts: Any) -> None:
    room.say("setup", dialog, setup_at=room.now, **{"from": caller, "to": callee}, **facts)


def talk(room: Room, dialog: str, caller: str, callee: str, ms: int, **facts: Any) -> None:
    parties = {"from": caller, "to": callee}
    at = room.now
    room.say("answered", dialog, setup_at=at, answered_at=at, **parties, **facts)
    room.say("ended", dialog, ended_at=at + ms, outcome="answered", **parties, **facts)


async def test_short_calls_are_those_that_ended_within_the_seconds() -> None:
    room = Room()
    for number in range(3):
        talk(room, f"s{number}", "+39021", f"+3906555000{number}", 5_999)
        talk(room, f"l{number}", "+39022", f"+3906555000{number}", 6_000)
    assert await hints(room, short=3) == [("short", "+39021", None, 3)]
    assert await hints(room, short=4) == []


async def test_talk_time_is_that_of_calls_that_are_up_and_of_those_that_ended_just_now() -> None:
    room = Room()
    call(room, "old", "+39021", "+390655")
    room.say("answered", "old", answered_at=room.now, **{"from": "+39021", "to": "+390655"})
    talk(room, "short", "+39022", "+390655", 9 * 60_000)
    room.now += 20 * 60_000
    for number in range(2):
        talk(room, f"n{number}", "+39021", "+390655", 60_000)
    assert await hints(room, talk=22) == [("talk", "+39021", None, 22)]
    assert await hints(room, talk=23) == []
    room.now += 60_000
    assert await hints(room, talk=23) == [("talk", "+39021", None, 23)]


async def test_a_caller_that_rings_once_to_be_called_back_is_named() -> None:
    room = Room()
    for number in range(4):
        call(room, f"w{number}", "+22501", f"+39335000{number}")
        call(room, f"p{number}", "+39021", f"+39335000{number}")
    room.now += 5_000
    for number in range(4):
        room.say(
            "failed",
            f"w{number}",
            outcome="canceled",
            sip_code=487,
            ended_at=room.now,
            setup_at=room.now - 5_000,
            **{"from": "+22501", "to": f"+39335000{number}"},
        )
        room.say(
            "failed",
            f"p{number}",
            outcome="busy",
            sip_code=486,
            ended_at=room.now,
            setup_at=room.now - 5_000,
            **{"from": "+39021", "to": f"+39335000{number}"},
        )
    assert await hints(room, wangiri=4) == [("wangiri", "+22501", None, 4)]
    assert await hints(room, wangiri=5) == []


async def test_countries_that_are_risky_or_new_are_named_by_country() -> None:
    room = Room()
    call(room, "1", "+39021", "+5371234567")
    call(room, "2", "+39021", "0053 7 1234568")
    call(room, "3", "+39021", "+33123456789")
    call(room, "4", "+39022", "+33123456789", company_id="202")
    call(room, "5", "+39022", "+5371234567", direction="inbound")

    async def rows(
        *risky: str, new: tuple[str, str] = ("", ""), **rules: int
    ) -> list[tuple[Any, ...]]:
        documents = HintDocuments(
            room.table, Numbering("IT"), OFF._replace(**rules), lambda: room.now,
            frozenset(risky), lambda company, country: (company, country) == new,
        )  # fmt: skip
        found = orjson.loads(await documents.make(Wanted(None)))
        assert found["risk_countries"] == sorted(risky)
        assert found["rules"]["risk"] == (rules.get("risk", 0) if risky else 0)
        return [
            (one["rule"], one["company_id"], one["caller"], one["country"], one["count"])
            for one in found["hints"]
        ]

    assert await rows("SO", "CU", risk=2) == [("risk", "101", "+39021", "CU", 2)]
    assert await rows("CU", risk=3) == []
    assert await rows(risk=1) == [], "without a list there is no such rule"
    assert await rows(new=("202", "FR"), new_country=1) == [
        ("new_country", "202", "+39022", "FR", 1)
    ]


def test_the_place_of_a_number_does_not_depend_on_numbers_that_came_before() -> None:
    numbers = ["+390212345678", "+39021234567890", "+393351234567", "+14165550123", "+881612345678",
               "+39899123456", "+447700900123", "+5371234567", "201", "+", "+3902"]  # fmt: skip

    def places(order: list[str]) -> dict[str, Place]:
        numbering = Numbering("IT")
        numbering._library = _import()
        return {number: numbering.place_of(number) for number in order}

    there, back = places(numbers), places(numbers[::-1])
    assert there == back
    exact = Numbering("IT")
    exact._library = _import()
    for number in numbers:
        assert there[number].country == exact.place(number).country, number
    assert {there[number].kind for number in ("+881612345678", "+39899123456")} == {
        "satellite", "premium"
    }  # fmt: skip


async def test_attempts_and_calls_at_once_are_counted_however_the_number_is_written() -> None:
    room = Room()
    for number, caller in enumerate(("+39 02 1", "0039021", "+39021")):
        call(room, str(number), caller, "201")
    call(room, "4", "anonymous", "201")
    room.say("failed", "1", outcome="busy", sip_code=486, **{"from": "+39021", "to": "201"})
    assert await hints(room, attempts=3) == [("attempts", "+39021", None, 3)]
    assert await hints(room, at_once=2) == [("at_once", "+39021", None, 2)]
    assert await hints(room, repeats=3) == [("repeats", "+39021", "201", 3)]
    assert await hints(room) == [], "a rule that is off gives none"


async def test_a_loop_is_two_numbers_that_call_each_other() -> None:
    room = Room()
    for number in range(3):
        call(room, f"a{number}", "+39021", "+39062")
        call(room, f"b{number}", "+39062", "+39021")
        call(room, f"c{number}", "+39021", "+39063")
    assert await hints(room, loops=3) == [("loops", "+39021", "+39062", 6)]


async def test_premium_and_satellite_numbers_are_unusual() -> None:
    room = Room()
    call(room, "1", "+39021", "+88216123456")
    call(room, "2", "+39022", "899123456")
    call(room, "3", "+39023", "+390655512345")
    call(room, "4", "+39024", "+88216123456", direction="inbound")
    assert {one[1] for one in await hints(room, unusual=1)} == {"+39021", "+39022"}


async def test_extensions_of_two_companies_are_two_callers() -> None:
    room = Room()
    for number in range(4):
        call(room, str(number), "201", "202", company_id=("101", "303")[number % 2])
    assert await hints(room, attempts=3) == []
    assert len(await hints(room, attempts=2)) == 2
    assert len(await hints(room, "303", attempts=2)) == 1


async def test_a_company_gets_the_same_bytes_whatever_others_do() -> None:
    """Promise L."""

    async def made(*, others: bool) -> bytes:
        room = Room()
        for number in range(12):
            if others:
                call(room, f"o{number}", "+39021", "+88216123456", company_id="202")
            call(room, f"a{number}", "+39021", "+39062", company_id="101")
        documents = HintDocuments(room.table, Numbering("IT"), HintRules(), lambda: 1)
        return await documents.make(Wanted("101"))

    assert await made(others=True) == await made(others=False)


def test_any_number_of_keys_takes_the_memory_of_the_places() -> None:
    """What is said of a key is never too high, and a frequent one is never missed."""
    random, keys, truth = Random(1), TopKeys[int](places=200), Counter[int]()
    for number in range(60_000):
        key = random.randrange(20) if number % 10 == 0 else 1_000 + number
        keys.count(key)
        truth[key] += 1
        assert len(keys) <= 200
    assert len(keys._least) <= 200
    assert all(count <= truth[key] for key, count in keys.over(1))
    frequent = {key for key, count in truth.items() if count > 60_000 / 200}
    assert frequent <= {key for key, _ in keys.over(1)} | set(keys._counts)


def test_made_up_callers_and_numbers_are_bounded() -> None:
    room = Room()
    for number in range(3_000):
        call(room, str(number), f"+39{number:09}", f"+44{number:09}")
    found = Hints(
        iter(room.table.calls.values()),
        HintRules(),
        Outside(lambda number: UNKNOWN),
        oldest=0,
        now=room.now,
    )
    for _ in found.steps():
        pass
    assert found.rows == []
    assert all(len(one) <= 2_000 for one in found._counts.values())


@pytest.mark.parametrize("text", ["x=1", "short", "short=-1", "short=1e3", "short=1234567", "=1"])
def test_a_list_of_rules_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a list"):
        parse(text)


def test_rules_that_are_not_written_keep_their_defaults() -> None:
    assert parse("") == HintRules()
    assert parse(" attempts = 100, short=0 ") == HintRules(attempts=100, short=0)
