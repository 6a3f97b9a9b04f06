"""Key figures, and when nodes last spoke, survive a restart of the service: with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from livestate.devtools import servers
from livestate.state.kpi.kept import COUNTERS
from livestate.state.kpi.trunk_hour import SLOTS
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, Bucket
from livestate.state.nodes.registry import Nodes
from livestate.store.figures import MOST_PAUSE_MS, KeptFigures
from livestate.store.keys import UNPREFIXED
from tests.conftest import World
from tests.harness import Node, now_ms
from tests.stream_client import Stream
from tests.unit.state.test_kpi_bounds import NOON
from tests.unit.state.test_kpis import Room

KEYS = UNPREFIXED


@pytest.fixture
async def redis(redis_server: servers.Redis) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


def kept(redis: Redis, room: Room) -> KeptFigures:
    nodes = Nodes(stale_after=6_000)
    return KeptFigures(redis, room.kpis, nodes, clock=lambda: room.now, writes=lambda: True)


def a_quarter_of_an_hour() -> Room:
    """Three calls were up at once; one was answered, one busy, one is up."""
    room = Room(NOON)
    for number in ("1", "2", "3"):
        room.say("setup", number, trunk="gw-a")
    room.now += 60_000
    room.say("answered", "1", trunk="gw-a")
    room.say("ended", "1", trunk="gw-a", outcome="answered")
    room.say("failed", "2", trunk="gw-a", outcome="busy", sip_code=486)
    room.now += 840_000
    return room


async def after_restart(redis: Redis, room: Room, pause: int = 3_000) -> Room:
    first = kept(redis, room)
    await first.load()
    await first.write()
    again = Room(room.now + pause)
    await kept(redis, again).load()
    return again


async def test_peaks_and_the_window_survive_a_restart(redis: Redis) -> None:
    room = a_quarter_of_an_hour()
    before = {company: room.of(company) for company in (None, "101")}
    again = await after_restart(redis, room)
    for company, was in before.items():
        now = again.of(company)
        for name in ("concurrent_peak", "cps_peak", "offered", "asr", "ner", "acd_seconds",
                     "pdd_p95_ms", "completed", "window_seconds"):  # fmt: skip
            assert now[name] == was[name], (company, name)
    assert again.of()["companies"] == [("101", 0, 3)]
    assert [trunk[:4] for trunk in again.of()["trunks"]] == [("gw-a", 0, 3, 2)]
    assert again.of("101")["offered"] == 2


def test_each_counter_of_a_bucket_is_kept() -> None:
    assert {"at", *COUNTERS} == set(vars_of(Bucket(0)))


def vars_of(bucket: Bucket) -> list[str]:
    """Its attributes, also where it is compiled."""
    return [name for name in dir(bucket) if not name.startswith("_")
            and not callable(getattr(bucket, name))]  # fmt: skip


async def test_after_a_long_pause_the_window_begins_anew(redis: Redis) -> None:
    """What ended meanwhile may be unknown. The day's peaks are still true."""
    again = await after_restart(redis, a_quarter_of_an_hour(), MOST_PAUSE_MS + 1)
    figures = again.of()
    assert (figures["offered"], figures["window_seconds"]) == (0, 0)
    assert (figures["concurrent_peak"], figures["asr"]) == (3, None)


async def test_what_was_stored_and_edited_is_left_out(redis: Redis) -> None:
    room = a_quarter_of_an_hour()
    first = kept(redis, room)
    await first.load()
    await first.write()
    edits: list[Any] = [b"{", b"[]", b'{"live":-1}', b'{"live":"3","cps":1e400}',
                        b'{"live":true,"trunks":{"gw-a":"x"}}']  # fmt: skip
    day = room.now // 86_400_000
    bucket = room.now // BUCKET_MS
    for number, edit in enumerate(edits):
        await redis.hset(f"{KEYS.peaks}{day}", f"edited-{number}", edit)
        await redis.hset(f"{KEYS.window}{bucket}", f"edited-{number}", edit)
    await redis.hset(KEYS.nodes, "seen", b'{"n1":"x"}')
    await redis.set(f"{KEYS.window}{bucket - 1}", "no hash")
    again = Room(room.now + 1_000)
    await kept(redis, again).load()
    assert again.of()["concurrent_peak"] == 3
    assert again.of("edited-3")["offered"] == 0


async def test_a_write_sends_what_changed_and_all_of_it_expires(redis: Redis) -> None:
    room = a_quarter_of_an_hour()
    figures = kept(redis, room)
    await figures.load()
    await figures.write()
    names = {name.decode() for name in await redis.keys("*")}
    assert len(names) <= 2 + 2 * BUCKETS + SLOTS
    assert [await redis.ttl(name) for name in names if await redis.ttl(name) < 0] == []
    (peaks,) = (name for name in names if name.startswith(KEYS.peaks))
    await redis.delete(peaks)
    await figures.write()
    assert not await redis.exists(peaks), "nothing has changed since"
    await redis.flushall()
    await figures.write()
    assert {name.decode() for name in await redis.keys("*")} == names, "all of it, after a wipe"


async def test_a_standby_and_an_instance_that_has_not_read_write_nothing(redis: Redis) -> None:
    room = a_quarter_of_an_hour()
    await kept(redis, room).write()
    standby = KeptFigures(
        redis, room.kpis, Nodes(stale_after=1), clock=lambda: room.now, writes=lambda: False
    )
    await standby.load()
    await standby.write()
    assert await redis.keys("*") == []


def test_a_cdr_of_before_the_window_is_not_in_its_asr() -> None:
    room = Room(NOON)
    room.say("failed", "1", outcome="failed", ended_at=NOON - 60_000)
    room.now += 5_000
    room.say("failed", "2", outcome="busy", ended_at=NOON + 1_000)
    assert room.of()["offered"] == 1
    room.now += 3_600_000
    room.say("failed", "3", outcome="busy", ended_at=NOON + 2_000)
    assert room.of()["offered"] == 0


@pytest.mark.slow
async def test_after_a_restart_the_age_counts_from_when_nodes_last_spoke(tmp_path: Path) -> None:
    """A service that is started beside a dead node must not show its calls as fresh."""
    world = World(tmp_path / "keys")
    async with world.nats, world.redis:
        service = world.service(NODE_STALE_SECONDS="2", READY_SECONDS="1")
        async with service, await Node.connect(world.nats.url) as node:
            await service.until_ready()
            await node.call("1.1", company_id="101")
            client = Redis.from_url(world.redis.url)
            async with asyncio.timeout(30):
                while node.name not in await _nodes(client):
                    await asyncio.sleep(0.1)
            node.silence()
            silent_at = now_ms()
            await asyncio.sleep(3)  # the age to tell: more than what a start takes to notice
            await service.kill()
            await service.start()
            async with await Stream.open(service.url, service.token()) as stream:
                await stream.until(lambda s: _stale_since(s) is not None, 30)
                assert _stale_since(stream) <= silent_at + 1_000
            await client.aclose()


async def _nodes(client: Redis) -> dict[str, int]:
    stored = await client.hget(KEYS.nodes, "seen")
    return dict(orjson.loads(stored)) if stored else {}


def _stale_since(stream: Stream) -> Any:
    beats = stream.named("heartbeat")
    return beats[-1].get("stale_since") if beats else None
