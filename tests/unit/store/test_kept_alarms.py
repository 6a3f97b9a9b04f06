"""Alarms survive a restart and are the same on a standby: with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from api.panels.alarm_file import AlarmFile
from api.panels.alarm_watch import AlarmWatch
from api.panels.alarm_webhook import Webhook
from api.panels.documents import NotAvailable
from api.panels.trunk_file import TrunkFile
from livestate.devtools import servers
from livestate.state.alarms.board import Board
from livestate.state.alarms.readings import Readings
from livestate.state.nodes.registry import Nodes
from livestate.state.source import Source
from livestate.store.alarms import KeptAlarms
from livestate.store.keys import UNPREFIXED
from tests.unit.state.test_kpis import Room

KEYS = UNPREFIXED


@pytest.fixture
async def redis(redis_server: servers.Redis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


class Instance:
    """An instance whose feed is stale or not; what it reported."""

    def __init__(self, redis: Redis, *, writes: bool = True, now: int = 10_000_000) -> None:
        self.room, self.writes = Room(now), writes
        self.source = Source(now - 60_000)
        self.reported: list[tuple[str, str | None]] = []
        self.webhook = Webhook("http://127.0.0.1:9/", "a-secret-of-sixteen")  # nothing is sent
        board = Board()
        self.watch = AlarmWatch(
            board,
            Readings(self.room.kpis, Nodes(stale_after=6_000)),
            KeptAlarms(redis, board),
            AlarmFile(None, lambda rules: None),
            TrunkFile(None, lambda trunks: None),
            source=lambda: self.source,
            writes=lambda: self.writes,
            ready=lambda: True,
            webhook=self.webhook,
            clock=lambda: self.room.now,
        )

    async def turn(self, ms: int = 2_000) -> None:
        self.room.now += ms
        known = self.webhook.unsent
        await self.watch.turn()
        for name, stored in self.webhook.unsent.items():
            if name not in known:
                change = orjson.loads(stored.partition(b" ")[2])
                self.reported.append((change["event"], change["alarm"]["acknowledged_by"]))

    def sent(self) -> None:
        """The receiver took everything."""
        self.webhook.withdraw(self.webhook.unsent)

    @property
    def shown(self) -> list[dict[str, object]]:
        return [one.record() for one in self.watch.board.alarms(None)]


async def test_a_restart_keeps_alarms_and_reports_none_again(redis: Redis) -> None:
    first = Instance(redis)
    await first.turn()
    assert first.reported == [("raised", None)]
    assert await first.watch.acknowledge(None, first.watch.board.alarms(None)[0].id, "anna")
    await first.turn()
    first.sent()
    await first.turn()
    again = Instance(redis, now=first.room.now + 5_000)
    await again.turn()
    assert again.reported == []
    assert again.shown[0]["acknowledged_by"] == "anna"
    assert await redis.ttl(KEYS.alarms) > 0


async def test_a_standby_shows_the_same_and_what_it_acknowledges_holds(redis: Redis) -> None:
    writer, standby = Instance(redis), Instance(redis, writes=False)
    await writer.turn()
    await standby.turn()
    assert standby.shown == writer.shown
    assert await standby.watch.acknowledge(None, str(standby.shown[0]["id"]), "anna")
    await writer.turn()
    await standby.turn()
    assert [one["acknowledged_by"] for one in (*writer.shown, *standby.shown)] == ["anna", "anna"]
    assert writer.reported == [("raised", None), ("acknowledged", "anna")]
    assert standby.reported == []
    assert not await redis.exists(KEYS.acknowledged)
    writer.sent()
    await writer.turn()
    writer.writes, standby.writes = False, True
    await standby.turn()
    assert standby.reported == [], "the standby takes over and reports nothing twice"


async def test_redis_that_was_emptied_gets_them_again(redis: Redis) -> None:
    writer = Instance(redis)
    await writer.turn()
    await redis.flushall()
    await writer.turn()
    await writer.turn()
    assert len(await redis.hgetall(KEYS.alarms)) == 1


async def test_what_was_edited_in_redis_is_left_out(redis: Redis) -> None:
    writer = Instance(redis)
    await writer.turn()
    id = str(writer.shown[0]["id"])
    for edit in (b"{", b"[]", b'{"by":1}', orjson.dumps({"by": "x", "at": "now"})):
        await redis.hset(KEYS.acknowledged, id, edit)
        await writer.turn()
    assert writer.shown[0]["acknowledged_by"] is None
    await redis.hset(KEYS.alarms, "made-up", b'{"id":"made-up"}')
    again = Instance(redis, now=writer.room.now)
    await again.turn()
    assert [one["id"] for one in again.shown] == [id]
    assert await redis.hkeys(KEYS.alarms) == [id.encode()]
    await redis.delete(KEYS.alarms)
    await redis.set(KEYS.alarms, "no hash")
    last = Instance(redis, now=writer.room.now)
    await last.turn()
    assert len(last.shown) == 1


async def test_without_redis_alarms_are_raised_and_a_standby_says_why_not() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:
        alone = Instance(nowhere)
        with pytest.raises(RedisAway):
            await nowhere.ping()
        await alone.turn()
        assert alone.reported == [("raised", None)]
        alone.writes = False
        with pytest.raises(NotAvailable, match="standby"):
            await alone.watch.acknowledge(None, str(alone.shown[0]["id"]), "anna")


async def test_a_redis_that_hangs_holds_up_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.panels.alarm_watch.REDIS_SECONDS", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Redis.from_url(f"redis://127.0.0.1:{port}") as hangs:
        alone = Instance(hangs)
        async with asyncio.timeout(30):
            await alone.turn()
        assert alone.reported == [("raised", None)]
    server.close()


async def test_the_alarm_of_a_feed_ends_when_it_speaks_again(redis: Redis) -> None:
    writer = Instance(redis)
    await writer.turn()
    writer.source = Source()
    for _ in range(6):
        await writer.turn()
    assert [what for what, _ in writer.reported] == ["raised", "cleared"]


async def test_what_the_webhook_had_still_to_send_is_sent_after_a_restart(redis: Redis) -> None:
    first = Instance(redis)
    await first.turn()
    unsent = first.webhook.unsent
    assert len(unsent) == 1
    again = Instance(redis, now=first.room.now)
    await again.turn()
    assert again.webhook.unsent == unsent, "the same deliveries, so a receiver can drop doubles"
    assert 0 < await redis.ttl(KEYS.unsent) <= 3_600
    again.sent()
    await again.turn()
    assert not await redis.exists(KEYS.unsent)


async def test_the_instance_that_takes_over_sends_and_the_other_one_stops(redis: Redis) -> None:
    writer, standby = Instance(redis), Instance(redis, writes=False)
    await writer.turn()
    await standby.turn()
    unsent = writer.webhook.unsent
    assert (len(unsent), standby.webhook.unsent) == (1, {})
    writer.writes, standby.writes = False, True
    await standby.turn()
    await writer.turn()
    assert (standby.webhook.unsent, writer.webhook.unsent) == (unsent, {})


async def test_unsent_changes_that_were_edited_in_redis_are_not_sent(redis: Redis) -> None:
    first = Instance(redis)
    await first.turn()
    (stored,) = first.webhook.unsent.values()
    for number, edit in enumerate((b"", b"x {}", b"1 {}", b"1 " + stored, stored[:-9], b"9" * 40)):
        await redis.hset(KEYS.unsent, f"made-up-{number}", edit)
    again = Instance(redis, now=first.room.now)
    await again.turn()
    assert again.webhook.unsent == first.webhook.unsent
    assert await redis.hlen(KEYS.unsent) == 1


async def test_a_redis_that_comes_late_gets_and_gives_what_is_unsent(redis: Redis) -> None:
    """A restart without Redis sends what is new; what was stored follows when Redis is there."""
    first = Instance(redis)
    await first.turn()
    alarms = first.watch._kept
    again = Instance(redis, now=first.room.now)
    async with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:
        again.watch._kept._redis = nowhere
        await again.turn()
        new = again.webhook.unsent
        assert len(new) == 1
        again.watch._kept._redis = alarms._redis
    await again.turn()
    assert [*again.webhook.unsent] == [*first.webhook.unsent, *new]
    assert await redis.hlen(KEYS.unsent) == 2
