"""Writes a whole table beside the stored one, for ``swap.lua`` to put in its place at once.

The projection calls it when Redis holds something unexpected. The table is written in slices to
keys of its own, so the old table stays complete until the swap, and a writer that stops half-way
leaves nothing visible: its keys expire after ``STAGED_SECONDS``.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from livestate.state.active_calls import ActiveCalls
from livestate.store.flush_parts import SCOPES_A_PART
from livestate.store.last_written import Batch, Written, batch_of, floors_of
from livestate.store.loader import COPIES

STAGE: Final = 1_000  # calls sent at a time
STAGED_SECONDS: Final = 600


async def stage(
    redis: Redis, table: ActiveCalls, keys: tuple[str, ...], numbers: dict[str, int]
) -> Written:
    """Write all calls of ``table`` to ``keys``, then ``numbers``; return what was written.

    The table goes on changing meanwhile. The caller keeps such calls dirty and writes them after
    the swap; only a floor that was raised meanwhile must not be missed, because the tombstones
    below it are gone from the table. So the floors are read last.

    Raises what the Redis client raises.
    """
    await redis.delete(*keys)
    written = Written()
    calls, at = list(table.calls), 0
    while at < len(calls):
        batch = await batch_of(table, calls[at : at + STAGE])
        at += batch.taken
        written.remember(batch)
        await _stage_calls(redis, keys, batch)
    numbers = numbers | floors_of(table)
    written.scopes = {name: str(number) for name, number in numbers.items()}
    return written


async def stage_scopes(redis: Redis, keys: tuple[str, ...], written: Written) -> None:
    """Write the numbers in ``written.scopes``, in parts. Raises what the Redis client raises."""
    scopes = list(written.scopes.items())
    for start in range(0, len(scopes), SCOPES_A_PART):
        part: Any = dict(scopes[start : start + SCOPES_A_PART])
        await redis.hset(keys[3], mapping=part)
    await redis.expire(keys[3], STAGED_SECONDS)


def repeated(meta: dict[str, str]) -> dict[str, str]:
    """Fields of ``scopes`` that repeat fields of ``meta``, in case those are edited."""
    return {COPIES + name: text for name, text in meta.items()}


async def _stage_calls(redis: Redis, keys: tuple[str, ...], batch: Batch) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        if batch.live:
            scores: Any = dict(zip(batch.live[::3], batch.live[1::3], strict=True))
            live: Any = dict(zip(batch.live[::3], batch.live[2::3], strict=True))
            pipe.zadd(keys[0], scores)
            pipe.hset(keys[1], mapping=live)
        if batch.ended:
            ended: Any = dict(zip(batch.ended[::2], batch.ended[1::2], strict=True))
            pipe.hset(keys[2], mapping=ended)
        for key in keys:
            pipe.expire(key, STAGED_SECONDS)
        await pipe.execute()
