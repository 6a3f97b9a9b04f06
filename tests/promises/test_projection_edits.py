"""Promise R: what is wiped, replaced or edited in Redis by hand is noticed and healed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from livestate.store import audit as audit_module
from livestate.store import projection as projection_module
from livestate.store.last_written import Written
from tests.promises.projection import (
    KEYS,
    META,
    SCOPES,
    Make,
    settled,
)

WIPES: dict[str, Callable[[RedisClient], Any]] = {
    "wiped": lambda redis: redis.flushall(),
    "the ZSET is gone": lambda redis: redis.delete("active_calls"),
    "the calls are gone": lambda redis: redis.delete("{active_calls}:calls"),
    "the meta is gone": lambda redis: redis.delete("{active_calls}:meta"),
    "one record is gone": lambda redis: redis.eval(
        "return redis.call('HDEL', KEYS[1], redis.call('HKEYS', KEYS[1])[1])", 1,
        "{active_calls}:calls"),
    "a foreign member": lambda redis: redis.zadd("active_calls", {"ghost": 1}),
    "a foreign tombstone": lambda redis: redis.hset("{active_calls}:ended", "ghost", "x"),
    "a key of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1, "active_calls"),
    "calls of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')", 1,
        "{active_calls}:calls"),
    "meta of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1,
        "{active_calls}:meta"),
    "meta with nonsense": lambda redis: redis.hset("{active_calls}:meta", "flush", "x"),
}  # fmt: skip


@pytest.mark.parametrize("what", WIPES)
async def test_what_was_done_to_redis_is_noticed_and_healed(make: Make, what: str) -> None:
    world = make()
    world.churn(150)
    await world.projection.flush()
    await WIPES[what](world.redis)
    for _ in range(3):  # an audit notices, the next flush writes everything
        await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.drifts == 1
    assert world.projection.stats.rewrites == 2


async def test_an_old_dump_that_comes_back_is_noticed(make: Make) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    names = [name async for name in world.redis.scan_iter()]
    dump = {name: await world.redis.dump(name) for name in names}
    world.churn(100)
    await world.projection.flush()
    await world.redis.flushall()
    for name, value in dump.items():
        await world.redis.restore(name, 0, value)
    await world.projection.flush()
    await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.drifts == 1


EDITS: dict[str, Callable[[RedisClient], Any]] = {
    "a state": lambda redis: redis.eval("""
        local key = redis.call('HKEYS', KEYS[2])[1]
        local record = redis.call('HGET', KEYS[2], key)
        return redis.call('HSET', KEYS[2], key, (string.gsub(record, '"node":"n1"', '"node":"n9"')))
    """, 3, *KEYS[:3]),
    "a record": lambda redis: redis.eval(
        "return redis.call('HSET', KEYS[2], redis.call('HKEYS', KEYS[2])[1], 'x')", 3, *KEYS[:3]),
    "a score": lambda redis: redis.eval(
        "return redis.call('ZADD', KEYS[1], 5, redis.call('ZRANGE', KEYS[1], 0, 0)[1])",
        3, *KEYS[:3]),
    "half a millisecond of a score": lambda redis: redis.eval(
        "return redis.call('ZINCRBY', KEYS[1], 0.5, redis.call('ZRANGE', KEYS[1], 0, 0)[1])",
        3, *KEYS[:3]),
    "a tombstone": lambda redis: redis.eval(
        "return redis.call('HSET', KEYS[3], redis.call('HKEYS', KEYS[3])[1], '{}')", 3, *KEYS[:3]),
    "the versions in a record": lambda redis: redis.eval("""
        local key = redis.call('HKEYS', KEYS[2])[1]
        local record = redis.call('HGET', KEYS[2], key)
        return redis.call('HSET', KEYS[2], key, (string.gsub(record, '"v":{', '"v":{"999":5,')))
    """, 3, *KEYS[:3]),
    "one member in place of another": lambda redis: redis.eval("""
        redis.call('ZREM', KEYS[1], redis.call('ZRANGE', KEYS[1], 0, 0)[1])
        return redis.call('ZADD', KEYS[1], 7, 'ghost')
    """, 3, *KEYS[:3]),
    "scopes deleted": lambda redis: redis.delete(SCOPES),
    "scopes of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1, SCOPES),
    "a version raised": lambda redis: redis.hincrby(SCOPES, "version:", 1_000_000),
    "a version lowered": lambda redis: redis.hincrby(SCOPES, "version:101", -3),
    "a version that is no number": lambda redis: redis.hset(SCOPES, "version:102", "many"),
    "a version deleted": lambda redis: redis.hdel(SCOPES, "version:"),
    "a version of nobody": lambda redis: redis.hset(SCOPES, "version:999", 5),
    "a version under another name": lambda redis: redis.eval(
        "redis.call('HDEL', KEYS[1], 'version:101') "
        "return redis.call('HSET', KEYS[1], 'version:999', 1)", 1, SCOPES),
    "the secret replaced": lambda redis: redis.hset(META, "secret", "0" * 32),
    "the secret deleted": lambda redis: redis.hdel(META, "secret"),
    "the copy of the secret": lambda redis: redis.hset(SCOPES, "copy:secret", "0" * 32),
    "the epoch replaced": lambda redis: redis.hset(META, "epoch", "f" * 16),
    "the fence deleted": lambda redis: redis.hdel(META, "fence"),
    "the fence lowered": lambda redis: redis.hset(META, "fence", 0),
    "a fence that is no number": lambda redis: redis.hset(META, "fence", "nan"),
    "a fence below zero": lambda redis: redis.hset(META, "fence", "-1e999"),
    "a fence beyond all numbers": lambda redis: redis.hset(META, "fence", "9" * 400),
    "the flush raised": lambda redis: redis.hincrby(META, "flush", 7),
    "the flush lowered": lambda redis: redis.hincrby(META, "flush", -1),
    "the calls over the ended ones": lambda redis: redis.copy(KEYS[1], KEYS[2], replace=True),
    "active_calls in another database": lambda redis: redis.move("active_calls", 5),
    "the position in cdr.raw": lambda redis: redis.hset(META, "cdr", "{}"),
    "a field of meta that we never wrote": lambda redis: redis.hset(META, "mine", "1"),
    "as_of and all else of meta": lambda redis: redis.delete(META),
    **{f"a time to live of {key}": lambda redis, key=key: redis.expire(key, 3600)
       for key in KEYS[:5]},
    **{f"{key} renamed": lambda redis, key=key: redis.rename(key, "elsewhere") for key in KEYS[:5]},
    "another database in its place": lambda redis: redis.swapdb(0, 7),
    "wiped, and the scripts forgotten": lambda redis: redis.eval(
        "return redis.call('FLUSHDB')", 0),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
async def test_what_was_edited_is_noticed_and_healed(
    make: Make, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "AUDIT_SECONDS", 0.02)
    world = make()
    world.churn(300)
    running = asyncio.create_task(world.projection.run())
    await settled(world)
    await EDITS[what](world.redis)
    if what.startswith("wiped"):
        await world.redis.script_flush()
    async with asyncio.timeout(5):
        while world.projection.stats.rewrites < 2:
            await asyncio.sleep(0.02)
    await settled(world)
    await world.agrees()
    assert world.projection.stats.drifts == 1
    world.projection.stop()
    await asyncio.wait_for(running, 3)


async def test_every_name_is_looked_at_within_the_promised_time() -> None:
    """Promise R says 30 s, however many calls there are."""
    written = Written(live=dict.fromkeys(map(str, range(200_000)), 0),
                      ended=dict.fromkeys(map(str, range(100_000)), 0))  # fmt: skip
    audits = audit_module._size(written) / max(
        audit_module.AN_AUDIT, audit_module._size(written) // audit_module.ROUND
    )
    assert (audits + 1) * projection_module.AUDIT_SECONDS < 25


async def test_an_audit_finds_nothing_where_nothing_is_wrong(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "AUDIT_SECONDS", 0.0)
    world = make()
    running = asyncio.create_task(world.projection.run())
    for _ in range(100):
        world.churn(30)
        await asyncio.sleep(0.01)
    await settled(world)
    await world.agrees()
    assert (world.projection.stats.rewrites, world.projection.stats.drifts) == (1, 0)
    world.projection.stop()
    await asyncio.wait_for(running, 3)
