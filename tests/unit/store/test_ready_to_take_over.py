"""A warm engine is ready (``/readyz``) once its takeover would be quick: a deploy waits for that
before it stops the one that leads."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis as Client

from livestate.devtools.servers import Redis
from livestate.store import following
from livestate.store.keys import UNPREFIXED
from tests.unit.store.test_following import World, hurried, redis, world

__all__ = ["hurried", "redis", "world"]  # fixtures


async def test_it_is_not_ready_while_many_calls_would_have_to_be_merged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.following.not_at_hand() is None
    monkeypatch.setattr(following, "MOST_DIFFERING", 3)
    world.happen(60, heard=False)
    await world.until(world.following.not_at_hand)
    assert not world.following.status()["at_hand"]
    for key, call in world.leader.table.calls.items():  # the node's list names them
        world.warm.table.calls[key] = call
        if world.following.stored is not None:
            world.following.stored.touch((key,))
    await world.until(lambda: world.following.not_at_hand() is None)
    assert world.following.at_hand
    await world.right()
    await world.takes_over()


async def test_it_is_not_ready_before_the_table_was_read(world: World) -> None:
    world.following.let_go()
    assert world.following.not_at_hand()
    await world.until(lambda: world.following.at_hand)
    assert world.following.not_at_hand() is None


async def test_it_is_not_ready_while_it_takes_over(world: World) -> None:
    world.warm.projection.claim.restoring = True
    assert world.following.not_at_hand() == "taking over"


async def test_it_is_ready_all_the_same_where_it_cannot_follow_and_says_why(
    world: World, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that leads is of a version without the stream. A deploy must not wait for ever;
    the takeover costs more."""
    monkeypatch.setattr(world.leader.projection, "_log", ())
    async with Client.from_url(redis.url) as client:
        await client.delete(UNPREFIXED.flushes)
    world.following.let_go()
    assert world.following.not_at_hand()
    await world.until(lambda: world.following.trouble)
    assert world.following.not_at_hand() is None
    assert world.following.status()["trouble"]
    assert not world.following.at_hand


async def test_it_is_ready_after_two_minutes_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_DIFFERING", -1)
    await world.until(world.following.not_at_hand)
    monkeypatch.setattr(following, "AT_HAND_SECONDS", 0.0)
    assert world.following.not_at_hand() is None
