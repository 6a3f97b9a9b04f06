"""The minutes of the charts survive a restart and stay small: with a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
from redis.asyncio import Redis

from api.panels.documents import Wanted
from api.panels.history import HistoryDocuments
from livestate.devtools import servers
from livestate.state.alarms.board import Board
from livestate.state.alarms.readings import Key
from livestate.state.alarms.rules import Reading
from livestate.state.kpi.history import MINUTE_MS, MINUTES, History
from livestate.store.history import HOUR_MINUTES, KeptHistory
from livestate.store.keys import UNPREFIXED
from tests.unit.state.test_kpis import Room

KEYS = UNPREFIXED
NOON = 30_000_000 * MINUTE_MS


@pytest.fixture
async def redis(redis_server: servers.Redis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


class Instance:
    def __init__(self, redis: Redis, now: int = NOON, *, writes: bool = True) -> None:
        self.room, self.history = Room(now), History()
        self.kept = KeptHistory(
            redis,
            self.history,
            self.room.kpis,
            clock=lambda: self.room.now,
            writes=lambda: writes,
            ready=lambda: True,
            stale_since=lambda: None,
        )
        self.kept.sample()

    async def minutes(self, number: int) -> None:
        """So many minutes, with a call in each."""
        for _ in range(number):
            self.room.say("failed", f"{self.room.now}", outcome="busy", sip_code=486)
            self.room.now += MINUTE_MS
            self.kept.sample()
        await self.kept.load()
        await self.kept.write()


async def test_a_restart_keeps_the_minutes_and_says_when_it_was(redis: Redis) -> None:
    first = Instance(redis)
    await first.minutes(90)
    again = Instance(redis, first.room.now + 3 * MINUTE_MS)
    await again.kept.load()
    assert again.history.minutes == first.history.minutes
    assert [one.kind for one in again.history.marks] == ["restart"]
    await again.minutes(3)  # the first of them was not seen from its beginning
    attempts = again.history.series("101", 8, again.room.now)["attempts"]
    assert attempts == [1, 1, None, None, None, None, 1, 1]
    last = Instance(redis, again.room.now)
    await last.kept.load()
    assert [one.kind for one in last.history.marks] == ["restart", "restart"]


async def test_a_day_in_redis_is_small_and_expires(redis: Redis) -> None:
    first = Instance(redis)
    await first.minutes(MINUTES + 100)
    names = [name.decode() for name in await redis.keys("*")]
    hours = [name for name in names if not name.endswith("marks")]
    assert len(hours) <= (MINUTES + 100) // HOUR_MINUTES + 2
    assert all([await redis.ttl(name) > 0 for name in names])
    size = sum([await redis.memory_usage(name) for name in names])
    assert size < 400_000, size
    again = Instance(redis, first.room.now)
    await again.kept.load()
    assert len(again.history.minutes) == MINUTES
    document = await HistoryDocuments(again.history, Board(), lambda: again.room.now).make(
        Wanted(None, code="day")
    )
    assert len(document) < 40_000


async def test_a_standby_writes_nothing_and_edits_are_left_out(redis: Redis) -> None:
    standby = Instance(redis, writes=False)
    await standby.minutes(3)
    assert await redis.keys("*") == []
    first = Instance(redis)
    await first.minutes(3)
    key = f"{KEYS.history}{NOON // MINUTE_MS // HOUR_MINUTES}"
    minute = NOON // MINUTE_MS + 1
    for edit in (b"{", b"[]", b'{"":[1]}', b'{"":[1,2,3,"4"]}', b'{"":[-1,0,0,0]}'):
        await redis.hset(key, str(minute), edit)
        again = Instance(redis, first.room.now)
        await again.kept.load()
        assert again.history.minutes[minute] == {}
    await redis.hset(key, "no minute", b"{}")
    await redis.hset(f"{KEYS.history}marks", "marks", b'[["bad",1,2],["stale","x",1],5]')
    again = Instance(redis, first.room.now)
    await again.kept.load()
    assert len(again.history.minutes) == 2
    assert [one.kind for one in again.history.marks] == ["restart"]


async def test_the_document_has_alarms_among_its_marks() -> None:
    room, history, board = Room(NOON), History(), Board()
    board.update(Key("node_silent", None, "kam-1"), Reading("alarm", 20, 10, 20), NOON)
    document = orjson.loads(
        await HistoryDocuments(history, board, lambda: room.now + MINUTE_MS).make(Wanted(None))
    )
    assert document["marks"] == [
        {"kind": "alarm", "since": NOON, "until": None, "rule": "node_silent", "subject": "kam-1"}
    ]
    assert (len(document["live"]), document["live"][0], document["kept"]) == (60, None, True)
