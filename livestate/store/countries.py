"""Keeps in Redis which countries each company calls, for :mod:`livestate.state.kpi.countries`.

``{active_calls}:countries``: HASH, company ("" the network) → since when it is known, and the hours
of the first and the last call to each country, as JSON. The key expires by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, cast

import orjson
from redis.asyncio import Redis

from livestate.state.kpi.countries import HISTORY_HOURS, Countries
from livestate.store.keys import UNPREFIXED, Keys

EXPIRE_SECONDS: Final = (HISTORY_HOURS + 24) * 3_600
AT_ONCE: Final = 200  # companies in one request


class KeptCountries:
    """The countries of ``countries`` in Redis. All methods raise what the Redis client raises."""

    def __init__(self, redis: Redis, countries: Countries, keys: Keys = UNPREFIXED) -> None:
        self._redis = redis
        self._countries = countries
        self._key = keys.countries
        self._loaded = False

    async def load(self, now: int) -> None:
        """Restore what is stored, once, some companies at a time."""
        if self._loaded:
            return
        if await cast("Awaitable[bytes]", self._redis.type(self._key)) == b"hash":
            cursor = 0
            while True:
                scan = self._redis.hscan(self._key, cursor, count=AT_ONCE)
                cursor, found = await cast("Awaitable[tuple[int, dict[bytes, bytes]]]", scan)
                for name, value in found.items():
                    self._countries.restore(name.decode("utf-8", "replace"), _json(value), now)
                if not int(cursor):
                    break
        self._loaded = True

    async def write(self) -> None:
        """Store the companies that have changed, or all of them if the key is gone."""
        countries = self._countries
        if not self._loaded:
            return
        if not await self._redis.exists(self._key):
            countries.changed.update(countries.names())
        changed = tuple(countries.changed)
        for first in range(0, len(changed), AT_ONCE):
            some = changed[first : first + AT_ONCE]
            records = {name: countries.record(name) for name in some}
            stored = {name: orjson.dumps(one) for name, one in records.items() if one is not None}
            gone = [name for name, one in records.items() if one is None]
            async with self._redis.pipeline(transaction=False) as pipe:
                if stored:
                    pipe.hset(self._key, mapping=cast("dict[Any, Any]", stored))
                if gone:
                    pipe.hdel(self._key, *gone)
                pipe.expire(self._key, EXPIRE_SECONDS)
                await pipe.execute()
            countries.changed.difference_update(some)


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return None
