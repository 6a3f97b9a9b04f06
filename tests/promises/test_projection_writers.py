"""Promise R with several instances: one writes; when its lease ends, another follows."""

from __future__ import annotations

import asyncio
import copy

import pytest

from livestate.process.tasks import cancel_and_wait
from livestate.store.lease import ENGINE_TERMS, Terms
from tests.promises.projection import (
    META,
    WRITER,
    Make,
    settled,
)


async def test_a_writer_that_was_stopped_for_long_is_fenced_off(make: Make) -> None:
    old, new = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    old.churn(50)
    await old.projection.flush()
    await old.redis.delete(WRITER)  # its lease is over, and it does not know
    new.churn(70)
    await new.projection.flush()
    old.churn(20)
    await old.projection.flush()
    assert old.projection.standby
    assert old.projection.stats.refused_by_fence == 1
    await new.agrees()
    new.churn(20)
    await new.projection.flush()
    await new.agrees()


async def test_a_standby_takes_over_when_the_writer_leaves(make: Make) -> None:
    writer, standby = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    writing = asyncio.create_task(writer.projection.run())
    writer.churn(50)
    await settled(writer)
    standing_by = asyncio.create_task(standby.projection.run())
    standby.churn(80)
    await asyncio.sleep(0.6)  # it asks meanwhile
    assert standby.projection.standby
    await writer.agrees()
    writer.projection.stop()
    await asyncio.wait_for(writing, 3)
    await settled(standby)
    await standby.agrees()
    standby.projection.stop()
    await asyncio.wait_for(standing_by, 3)


async def test_no_two_instances_share_the_name_of_a_writer(make: Make) -> None:
    """Cloned machines have one host name and one address: neither is the other's successor."""
    one, twin = make(epoch="a" * 16), make(epoch="b" * 16)
    for world in (one, twin) * 20:
        world.churn(20)
        await world.projection.flush()
    assert twin.projection.standby
    assert one.projection.stats.refused_by_fence == 0
    assert (one.projection.stats.rewrites, twin.projection.stats.rewrites) == (1, 0)
    assert twin.projection.lease.writer == one.projection.lease.holder
    await one.agrees()


async def test_a_machine_cloned_while_it_runs_stands_by_for_its_clone(make: Make) -> None:
    """Both have the lease, the fence and the flush number in memory."""
    one, twin = make(epoch="a" * 16), make(epoch="a" * 16)
    one.churn(50)
    twin.churn(50)
    await one.projection.flush()
    vars(twin.projection.lease).update(
        {name: value for name, value in vars(one.projection.lease).items()
         if name in ("holder", "writer", "fence", "_seen", "_tried")}
    )  # fmt: skip
    for name in ("_written", "_flush", "_whole", "_unanswered"):
        setattr(twin.projection, name, copy.deepcopy(getattr(one.projection, name)))
    for world in (one, twin) * 20:
        world.churn(20)
        await world.projection.flush()
    writer, standby = (one, twin) if twin.projection.standby else (twin, one)
    assert standby.projection.standby
    assert not writer.projection.standby
    fencings = sum(world.projection.stats.refused_by_fence for world in (one, twin))
    rewrites = sum(world.projection.stats.rewrites for world in (one, twin))
    assert (fencings, rewrites) == (1, 2), "once it is found out, and never again"
    await writer.agrees()


async def test_a_killed_writer_is_followed_when_its_lease_ends(make: Make) -> None:
    killed, again = make(epoch="a" * 16), make(epoch="a" * 16)
    killed.churn(50)
    await killed.projection.flush()
    again.churn(30)
    await again.projection.flush()
    assert again.projection.standby
    await again.redis.pexpire(WRITER, 1)
    while await again.redis.exists(WRITER):
        await asyncio.sleep(0.01)
    await again.projection.flush()
    await again.agrees()


