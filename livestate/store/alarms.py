"""Keeps the alarms of the last 24 hours in Redis, and passes acknowledgements on between instances.

The instance that holds the writer's lease judges the figures and writes; a standby shows what that
one wrote. An acknowledgement that a standby takes is left in Redis for the writer. The keys expire
by themselves, so nothing here deletes more than an acknowledgement that was read:

- ``{active_calls}:alarms``: HASH, id → the alarm as JSON
- ``{active_calls}:acknowledged``: HASH, id → the company, the name and the time as JSON
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, Final, cast

import orjson
from redis.asyncio import Redis

from livestate.state.alarms.alarm import MOST_NAME_CHARS, Alarm, alarm_of
from livestate.state.alarms.board import KEPT_MS, MOST, Board
from livestate.store.keys import UNPREFIXED, Keys

log = logging.getLogger("livestate.redis")

EXPIRE_SECONDS: Final = 2 * KEPT_MS // 1000


class KeptAlarms:
    """The alarms of ``board`` in Redis. All methods raise what the Redis client raises."""

    def __init__(self, redis: Redis, board: Board, keys: Keys = UNPREFIXED) -> None:
        self._redis = redis
        self._board = board
        self._keys = keys
        self._loaded = False
        self._written: dict[str, bytes] = {}  # as they are in Redis

    async def load(self, now: int) -> None:
        """Restore what is stored, once."""
        if not self._loaded:
            alarms = await self._stored()
            self._board.restore(alarms, now)
            self._loaded = True

    async def follow(self, now: int) -> None:
        """Show what the writer stored: this instance is a standby."""
        self._board.replace(await self._stored(), now)
        self._loaded = True

    async def write(self) -> None:
        """Store what has changed since the last time."""
        if not self._loaded:
            return
        records = {one.id: orjson.dumps(one.record()) for one in self._board.everything()}
        key = self._keys.alarms
        changed = {id: one for id, one in records.items() if self._written.get(id) != one}
        gone = self._written.keys() - records.keys()
        if not changed and not gone:
            # Deleted, or another Redis: write all of it again with the next round.
            if records and not await self._redis.exists(key):
                self._written = {}
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            if changed:
                pipe.hset(key, mapping=cast("dict[Any, Any]", changed))
            if gone:
                pipe.hdel(key, *gone)
            pipe.expire(key, EXPIRE_SECONDS)
            await pipe.execute()
        self._written = records

    async def leave_acknowledgement(
        self, company_id: str | None, id: str, by: str, at: int
    ) -> None:
        """Leave it for the writer."""
        value = orjson.dumps({"company_id": company_id, "by": by, "at": at})
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(self._keys.acknowledged, id, cast("Any", value))
            pipe.expire(self._keys.acknowledged, EXPIRE_SECONDS)
            await pipe.execute()

    async def take_acknowledgements(self) -> None:
        """Apply what standbys have left."""
        found = await self._hash(self._keys.acknowledged)
        for id, value in found.items():
            left = _object(value)
            company, by, at = left.get("company_id"), left.get("by"), left.get("at")
            if isinstance(by, str) and type(at) is int and isinstance(company, str | None):
                self._board.acknowledge(company, id, by[:MOST_NAME_CHARS], at)
        if found:
            await self._redis.hdel(self._keys.acknowledged, *found)

    async def _stored(self) -> list[Alarm]:
        found = await self._hash(self._keys.alarms)
        alarms = [alarm for value in found.values() if (alarm := alarm_of(_object(value)))]
        if len(alarms) < len(found):
            log.warning("ignored alarms in Redis that are unusable: %d", len(found) - len(alarms))
        self._written = found  # what the board does not take is deleted with the next write
        return alarms[:MOST]

    async def _hash(self, key: str) -> dict[str, bytes]:
        """A hash; empty where the key is missing or of another type."""
        if await cast("Awaitable[bytes]", self._redis.type(key)) != b"hash":
            return {}
        found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(key))
        return {name.decode("utf-8", "replace"): value for name, value in found.items()}


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
