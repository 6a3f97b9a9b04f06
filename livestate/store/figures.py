"""Keeps the key figures, and when nodes last spoke, in Redis.

A restart must not lose the day's peaks and the last quarter of an hour, nor make data that is an
hour old look new. :mod:`api.service` runs one :class:`KeptFigures`. It reads once, before it writes
for the first time; where Redis is away, it asks again. Only the instance that holds the writer's
lease writes. The keys expire by themselves, so nothing here deletes:

- ``{active_calls}:window:<number>``: HASH, company ("" all calls) → the counters of half a minute
- ``{active_calls}:peaks:<day>``: HASH, company ("" all calls) → the peaks of that day
- the counts of trunks: :mod:`livestate.store.trunk_figures`
- ``{active_calls}:nodes``: HASH, ``at`` and ``started`` (ms), and ``seen``: node → last seen (ms)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.state.kpi.gauges import DAY_MS, gauge_of
from livestate.state.kpi.kept import bucket_of, peaks_of, raise_peak, raise_peaks, values_of
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, WINDOW_MS
from livestate.state.nodes.registry import Nodes
from livestate.store.keys import UNPREFIXED, Keys
from livestate.store.trunk_figures import KeptTrunks

log = logging.getLogger("livestate.redis")

EVERY_SECONDS: Final = 5.0
AT_ONCE: Final = 200  # scopes in one request: about 2 ms of encoding
WINDOW_SECONDS: Final = WINDOW_MS // 1000 + 60
PEAKS_SECONDS: Final = 2 * DAY_MS // 1000
# After a longer pause the window begins anew: calls that ended meanwhile may be unknown.
MOST_PAUSE_MS: Final = 120_000


class KeptFigures:
    """``clock`` is in ms and does not jump; ``writes()`` says whether this instance is the
    writer."""

    def __init__(
        self,
        redis: Redis,
        kpis: Kpis,
        nodes: Nodes,
        *,
        keys: Keys = UNPREFIXED,
        clock: Callable[[], int],
        writes: Callable[[], bool],
    ) -> None:
        self._redis = redis
        self._kpis = kpis
        self._nodes = nodes
        self._keys = keys
        self._clock = clock
        self._writes = writes
        self._trunks = KeptTrunks(kpis.trunk_window, keys)
        self._loaded = False
        self._written = 0  # number of the last bucket that is in Redis
        self._peaks: dict[str, bytes] = {}  # as they are in Redis

    async def run(self) -> None:
        """Read once, then write until cancelled."""
        failed = False
        while True:
            try:
                await self.load()
                await self.write()
                failed = False
            except (RedisError, OSError) as error:
                if not failed:
                    log.warning("key figures are not kept in Redis now: error=%s", error)
                failed = True
            await asyncio.sleep(EVERY_SECONDS)

    # -- reading ---------------------------------------------------------------------------

    async def load(self) -> None:
        """Take what Redis holds, once. Raises what the Redis client raises."""
        if self._loaded:
            return
        now = self._clock()
        day, last = now // DAY_MS, now // BUCKET_MS
        about = await self._hash(self._keys.nodes)
        peaks = await self._hash(f"{self._keys.peaks}{day}")
        window = {
            at: await self._hash(f"{self._keys.window}{at}")
            for at in range(last - BUCKETS, last + 1)
        }
        self._loaded = True
        self._restore_nodes(_number(about.get("at")), about.get("seen"), now)
        for company, stored in peaks.items():
            scope = self._kpis.scope(company or None)
            raise_peaks(scope, stored, day)
            if company:
                of_all = gauge_of(self._kpis.scope(None).companies, company)
                raise_peak(of_all, scope.live.peak, day)
        at = _number(about.get("at"))
        if at is None or not now - MOST_PAUSE_MS <= at <= now:
            return
        for number, scopes in window.items():
            for company, stored in scopes.items():
                bucket = bucket_of(stored, number)
                if bucket is not None:
                    self._kpis.scope(company or None).restore_bucket(bucket)
        await self._trunks.load(self._hash, now)
        started = _number(about.get("started"))
        if started is not None:
            self._kpis.started_at(max(started, now - WINDOW_MS))

    def _restore_nodes(self, at: int | None, seen: object, now: int) -> None:
        """A node that was not heard since our start was last heard before it."""
        if at is None or not isinstance(seen, dict):
            return
        for name, node in self._nodes.by_name.items():
            last = _number(seen.get(name))
            if node.restored and last is not None and last <= now:
                node.last_seen_at = min(node.last_seen_at, last)

    async def _hash(self, key: str) -> dict[str, Any]:
        """A hash of JSON values; empty where the key is missing or of another type."""
        if await cast("Awaitable[bytes]", self._redis.type(key)) != b"hash":
            return {}
        found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(key))
        return {name.decode("utf-8", "replace"): _json(value) for name, value in found.items()}

    # -- writing ---------------------------------------------------------------------------

    async def write(self) -> None:
        """Write what has changed since the last time. Raises what the Redis client raises."""
        if not self._loaded or not self._writes():
            return
        now = self._clock()
        seen = {node.name: node.last_seen_at for node in self._nodes.by_name.values()}
        about = {"at": now, "started": self._kpis.started, "seen": seen}
        fields = {name: orjson.dumps(value) for name, value in about.items()}
        if await self._put(self._keys.nodes, fields, PEAKS_SECONDS) == len(fields):
            self._written, self._peaks = 0, {}  # none was there: Redis was wiped, or is new
        day, last = now // DAY_MS, now // BUCKET_MS
        since = max(self._written, last - BUCKETS)
        for scopes in self._slices():
            peaks: dict[str, bytes] = {}
            window: dict[int, dict[str, bytes]] = {}
            for company, scope in scopes:
                found = orjson.dumps({"day": day} | peaks_of(scope, day))
                if self._peaks.get(company) != found:
                    peaks[company] = found
                for bucket in scope.buckets:
                    if bucket.at >= since:
                        values = orjson.dumps(values_of(bucket), option=orjson.OPT_NON_STR_KEYS)
                        window.setdefault(bucket.at, {})[company] = values
            await self._put(f"{self._keys.peaks}{day}", peaks, PEAKS_SECONDS)
            self._peaks |= peaks
            for at, found_fields in window.items():
                await self._put(f"{self._keys.window}{at}", found_fields, WINDOW_SECONDS)
        await self._trunks.write(self._put, since if self._written else 0)
        self._written = last
        here = {company or "" for company, _ in self._kpis.scopes()}
        self._peaks = {company: one for company, one in self._peaks.items() if company in here}

    def _slices(self) -> Iterator[list[tuple[str, Any]]]:
        scopes = [(company or "", scope) for company, scope in self._kpis.scopes()]
        for first in range(0, len(scopes), AT_ONCE):
            yield scopes[first : first + AT_ONCE]

    async def _put(self, key: str, fields: dict[str, bytes], seconds: int) -> int:
        """How many of the fields were not there before."""
        if not fields:
            return 0
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping=cast("dict[Any, Any]", fields))
            pipe.expire(key, seconds)
            return int((await pipe.execute())[0])


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return None


def _number(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
