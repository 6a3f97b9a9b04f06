"""The countries that companies call survive a restart: with a real Redis and a real table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from api.panels.country_watch import CountryWatch
from api.panels.numbering import Numbering
from livestate.devtools import servers
from livestate.state.kpi.countries import COLD_HOURS, HISTORY_HOURS, HOUR_MS, Countries
from livestate.store.countries import KeptCountries
from livestate.store.keys import UNPREFIXED
from tests.unit.state.test_kpis import Room

KEY = UNPREFIXED.countries


@pytest.fixture
async def redis(redis_server: servers.Redis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


class Instance:
    def __init__(self, redis: Redis, now: int = 490_000 * HOUR_MS, *, writes: bool = True) -> None:
        self.room, self.countries = Room(now), Countries()
        self.kept = KeptCountries(redis, self.countries)
        self.watch = CountryWatch(
            self.room.table, Numbering("IT"), self.kept, self.countries,
            on=True, writes=lambda: writes, clock=lambda: self.room.now,
        )  # fmt: skip

    async def call(self, dialog: str, callee: str, **facts: str) -> None:
        self.room.say("setup", dialog, setup_at=self.room.now, to=callee, **facts)
        await self.watch.turn()


async def test_history_survives_a_restart_so_a_new_country_is_noticed(redis: Redis) -> None:
    first = Instance(redis)
    await first.call("1", "02 12345678")
    await first.call("2", "+33123456789", direction="inbound")
    assert 0 < await redis.ttl(KEY) <= (HISTORY_HOURS + 24) * 3_600
    again = Instance(redis, first.room.now + COLD_HOURS * HOUR_MS)
    await again.call("1", "+5371234567")
    await again.call("2", "0212345678")
    assert again.watch.is_new("101", "CU")
    assert not again.watch.is_new("101", "IT")
    assert not again.watch.is_new("101", "FR"), "inbound calls have no destination"
    cold = Instance(redis, again.room.now)
    await redis.delete(KEY)
    await cold.call("1", "+5371234567")
    assert not cold.watch.is_new("101", "CU")


async def test_a_redis_that_was_emptied_gets_all_of_it_again(redis: Redis) -> None:
    one = Instance(redis)
    await one.call("1", "+5371234567")
    await redis.flushall()
    await one.watch.turn()
    assert await redis.hkeys(KEY) == [b"101"]
    one.room.now += (HISTORY_HOURS + 1) * HOUR_MS
    await one.watch.turn()
    assert not await redis.exists(KEY)


async def test_a_standby_writes_nothing_and_another_type_breaks_nothing(redis: Redis) -> None:
    standby = Instance(redis, writes=False)
    await standby.call("1", "+5371234567")
    assert not await redis.exists(KEY)
    await redis.set(KEY, "no hash")
    one = Instance(redis)
    await one.call("1", "+5371234567")
    assert list(one.countries.names()) == ["101"]


async def test_without_redis_countries_are_noted() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:
        one = Instance(nowhere)
        await one.call("1", "+5371234567")
        assert list(one.countries.names()) == ["101"]