async def test_the_longer_lease_of_an_earlier_version_counts(make: Make) -> None:
    older, newer = make(epoch="a" * 16), make(terms=ENGINE_TERMS, epoch="b" * 16, holder="there")
    older.churn(50)
    await older.projection.flush()
    assert await older.redis.pttl(WRITER) > 3 * ENGINE_TERMS.lease_ms
    newer.churn(30)
    await newer.projection.flush()
    assert newer.projection.standby
    await older.agrees()


async def test_a_writer_that_renews_keeps_a_short_lease_without_a_flush(make: Make) -> None:
    terms = Terms(lease_ms=60_000, renew_seconds=0.02)
    writer, other = make(terms=terms), make(terms=terms, epoch="b" * 16, holder="there")
    await writer.projection.flush()
    fence = writer.projection.lease.fence
    await writer.redis.delete(WRITER)  # it has expired, and nobody has claimed it
    keeping = asyncio.create_task(writer.projection.keep_lease())
    try:
        async with asyncio.timeout(20):
            while not await writer.redis.exists(WRITER):
                await asyncio.sleep(0.01)
        await other.projection.flush()
        assert other.projection.standby
        assert writer.projection.lease.fence == fence
        await writer.redis.delete(WRITER)
        while other.projection.standby:  # unless the renewal comes first
            await writer.redis.delete(WRITER)
            await other.projection.flush()
        async with asyncio.timeout(20):
            while not writer.projection.standby:
                await asyncio.sleep(0.01)
    finally:
        await cancel_and_wait(keeping)


@pytest.mark.parametrize("edited", [None, "1", "none", str(2**53)])
async def test_an_edited_fence_costs_an_engine_no_lease(make: Make, edited: str | None) -> None:
    """The lease is renewed several times between two flushes, and only a flush counts drifts."""
    writer = make(terms=Terms(lease_ms=60_000, renew_seconds=0.02))
    for _ in range(2):
        writer.projection.lease.lose()
        await writer.projection.flush()
    fence = writer.projection.lease.fence
    if edited is None:
        await writer.redis.hdel(META, "fence")
    else:
        await writer.redis.hset(META, "fence", edited)
    await writer.redis.delete(WRITER)
    keeping = asyncio.create_task(writer.projection.keep_lease())
    try:
        async with asyncio.timeout(20):
            while not await writer.redis.exists(WRITER):  # it is renewed
                await asyncio.sleep(0.01)
    finally:
        await cancel_and_wait(keeping)
    assert (writer.projection.standby, writer.projection.lease.fence) == (False, fence)
    writer.churn(10)
    for _ in range(2):  # the first one notices, the second one writes everything again
        await writer.projection.flush()
    await writer.agrees()
    assert writer.projection.stats.drifts == 1


async def test_a_lease_without_expiry_is_replaced(make: Make) -> None:
    world = make()
    await world.redis.set(WRITER, "somebody long gone")
    world.churn(50)
    await world.projection.flush()
    await world.agrees()


async def test_a_fence_grows_even_when_redis_has_forgotten_it(make: Make) -> None:
    old, new = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    for _ in range(3):
        await old.projection.flush()
        old.projection.lease.lose()
    await old.projection.flush()
    await new.projection.flush()
    assert new.projection.standby
    await old.redis.flushall()
    await new.projection.flush()
    assert new.projection.lease.fence > old.projection.lease.fence
    new.churn(30)
    await new.projection.flush()
    await old.projection.flush()
    assert old.projection.standby
    await new.agrees()


@pytest.mark.slow
async def test_a_fence_raised_by_hand_stops_no_writer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.churn(100)
    running = asyncio.create_task(world.projection.run())
    await settled(world)
    for fence in (1_000, 2**52 - 9, 2**53, 10**17):
        await world.redis.hset(META, "fence", fence)
        rewrites = world.projection.stats.rewrites
        async with asyncio.timeout(5):
            while world.projection.stats.rewrites == rewrites:
                world.churn(1)
                await asyncio.sleep(0.02)
        await settled(world)
        await world.agrees()
    world.projection.stop()
    await asyncio.wait_for(running, 3)
