"""What is done to Redis, and to Valkey: never on the path of a client, and healed without help."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from livestate.devtools import servers
from livestate.devtools.child_process import free_port
from livestate.store.keys import UNPREFIXED
from livestate.store.loader import load
from tests.conftest import absent
from tests.faults.conftest import Rigs, Row
from tests.faults.probe import Probe
from tests.faults.rig import Rig
from tests.harness import Stream, metrics, snapshot
from tests.redis_world import Sentinel, replicate

CALLS, META, SCOPES = UNPREFIXED.calls, UNPREFIXED.meta, UNPREFIXED.scopes
STOPPED_SECONDS = float(os.environ.get("REDIS_STOPPED_SECONDS", "20"))
DRIFTS = "livestate_redis_drifts_total"
P99_SECONDS = 1.0


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> type[servers.Redis]:
    if request.param == "valkey":
        return servers.Valkey
    return servers.Redis if servers.redis_program() else absent("redis-server")


FIRST = "local key = redis.call('HKEYS', KEYS[1])[1] "
EDITS: dict[str, Callable[[RedisClient], Awaitable[Any]]] = {
    "FLUSHALL": lambda redis: redis.flushall(),
    "one ZREM": lambda redis: redis.eval(
        FIRST + "return redis.call('ZREM', KEYS[2], key)", 2, CALLS, "active_calls"),
    "one HDEL": lambda redis: redis.eval(
        FIRST + "return redis.call('HDEL', KEYS[1], key)", 1, CALLS),
    "one record edited": lambda redis: redis.eval(
        FIRST + "local record = redis.call('HGET', KEYS[1], key) "
        "return redis.call('HSET', KEYS[1], key, (string.gsub(record, 'node', 'nude')))", 1, CALLS),
    "active_calls a string": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1, "active_calls"),
    "the epoch deleted": lambda redis: redis.hdel(META, "epoch"),
    "the secret replaced": lambda redis: redis.hset(META, "secret", "0" * 32),
    "the fence deleted": lambda redis: redis.hdel(META, "fence"),
    "the scopes deleted": lambda redis: redis.delete(SCOPES),
    "a version raised": lambda redis: redis.hincrby(SCOPES, "version:", 1000),
    "a time to live": lambda redis: redis.expire("active_calls", 3600),
}  # fmt: skip


async def test_R_what_was_done_to_redis_by_hand_is_noticed_and_healed(
    rigs: Rigs, row: Row, server: type[servers.Redis]
) -> None:
    async with rigs(redis=server) as rig:
        await asyncio.sleep(2)
        pid, shown = rig.service.pid, _snapshots(rig)
        async with Probe(rig) as probe:
            for what, done in EDITS.items():
                rig.load.hold()  # or the next change of that call mends it, uncounted
                await rig.redis_is_memory()
                before, began = await metrics(rig.service), time.monotonic()
                async with RedisClient.from_url(rig.redis.url) as redis:
                    await done(redis)
                row.inject(what)
                await rig.risen(DRIFTS, before, 30)
                await rig.redis_is_memory()
                row.heals(time.monotonic() - began)
                rig.load.go_on()
                await probe.delay()
            row.inject("restarted with a dump of 3 s ago")
            old = rig.redis.data.with_name("old")
            shutil.copytree(rig.redis.data, old)
            await asyncio.sleep(3)
            before = await metrics(rig.service)
            await rig.redis.kill()
            shutil.rmtree(rig.redis.data)
            old.rename(rig.redis.data)
            await rig.redis.start()
            await rig.risen("livestate_redis_rewrites_total", before, 30)
        rig.load.hold()
        row.heals(await rig.redis_is_memory())
        rig.load.go_on()
        assert (rig.service.pid, _snapshots(rig)) == (pid, shown), "no wall and nobody noticed"
        await rig.holds()


KILLED: dict[str, Callable[[RedisClient], Awaitable[Any]]] = {
    "the secret replaced": EDITS["the secret replaced"],
    "the secret deleted": lambda redis: redis.hdel(META, "secret"),
    "the meta deleted": lambda redis: redis.delete(META),
    "the scopes deleted": EDITS["the scopes deleted"],
    "a version lowered": lambda redis: redis.hincrby(SCOPES, "version:", -20),
    "active_calls a string": EDITS["active_calls a string"],
}  # fmt: skip


@pytest.mark.timeout(300)
async def test_R_a_kill_right_after_an_edit_loses_and_renames_no_call(rigs: Rigs, row: Row) -> None:
    async with rigs() as rig:
        await asyncio.sleep(2)
        for what, done in KILLED.items():
            rig.load.hold()
            await rig.redis_is_memory()
            keys = set((await snapshot(rig.service, rig.service.token()))["calls"])
            row.inject(f"{what}, and SIGKILL of the service")
            async with RedisClient.from_url(rig.redis.url) as redis:
                await done(redis)
            await rig.service.kill()
            await rig.service.start()
            row.heals(await rig.until(rig.right, 10, rig._difference))
            assert set((await snapshot(rig.service, rig.service.token()))["calls"]) == keys, what
            assert (await metrics(rig.service))["livestate_calls_lost_total"] == 0, what
            await rig.redis_is_memory()
            rig.load.go_on()
        await rig.holds()


@pytest.mark.parametrize("seconds", [1.5, 8])
async def test_R_V_redis_is_away_while_the_service_starts(
    rigs: Rigs, row: Row, seconds: float
) -> None:
    async with rigs() as rig:
        await asyncio.sleep(2)
        row.inject(f"SIGKILL of service and Redis; Redis is back {seconds:g} s after the service")
        rig.load.hold()
        await rig.redis_is_memory()
        keys = set((await snapshot(rig.service, rig.service.token()))["calls"])
        await rig.service.kill()
        await rig.redis.kill()
        await rig.service.start()
        await asyncio.sleep(seconds)
        await rig.redis.start()
        row.heals(await rig.until(rig.right, 10, rig._difference))
        row.note(f"Redis is memory after {await rig.redis_is_memory():.1f} s")
        async with asyncio.timeout(5):
            while set((await snapshot(rig.service, rig.service.token()))["calls"]) != keys:
                await asyncio.sleep(0.1)
        rig.load.go_on()
        # Until a late Redis gave them back, the calls had other keys.
        await rig.holds(revived=seconds > 5)


def _snapshots(rig: Rig) -> int:
    return sum(wall.frames["snapshot"] for wall in rig.walls)


@pytest.mark.parametrize("seconds", [5, pytest.param(STOPPED_SECONDS, marks=pytest.mark.slow)])
async def test_R_diffs_flow_while_redis_is_stopped(rigs: Rigs, row: Row, seconds: float) -> None:
    async with rigs() as rig, Probe(rig) as probe:
        row.inject(f"Redis stopped by SIGSTOP for {seconds:g} s")
        rig.redis.pause()
        row.note(f"p99 {await _p99(probe, seconds):.3f} s")
        rig.redis.resume()
        await probe.end()
        row.heals(await rig.holds())


async def test_R_a_redis_that_takes_no_writes_is_written_all_or_nothing(
    rigs: Rigs, row: Row, server: type[servers.Redis]
) -> None:
    async with rigs(redis=server) as rig, RedisClient.from_url(rig.redis.url) as redis:
        await asyncio.sleep(2)
        nobody = str(free_port())
        bad: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
            "out of memory": (("CONFIG", "SET", "maxmemory", "1"),
                              ("CONFIG", "SET", "maxmemory", "0")),
            "READONLY, a replica of nobody": (("REPLICAOF", "127.0.0.1", nobody),
                                              ("REPLICAOF", "NO", "ONE")),
        }  # fmt: skip
        async with Probe(rig) as probe:
            for what, (do, undo) in bad.items():
                row.inject(what)
                before = await metrics(rig.service)
                await redis.execute_command(*do)
                row.note(f"p99 {await _p99(probe, 3):.3f} s")
                await rig.risen("livestate_redis_flush_failures_total", before)
                await _whole(redis)
                await redis.execute_command(*undo)
                rig.load.hold()
                row.heals(await rig.redis_is_memory())
                rig.load.go_on()
        await rig.holds()


async def test_R_a_failover_that_loses_the_last_writes_is_noticed(
    rigs: Rigs, row: Row, server: type[servers.Redis]
) -> None:
    async with rigs(redis=server) as rig, server() as replica:
        async with RedisClient.from_url(replica.url) as redis, Probe(rig) as probe:
            await redis.execute_command("REPLICAOF", "127.0.0.1", str(rig.redis.port))
            async with asyncio.timeout(20):
                while (await redis.info("replication")).get("master_link_status") != "up":
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            await redis.execute_command("REPLICAOF", "NO", "ONE")
            await asyncio.sleep(2)  # what is written now is lost
            row.inject("the line moves to a replica that lacks the last 2 s")
            before = await metrics(rig.service)
            rig.redis_line.target = replica.port
            rig.redis_line.cut()
            row.note(f"p99 {await _p99(probe, 2):.3f} s")
            await rig.risen("livestate_redis_rewrites_total", before, 30)
        rig.redis, primary = replica, rig.redis
        rig.load.hold()
        row.heals(await rig.redis_is_memory())
        rig.load.go_on()
        await rig.holds()
        rig.redis = primary


async def test_R_V_sentinels_promote_a_replica_under_load(
    rigs: Rigs, row: Row, server: type[servers.Redis]
) -> None:
    """The primary hangs; what it had not sent to the replica is lost."""
    async with contextlib.AsyncExitStack() as stack:
        primary, replica = [await stack.enter_async_context(server()) for _ in range(2)]
        await replicate(primary, replica)
        sentinels = [Sentinel(primary, quorum=2) for _ in range(3)]
        for sentinel in sentinels:
            await stack.enter_async_context(sentinel)
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
        url = f"redis+sentinel://{hosts}/mymaster"
        rig = await stack.enter_async_context(rigs(redis=server, REDIS_URL=url))
        probe = await stack.enter_async_context(Probe(rig))
        own, rig.redis = rig.redis, primary
        await rig.redis_is_memory()
        async with RedisClient.from_url(primary.url) as redis:
            await redis.config_set("client-output-buffer-limit", "replica 1 1 1")
            await redis.client_kill_filter(_type="replica")  # the link, while writes go on
        before = await metrics(rig.service)
        row.inject("the primary is stopped by SIGSTOP; three Sentinels promote its replica")
        primary.pause()
        row.note(f"p99 {await _p99(probe, 5):.3f} s")
        await rig.risen("livestate_redis_rewrites_total", before, 30)
        rig.redis = replica
        rig.load.hold()
        row.heals(await rig.redis_is_memory())
        rig.load.go_on()
        row.inject("the former primary is back")
        primary.resume()
        await asyncio.sleep(2)
        rig.load.hold()
        row.heals(await rig.redis_is_memory())
        rig.load.go_on()
        await probe.end()
        await rig.holds()
        rig.redis = own


async def test_R_new_streams_open_while_redis_takes_no_more_clients(rigs: Rigs, row: Row) -> None:
    async with rigs() as rig, RedisClient.from_url(rig.redis.url) as redis:
        row.inject("maxclients 1, and that one is taken; our connections cut")
        await redis.config_set("maxclients", "1")
        rig.redis_line.cut()
        await asyncio.sleep(1)
        token = rig.service.token(subject="new")
        for _ in range(20):
            async with await Stream.open(rig.caddy.url, token) as stream:
                await stream.until(lambda s: s.named("heartbeat"))
        await redis.config_set("maxclients", "1000")
        row.heals(await rig.holds())


async def test_R_replies_of_redis_that_are_lost_write_nothing_twice(rigs: Rigs, row: Row) -> None:
    async with rigs() as rig:
        before = await metrics(rig.service)
        row.inject("20 answers of Redis vanish with their connections")
        for n in range(20):
            rig.redis_line.rob()
            await rig.until(
                lambda n=n: rig.redis_line.robbed > n, 10, lambda: f"{rig.redis_line.robbed} robbed"
            )
        rig.load.hold()
        row.heals(await rig.redis_is_memory())
        rig.load.go_on()
        assert (await metrics(rig.service))[DRIFTS] == before[DRIFTS], "seen through, not healed"
        await rig.holds()


async def _p99(probe: Probe, seconds: float) -> float:
    delays = await probe.delays(seconds)
    worst = delays[int(0.99 * len(delays))]
    assert worst < P99_SECONDS, delays[-5:]
    return worst


async def _whole(redis: RedisClient) -> None:
    """What is stored is of one moment: every member has its record, every record its member."""
    stored = await load(redis)
    assert stored is not None
    members = {key.decode() for key in await redis.zrange("active_calls", 0, -1)}
    assert members == {call.key for call, _ in stored.calls if call.live}
    assert stored.unusable == 0
