"""A leader that stood still for longer than its lease does not believe in it until it has asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from livestate.devtools.servers import Redis, Valkey
from livestate.process.tasks import cancel_and_wait
from livestate.redis.connection import connect
from livestate.store.claim import Claim
from livestate.store.keys import UNPREFIXED
from livestate.store.lease import Terms

TERMS = Terms(300, 0.05, 0.05)
STANDSTILL_SECONDS = 0.5


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with Valkey() as server:
        yield server


@pytest.fixture
async def leader(redis: Redis) -> AsyncIterator[Claim]:
    client = connect(redis.url)

    async def restore() -> None:
        raise AssertionError("there is nothing to restore")

    claim = Claim(client, "a", UNPREFIXED, TERMS, restore, continues=True)
    assert await claim.attempt(lambda: "", lambda: b"")
    task = asyncio.create_task(claim.keep(claim.lease.lose))
    await asyncio.sleep(0.1)
    yield claim
    await cancel_and_wait(task)
    await client.aclose()


def stand_still() -> None:
    """Hold the event loop, as SIGSTOP does."""
    time.sleep(STANDSTILL_SECONDS)


async def until_sure(claim: Claim) -> None:
    async with asyncio.timeout(10):
        while claim.doubtful:
            await asyncio.sleep(0.01)


async def test_it_doubts_at_once_and_is_sure_when_redis_has_answered(leader: Claim) -> None:
    assert not leader.doubtful
    stand_still()
    assert leader.doubtful
    await until_sure(leader)
    assert leader.writes, "no other instance has claimed it"


async def test_it_stands_by_where_another_one_has_claimed_the_lease(
    leader: Claim, redis: Redis
) -> None:
    other = connect(redis.url)
    await other.delete(UNPREFIXED.writer)
    await other.hincrby(UNPREFIXED.meta, "fence", 1)
    await other.set(UNPREFIXED.writer, "b")
    await other.aclose()
    stand_still()
    assert leader.doubtful
    assert not leader.writes
    await until_sure(leader)
    assert not leader.lease.fence


async def test_a_reply_from_before_does_not_settle_it(
    leader: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, reply = asyncio.Event(), asyncio.Event()

    async def renew() -> bool:
        asked.set()
        await reply.wait()
        reply.clear()
        return True

    monkeypatch.setattr(leader.lease, "renew", renew)
    await asked.wait()
    stand_still()
    asked.clear()
    reply.set()
    await asked.wait()
    assert leader.doubtful
    reply.set()
    await until_sure(leader)


async def test_it_goes_on_where_redis_is_away(leader: Claim, redis: Redis) -> None:
    """Then no other instance can take over either."""
    await redis.kill()
    stand_still()
    assert leader.doubtful
    await until_sure(leader)
    assert leader.lease.fence


async def test_a_redis_that_hangs_is_no_standstill(leader: Claim, redis: Redis) -> None:
    redis.pause()
    try:
        for _ in range(20):
            await asyncio.sleep(0.05)
            assert not leader.doubtful
    finally:
        redis.resume()
