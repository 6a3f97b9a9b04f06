"""Keeps the alarms of the last 24 hours in Redis, and passes acknowledgements on between instances.

The instance that holds the writer's lease judges the figures and writes; a standby shows what that
one wrote. An acknowledgement that a standby takes is left in Redis for the writer. The keys expire
by themselves, so nothing here deletes more than an acknowledgement that was read:

- ``{active_calls}:alarms``: HASH, id → the alarm as JSON
- ``{active_calls}:acknowledged``: HASH, id → the company, the name and the time as JSON
- ``{active_calls}:unsent``: HASH, delivery → what the webhook has still to send: its place in the
  queue, a space, and the body as JSON. A restart goes on with these.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Final, cast, get_args

import orjson
from redis.asyncio import Redis

from livestate.state.alarms.alarm import MOST_NAME_CHARS, Alarm, alarm_of
from livestate.state.alarms.board import KEPT_MS, MOST, Board, What
from livestate.store.keys import UNPREFIXED, Keys

log = logging.getLogger("livestate.redis")

EXPIRE_SECONDS: Final = 2 * KEPT_MS // 1000
UNSENT_SECONDS: Final = 3_600  # since the last change: as long as the webhook tries
MOST_UNSENT_BYTES: Final = 8_192  # of one
_NONE: Final[Mapping[str, bytes]] = {}


class KeptAlarms:
    """The alarms of ``board`` in Redis. All methods raise what the Redis client raises."""

    def __init__(self, redis: Redis, board: Board, keys: Keys = UNPREFIXED) -> None:
        self._redis = redis
        self._board = board
        self._keys = keys
        self._loaded = False
        # Key → the hash as it is in Redis.
        self._written: dict[str, Mapping[str, bytes]] = {}

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

    async def write(self, unsent: Mapping[str, bytes] = _NONE) -> None:
        """Store what has changed since the last time. ``unsent``: what the webhook is about to
        send. It is written first, so a kill in between sends a change twice rather than never."""
        if not self._loaded:
            return
        alarms = {one.id: orjson.dumps(one.record()) for one in self._board.everything()}
        wanted = {
            self._keys.unsent: (dict(unsent), UNSENT_SECONDS),
            self._keys.alarms: (alarms, EXPIRE_SECONDS),
        }
        changed = {
            key: one for key, one in wanted.items() if self._written.get(key, _NONE) != one[0]
        }
        if not changed:
            # Deleted, or another Redis: write all of it again with the next round.
            if alarms and not await self._redis.exists(self._keys.alarms):
                self._written = {}
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, (records, seconds) in changed.items():
                known = self._written.get(key, _NONE)
                new = {name: one for name, one in records.items() if known.get(name) != one}
                gone = known.keys() - records.keys()
                if new:
                    pipe.hset(key, mapping=cast("dict[Any, Any]", new))
                if gone:
                    pipe.hdel(key, *gone)
                pipe.expire(key, seconds)
            await pipe.execute()
        self._written |= {key: records for key, (records, _) in changed.items()}

    async def unsent(self) -> dict[str, bytes]:
        """What the writer before this one had still to send, oldest first."""
        found = await self._hash(self._keys.unsent)
        self._written[self._keys.unsent] = found  # what is unusable is deleted with the next write
        good = {name: one for name, one in found.items() if _is_change(one)}
        if len(good) < len(found):
            log.warning(
                "ignored webhook changes in Redis that are unusable: %d", len(found) - len(good)
            )
        return dict(sorted(good.items(), key=lambda one: int(one[1].partition(b" ")[0])))

    def leave_unsent(self) -> frozenset[str]:
        """This instance is a standby now, and the next writer sends what is stored: its names."""
        return frozenset(self._written.pop(self._keys.unsent, _NONE))

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
        # What the board does not take is deleted with the next write.
        self._written[self._keys.alarms] = found
        return alarms[:MOST]

    async def _hash(self, key: str) -> dict[str, bytes]:
        """A hash; empty where the key is missing or of another type."""
        if await cast("Awaitable[bytes]", self._redis.type(key)) != b"hash":
            return {}
        found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(key))
        return {name.decode("utf-8", "replace"): value for name, value in found.items()}


def _is_change(stored: bytes) -> bool:
    """Whether it can be sent: it may have been edited."""
    place, _, body = stored.partition(b" ")
    change = _object(body)
    return (
        len(stored) <= MOST_UNSENT_BYTES
        and place.isdigit()
        and len(place) < 20
        and change.keys() == {"event", "alarm"}
        and change["event"] in get_args(What)
        and alarm_of(change["alarm"]) is not None
    )


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
