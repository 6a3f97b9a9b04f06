"""Keeps the minutes of the last 24 hours in Redis: the charts survive a restart.

:mod:`api.service` runs one :class:`KeptHistory`. Each instance samples its own calls; the one that
holds the writer's lease writes each minute once. The keys expire by themselves:

- ``{active_calls}:history:<hour>``: HASH, minute → company ("" all calls) → its four counts (JSON)
- ``{active_calls}:history:marks``: HASH, ``marks``: when data was stale or the service restarted

A minute of all calls has about 30 bytes, so a day without companies 50 kB; each company that calls
all day adds as much, and 100 companies have minutes at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast, get_args

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.state.kpi.history import (
    MINUTE_MS,
    MINUTES,
    MOST,
    MOST_MARKS,
    History,
    Mark,
    MarkKind,
    Minute,
)
from livestate.state.kpi.kpis import Kpis
from livestate.store.keys import UNPREFIXED, Keys

log = logging.getLogger("livestate.redis")

EVERY_SECONDS: Final = 5.0
HOUR_MINUTES: Final = 60
EXPIRE_SECONDS: Final = 26 * 3_600


class KeptHistory:
    """``stale_since()`` is that of the feed; ``ready()`` whether the service has its calls;
    ``clock`` is in ms and does not jump."""

    def __init__(
        self,
        redis: Redis,
        history: History,
        kpis: Kpis,
        *,
        keys: Keys = UNPREFIXED,
        clock: Callable[[], int],
        writes: Callable[[], bool],
        ready: Callable[[], bool],
        stale_since: Callable[[], int | None],
    ) -> None:
        self._redis = redis
        self.history = history
        self._kpis = kpis
        self._keys = keys
        self._clock = clock
        self._writes = writes
        self._ready = ready
        self._stale_since = stale_since
        self._loaded = False
        self._to_write: list[int] = []
        self._marks = b""  # as they are in Redis

    async def run(self) -> None:
        """Read once, then sample and write until cancelled."""
        failed = False
        while True:
            if self._ready():
                self.sample()
            try:
                await self.load()
                await self.write()
                failed = False
            except (RedisError, OSError) as error:
                if not failed:
                    log.warning("the history is not kept in Redis now: error=%s", error)
                failed = True
            await asyncio.sleep(EVERY_SECONDS)

    def sample(self) -> None:
        """Sum the minute that is over, if there is one."""
        minute = self.history.sample(self._kpis, self._stale_since(), self._clock())
        if minute is not None:
            self._to_write = [*self._to_write[-MINUTES:], minute]

    async def load(self) -> None:
        """Take what Redis holds, once. Raises what the Redis client raises."""
        if self._loaded:
            return
        now = self._clock()
        this = now // MINUTE_MS
        minutes: dict[int, dict[str, Minute]] = {}
        for hour in range((this - MINUTES) // HOUR_MINUTES, this // HOUR_MINUTES + 1):
            for name, value in (await self._hash(f"{self._keys.history}{hour}")).items():
                if name.isdecimal() and this - MINUTES <= int(name) < this:
                    minutes[int(name)] = _scopes(value)
        stored = (await self._hash(self._marks_key)).get("marks", b"[]")
        self.history.restore(minutes, _marks(stored))
        if minutes:
            self.history.restarted(now)
        self._loaded = True

    async def write(self) -> None:
        """Write the minutes that are new. Raises what the Redis client raises."""
        if not self._loaded:
            return
        if not self._writes():
            self._to_write = []  # the writer has them
            return
        while self._to_write:
            minute = self._to_write[0]
            scopes = self.history.minutes.get(minute)
            if scopes is not None:
                key = f"{self._keys.history}{minute // HOUR_MINUTES}"
                await self._put(
                    key,
                    str(minute),
                    orjson.dumps({scope: tuple(one) for scope, one in scopes.items()}),
                )
            self._to_write = self._to_write[1:]
        marks = orjson.dumps([tuple(one) for one in self.history.marks])
        if marks != self._marks:
            await self._put(self._marks_key, "marks", marks)
            self._marks = marks

    @property
    def _marks_key(self) -> str:
        return f"{self._keys.history}marks"

    async def _put(self, key: str, field: str, value: bytes) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, field, cast("Any", value))
            pipe.expire(key, EXPIRE_SECONDS)
            await pipe.execute()

    async def _hash(self, key: str) -> dict[str, bytes]:
        """A hash; empty where the key is missing or of another type."""
        if await cast("Awaitable[bytes]", self._redis.type(key)) != b"hash":
            return {}
        found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(key))
        return {name.decode("utf-8", "replace"): value for name, value in found.items()}


def _scopes(value: bytes) -> dict[str, Minute]:
    """What was stored of a minute; what was edited into something else is left out."""
    found = _json(value)
    return {
        scope: Minute(*counts)
        for scope, counts in (found.items() if isinstance(found, dict) else ())
        if isinstance(counts, list)
        and len(counts) == len(Minute._fields)
        and all(type(one) is int and 0 <= one < MOST for one in counts)
    }


def _marks(value: bytes) -> list[Mark]:
    found = _json(value)
    return [
        Mark(*one)
        for one in (found if isinstance(found, list) else ())[-MOST_MARKS:]
        if isinstance(one, list)
        and len(one) == len(Mark._fields)
        and one[0] in get_args(MarkKind)
        and type(one[1]) is int
        and (one[2] is None or type(one[2]) is int)
    ]


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return None
