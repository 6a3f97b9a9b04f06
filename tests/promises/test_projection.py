"""Promise R: Redis holds what memory holds after every flush, whatever is done to either.

On a real Valkey and a real Redis 7, killed, wiped, edited, full, and behind a line that loses
replies.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from livestate.devtools.servers import Redis, Valkey
from livestate.state.position import position_at
from livestate.store import projection as projection_module
from livestate.store.loader import load
from livestate.store.projection import CALLS_A_PART
from tests.calls import event
from tests.faults.fault_proxy import FaultProxy
from tests.promises.projection import (
    Make,
    World,
    settled,
)


async def test_after_every_flush_redis_is_memory(make: Make) -> None:
    world = make()
    for _ in range(40):
        world.churn(world.chance.randrange(60))
        await world.projection.flush()
        await world.agrees()
    assert world.projection.stats.rewrites == 1  # the first; everything else was what changed
    assert world.projection.stats.drifts == 0


async def test_companies_that_are_evicted_are_gone_from_redis(make: Make) -> None:
    world = make()
    world.note(world.table.apply(event("answered", 1, dialog="1.1", company_id="stays"), 1))
    for n in range(300):
        named = {"dialog": f"{n}.9", "company_id": f"made-up-{n}"}
        world.note(world.table.apply(event("answered", 2 * n + 2, **named), 2))
        world.note(world.table.apply(event("ended", 2 * n + 3, **named), 2))
    await world.projection.flush()
    loaded = await load(world.redis)
    assert loaded is not None
    assert len(loaded.scopes) == 302
    world.projection.forget(world.table.trim(1_000, 0))
    assert len(world.table.views.evict(5)) == 295
    await world.projection.flush()
    loaded = await load(world.redis)
    assert loaded is not None
    assert len(loaded.scopes) == 2 + 5
    assert {"", "stays"} < set(loaded.scopes)
    await world.agrees()


async def test_thousands_of_calls_come_end_and_are_forgotten_in_one_flush_each(make: Make) -> None:
    world = make()
    await world.projection.flush()
    for phase, seq in (("answered", 1), ("ended", 10_000)):
        for n in range(CALLS_A_PART):
            one = event(phase, seq + n, dialog=f"{n}.1", call_id=f"c{n}")
            world.note(world.table.apply(one, seq))
        await world.projection.flush()
        await world.agrees()
    world.projection.forget(world.table.trim(20_000, 0))
    assert not world.table.calls
    await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.rewrites == 1  # the first


async def test_parts_of_a_flush_that_is_cut_off_come_with_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "CALLS_A_PART", 5)
    world = make()
    await world.projection.flush()
    world.churn(200)
    send, sent = world.projection._send, 0

    async def cut_off(*arguments: Any) -> bool:
        nonlocal sent
        sent += 1
        if sent == 3:
            raise ConnectionResetError
        return await send(*arguments)

    monkeypatch.setattr(world.projection, "_send", cut_off)
    with pytest.raises(ConnectionResetError):
        await world.projection.flush()
    world.churn(20)
    await world.projection.flush()
    await world.agrees()


async def test_the_numbers_of_many_companies_go_in_several_commands(make: Make) -> None:
    """14,000 companies with the longest names: 3.7 MB, which Redis would run in one go."""
    world = make()
    await world.projection.flush()
    trips = world.projection.stats.round_trips
    for number in range(1, 14_001):
        company = f"{number:05}" + "\U0001f4de" * 59
        fields = {"dialog": f"{number}.1", "call_id": f"c{number}", "company_id": company}
        world.note(world.table.apply(event("answered", number, **fields), number))
    await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.round_trips - trips >= 14_000 / CALLS_A_PART + 2
    world.projection._whole = True
    await world.projection.flush()
    await world.agrees()
    assert (world.projection.stats.drifts, world.projection.stats.failures) == (0, 0)


async def test_long_records_make_more_parts_and_are_all_there(make: Make) -> None:
    """2,500 calls with all the text that the contract allows: 20 MB, where Redis takes 3 MB."""
    world = make()
    await world.redis.config_set("client-query-buffer-limit", 3 * 1024**2)
    try:
        await world.projection.flush()
        trips = world.projection.stats.round_trips
        text = dict.fromkeys(
            ("from", "to", "from_uri", "to_uri", "sip_reason", "detail"), "\1" * 256
        )
        for number in range(1, 2_501):
            fields = text | {"dialog": f"{number}.1", "call_id": f"c{number}", "company_id": "101"}
            world.note(world.table.apply(event("answered", number, **fields), number))
        await world.projection.flush()
        await world.agrees()
        assert world.projection.stats.round_trips - trips >= 10
        world.projection._whole = True
        await world.projection.flush()
        await world.agrees()
        assert world.projection.stats.drifts == 0
    finally:
        await world.redis.config_set("client-query-buffer-limit", 1024**3)


async def test_a_full_redis_writes_nothing_by_halves() -> None:
    async with Valkey() as server:
        world = World(server.url)
        world.churn(100)
        await world.projection.flush()
        before = await load(world.redis)
        await world.redis.config_set("maxmemory", "1mb")
        await world.redis.config_set("maxmemory-policy", "noeviction")
        world.churn(100)
        with pytest.raises(Exception, match="maxmemory"):
            await world.projection.flush()
        assert await load(world.redis) == before
        await world.redis.config_set("maxmemory", "0")
        await world.projection.flush()
        await world.agrees()
        await world.close()


async def test_a_killed_redis_goes_on_where_it_was(make: Make, redis_server: Redis) -> None:
    world = make()
    running = asyncio.create_task(world.projection.run())
    world.churn(100)
    await settled(world)
    await redis_server.kill()
    world.churn(100)
    await asyncio.sleep(0.3)
    await redis_server.start()
    await settled(world)
    await world.agrees()
    world.projection.stop()
    await asyncio.wait_for(running, 3)


async def test_calls_that_come_and_are_forgotten_while_redis_is_away_do_not_wait_for_it(
    make: Make, redis_server: Redis
) -> None:
    world = make()
    world.churn(50)
    await world.projection.flush()
    written = len(world.table.calls)
    await redis_server.kill()
    for _ in range(20):
        world.churn(300)
        everything = world.table.sweeps.close_missing(
            "n1", position_at(1, world.seq, True), set(), 1
        )
        for change in everything:
            world.note(change)
        world.projection.forget(world.table.trim(0, 10))
        with pytest.raises(Exception, match=r"(?i)connect|closed|reset"):
            await world.projection.flush()
    assert world.projection.dirty <= written + len(world.table.calls)
    await redis_server.start()
    for _ in range(3):
        await world.projection.flush()
    await world.agrees()


async def test_what_is_on_its_way_to_redis_is_not_yet_there(
    make: Make, redis_server: Redis
) -> None:
    world = make()
    await world.projection.flush()
    world.churn(50)
    changed = world.projection.dirty
    redis_server.pause()
    flushing = asyncio.create_task(world.projection.flush())
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert world.projection.dirty == changed
    redis_server.resume()
    await flushing
    assert world.projection.dirty == 0
    await world.agrees()


@pytest.mark.slow
async def test_a_redis_that_hangs_stops_no_fold(make: Make, redis_server: Redis) -> None:
    world = make()
    running = asyncio.create_task(world.projection.run())
    world.churn(50)
    await settled(world)
    redis_server.pause()
    started = asyncio.get_running_loop().time()
    world.churn(500)
    await asyncio.sleep(0.2)
    assert asyncio.get_running_loop().time() - started < 1
    world.projection.stop()
    await asyncio.wait_for(running, 8)  # its own time-outs end it
    redis_server.resume()


async def test_a_lost_reply_writes_nothing_twice_and_nothing_never(redis_server: Redis) -> None:
    async with FaultProxy(redis_server.port) as line:
        world = World(f"redis://127.0.0.1:{line.port}/0")
        world.churn(50)
        await world.projection.flush()
        for _ in range(5):
            world.churn(30)
            line.rob()
            with pytest.raises(Exception, match=r"(?i)connection|closed"):
                await world.projection.flush()
            world.churn(10)
            await world.projection.flush()
            await world.agrees()
        assert line.robbed == 5
        assert world.projection.stats.drifts == 0  # seen through, not healed by brute force
        await world.close()
