"""The counts of trunks survive a restart of the service: with a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from livestate.devtools import servers
from livestate.state.kpi.kept_trunks import restore_bucket, restore_slot
from livestate.state.kpi.trunk_window import TrunkWindow
from livestate.state.kpi.window import BUCKET_MS
from livestate.store.figures import MOST_PAUSE_MS
from livestate.store.keys import UNPREFIXED
from tests.unit.state.test_kpi_bounds import NOON
from tests.unit.state.test_kpis import Room
from tests.unit.state.test_trunk_report import answer, fail, report
from tests.unit.store.test_kept_figures import after_restart, kept


@pytest.fixture
async def redis(redis_server: servers.Redis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


def a_busy_hour() -> Room:
    """Calls on two trunks, of a company; and more trunks than are named."""
    room = Room(NOON)
    for minute in range(60):
        for number in range(3):
            answer(room, f"a{minute}-{number}", "good")
            fail(room, f"f{minute}-{number}", "bad", (503, 486)[number % 2])
        room.now += 60_000
    return room


def shown(room: Room, company: str | None) -> Any:
    """The document's rows without what is live or of the day."""
    made = report(room, company)
    rows = [{**row, "peak": 0} for row in made.rows]
    return rows, made.without_trunk(), made.others()


async def test_the_window_and_the_hour_of_trunks_survive_a_restart(redis: Redis) -> None:
    room = a_busy_hour()
    hour = room.kpis.trunk_window.hour.of("good", room.now)
    assert hour.attempts_before > 100
    before = {company: shown(room, company) for company in (None, "101")}
    again = await after_restart(redis, room)
    for company, was in before.items():
        assert shown(again, company) == was, company
    assert again.kpis.trunk_window.hour.of("good", room.now) == hour
    fail(again, "new", "bad")
    assert {row["trunk"]: row["attempts"] for row in report(again).rows} == {
        "good": before[None][0][1]["attempts"],
        "bad": before[None][0][0]["attempts"] + 1,
    }


async def test_after_a_long_pause_trunks_begin_anew(redis: Redis) -> None:
    again = await after_restart(redis, a_busy_hour(), MOST_PAUSE_MS + 1)
    assert report(again).rows == []


async def test_only_what_has_changed_is_written_again(redis: Redis) -> None:
    room = a_busy_hour()
    figures = kept(redis, room)
    await figures.load()
    await figures.write()
    names = await redis.keys(f"{UNPREFIXED.trunks}*")
    await redis.delete(*names)
    fail(room, "new", "bad")
    await figures.write()
    (name,) = await redis.keys(f"{UNPREFIXED.trunks}*")
    assert name.decode().endswith(str(room.now // BUCKET_MS))
    assert await redis.ttl(name) > 0


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"": None},
        {"": {"counts": []}},
        {"": {"counts": {"gw": [1, 2]}}},
        {"": {"counts": {"gw": [1, 2, 3, 4, 5, 6, 7, "8"]}}},
        {"": {"counts": {"g" * 65: [0] * 8}}},
        {"": {"others": {"counts": {"gw": [1] * 8}}}},
        {"c": {"counts": {"gw": [True] * 8}}, "d" * 65: {"counts": {"gw": [1] * 8}}},
    ],
)
def test_what_was_edited_is_left_out(stored: dict[str, Any]) -> None:
    window = TrunkWindow()
    restore_bucket(window, 1, stored)
    assert not window.buckets or not window.buckets[0].everything.counts
    assert not window.buckets or not window.buckets[0].companies


def test_no_more_names_are_restored_than_are_counted() -> None:
    window = TrunkWindow(most=3)
    many = {f"gw-{number}": [1] * 8 for number in range(9)}
    code = {"gw-0": {"503": -1, "x" * 99: 1}, "gw-1": {"503": 2}}
    restore_bucket(window, 1, {"": {"counts": many, "codes": code}, "c": {"counts": many}})
    restore_slot(window, 1, {name: [1, 0] for name in many} | {"x": [1]})
    (bucket,) = window.buckets
    assert set(bucket.everything.counts) == {"gw-0", "gw-1", "gw-2"}
    assert bucket.everything.codes == {"gw-1": {"503": 2}}
    assert len(dict(window.hour.slots(0))[1]) == 3
    assert orjson.dumps(bucket.companies["c"].counts["gw-0"].tolist()) == orjson.dumps([1] * 8)
