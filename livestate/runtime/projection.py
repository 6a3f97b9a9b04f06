"""Redis holds what memory holds: written behind the fold, one guarded script a flush.

Never on a client's path: ``note`` only remembers a key. A flush takes what is dirty in parts of a
few thousand calls; only the last part moves the stored versions on. So whatever part was the last
to arrive, a client that resumes from the stored version gets every row that may differ, because
its own version is higher.

The script checks epoch, fence and flush number before it writes. Anything unexpected (wiped, an
old dump, a key of the wrong type, counts that differ, an edited value) has one cure: write the
whole table beside the old one and swap. Who may write is :mod:`livestate.runtime.lease`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.active_calls import ActiveCalls, Change
from livestate.call import Call
from livestate.runtime.audit import Audit
from livestate.runtime.lease import CLAIM_SECONDS, LEASE_MS, Lease
from livestate.runtime.redis_table import KEYS
from livestate.stored import encode, score

log = logging.getLogger("livestate.projection")

CALLS_A_PART: Final = 2_000
STAGE: Final = 1_000  # calls encoded at a stretch: about 5 ms of the loop
AUDIT_SECONDS: Final = 2.0  # also when nothing changes: renews the lease, notices a wiped Redis
_AWAY: Final = (RedisError, OSError, asyncio.TimeoutError)
STAGED_SECONDS: Final = 600  # then what a writer left unfinished goes by itself


@dataclass(slots=True)
class Stats:
    """For ``/metrics`` and for people."""

    flushes: int = 0
    round_trips: int = 0
    failures: int = 0
    rewrites: int = 0
    drifts: int = 0
    refused_by_fence: int = 0
    last_flush_seconds: float = 0.0


@dataclass(slots=True)
class Batch:
    """One part of a flush, as the script wants it."""

    live: list[bytes | str | int] = field(default_factory=list)
    ended: list[bytes | str | int] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def add(self, key: str, call: Call | None, versions: dict[str, int]) -> None:
        self.keys.append(key)
        if call is None:
            self.gone.append(key)
        elif call.live:
            self.live += (key, score(call), encode(call, versions))
        else:
            self.ended += (key, encode(call, versions))


class Projection:
    """The writer. ``note`` and ``forget`` are plain calls; ``run`` is its one task."""

    def __init__(
        self,
        redis: Redis,
        table: ActiveCalls,
        *,
        secret: bytes,
        clock: Callable[[], int],
        holder: str,
        flush_seconds: float = 0.1,
        cdr_position: Callable[[], str] = str,
    ) -> None:
        self.stats = Stats()
        self.lease = Lease(redis, holder)
        self._redis = redis
        self._table = table
        self._secret = secret
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._cdr_position = cdr_position
        self._dirty: dict[str, None] = {}
        self._writing: dict[str, None] = {}  # was dirty, is on its way
        self._live: set[str] = set()  # keys that Redis holds as live, as ended
        self._ended: set[str] = set()
        self._versions: dict[str, int] = {}  # fields of scopes as Redis holds them
        self._audit = Audit(redis, table, self._dirty_now)
        self._audited = 0.0
        self._flush = 0
        self._whole = True  # the next flush writes everything
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._wake.set()  # the first turn does not wait
        scripts = files("livestate.runtime")
        self._flush_script = redis.register_script((scripts / "flush.lua").read_text())
        self._swap_script = redis.register_script((scripts / "swap.lua").read_text())

    @property
    def dirty(self) -> int:
        """Calls of which Redis may not have the last change yet."""
        return len(self._dirty) + len(self._writing)

    def note(self, change: Change) -> None:
        """A call changed; coalesced, whatever happens to it before the next flush."""
        if self.standby:
            return  # whoever takes over writes everything
        if not self._dirty:
            self._wake.set()
        self._dirty[change.after.key] = None

    def forget(self, keys: list[str]) -> None:
        """Ended calls that the table has trimmed."""
        if keys and not self.standby:
            self._dirty.update(dict.fromkeys(keys))
            self._wake.set()

    async def run(self) -> None:
        """Flush until stopped; then once more, so that a restart loses nothing."""
        backoff = 0.1
        while not self._stopping.is_set():
            try:
                with contextlib.suppress(asyncio.TimeoutError):
                    patience = CLAIM_SECONDS if self.standby else AUDIT_SECONDS
                    await asyncio.wait_for(self._wake.wait(), patience)
                self._wake.clear()
                await self.flush()
                await self._look_around()
                backoff = 0.1
            except _AWAY as error:
                self.stats.failures += 1
                if backoff == 0.1:
                    log.warning("Redis: %s: %s; streams go on", type(error).__name__, error)
                backoff = min(backoff * 2, 2.0)
                self._wake.set()
            # A flush may take two thirds of the time: under load calls coalesce longer.
            pause = max(self._flush_seconds, 0.5 * self.stats.last_flush_seconds, backoff)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        with contextlib.suppress(*_AWAY):
            async with asyncio.timeout(2):
                await self.flush()
                await self.lease.release()

    @property
    def standby(self) -> bool:
        """Another instance writes, or none could be asked yet."""
        return not self.lease.fence

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def flush(self) -> None:
        """Bring Redis to the state of this moment, unless another instance does. Raises what the
        Redis client raises."""
        started = asyncio.get_running_loop().time()
        if self.standby and not await self._take_over():
            return
        try:
            if self._whole:
                await self._rewrite()
            else:
                await self._write_dirty()
        finally:
            self._writing = {}
        if not self._whole and not self.standby:
            self.stats.flushes += 1
            self.stats.last_flush_seconds = asyncio.get_running_loop().time() - started

    async def _take_over(self) -> bool:
        self._whole = True
        self.stats.round_trips += 1
        return await self.lease.claim()

    async def _look_around(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.standby or self._whole or now - self._audited < AUDIT_SECONDS:
            return
        self._audited = now
        difference = await self._audit.difference()
        if difference is not None:
            log.warning("Redis is not what we left (%s): writing everything anew", difference)
            self._heal()

    def _dirty_now(self, key: str) -> bool:
        return key in self._dirty

    async def _write_dirty(self) -> None:
        # What came and was forgotten while Redis was away is not there: or every call of a long
        # outage would wait here. (Where only the reply was lost, the script's counts will tell.)
        here, live, ended = self._table.calls, self._live, self._ended
        dirty = dict.fromkeys(
            key for key in self._dirty if key in here or key in live or key in ended
        )
        self._dirty = {}
        self._writing = dirty
        numbers, cdr = self._numbers(), self._cdr_position()
        parts = iter(dirty)
        written = False
        try:
            while keys := list(islice(parts, CALLS_A_PART)):
                batch = self._batch(keys)
                last = len(keys) < CALLS_A_PART
                if not await self._send(batch, numbers if last else {}, cdr if last else ""):
                    return
                written = last
                for key in keys:
                    del dirty[key]
                parts = iter(dirty)
            if not written and not await self._send(Batch(), numbers, cdr):
                return
        finally:
            if dirty:
                self._dirty = dirty | self._dirty  # not written: stays dirty with what is newer

    async def _send(self, batch: Batch, numbers: dict[str, int], cdr: str) -> bool:
        """One call of the script; False if Redis is not what we left."""
        changed = {name: n for name, n in numbers.items() if self._versions.get(name) != n}
        # A floor may rise early (it only makes more clients take a snapshot), never late: the
        # tombstones under it go with this part.
        floors = {name: n for name, n in self._numbers().items() if name.startswith("floor:")}
        changed |= {name: n for name, n in floors.items() if self._versions.get(name) != n}
        for _ in range(2):
            arguments = [
                self._table.epoch, self.lease.fence, self._flush + 1, self._clock(), cdr,
                self.lease.holder, LEASE_MS,
                len(batch.live) // 3, *batch.live, len(batch.ended) // 2, *batch.ended,
                len(batch.gone), *batch.gone, len(changed),
                *(part for pair in changed.items() for part in pair),
            ]  # fmt: skip
            self.stats.round_trips += 1
            reply = await self._flush_script(KEYS, arguments)
            status = reply[0].decode()
            if status != "already":
                break
            self._flush += 1  # that one's reply was lost; what is newer goes under the next number
        if status == "fenced":
            self._give_way()
            return False
        if status != "ok":
            log.warning("Redis is not what we left (%s): writing everything anew", status)
            return self._heal()
        self._flush += 1
        self._versions |= changed
        self._remember(batch)
        if list(reply[1:]) != [len(self._live), len(self._live), len(self._ended)]:
            log.warning("Redis holds %s calls, we wrote %d live, %d ended: writing everything anew",
                        reply[1:], len(self._live), len(self._ended))  # fmt: skip
            return self._heal()
        return True

    def _heal(self) -> bool:
        self.stats.drifts += 1
        self._whole = True
        self._wake.set()
        return False

    def _give_way(self) -> None:
        self.lease.lose()
        self.stats.refused_by_fence += 1
        log.warning("another instance writes to Redis now; this one stands by")

    async def _rewrite(self) -> None:
        """The whole table, staged in slices beside the old one, then swapped in at once."""
        redis = self._redis
        self._writing, self._dirty = self._dirty, {}  # what changes from here on is dirty again
        numbers, cdr = self._numbers(), self._cdr_position()
        # Of this writer only: one that was stopped in the midst of this must not mix its own in.
        staged = [f"{{active_calls}}:new:{self.lease.fence}:{name}"
                  for name in ("live", "calls", "ended", "scopes")]  # fmt: skip
        await redis.delete(*staged)
        live: set[str] = set()
        ended: set[str] = set()
        for keys in _slices(list(self._table.calls), STAGE):
            batch = self._batch(keys)
            live.update(cast("list[str]", batch.live[::3]))
            ended.update(cast("list[str]", batch.ended[::2]))
            async with redis.pipeline(transaction=False) as pipe:
                if batch.live:
                    scores: Any = dict(zip(batch.live[::3], batch.live[1::3], strict=True))
                    calls: Any = dict(zip(batch.live[::3], batch.live[2::3], strict=True))
                    pipe.zadd(staged[0], scores)
                    pipe.hset(staged[1], mapping=calls)
                if batch.ended:
                    over: Any = dict(zip(batch.ended[::2], batch.ended[1::2], strict=True))
                    pipe.hset(staged[2], mapping=over)
                for name in staged:
                    pipe.expire(name, STAGED_SECONDS)
                await pipe.execute()
        # Tombstones trimmed while we staged are gone with what is dirty now; their floor is not.
        numbers |= {name: n for name, n in self._numbers().items() if name.startswith("floor:")}
        if numbers:
            await redis.hset(staged[3], mapping=cast("Any", numbers))
        self.stats.round_trips += 1
        status = await self._swap_script(
            (*KEYS, *staged),
            (self._table.epoch, self.lease.fence, 0, self._clock(), self._secret.hex(), cdr,
             self.lease.holder, LEASE_MS),
        )  # fmt: skip
        if status != b"ok":
            self._give_way()
            return
        self.stats.rewrites += 1
        self._flush = 0
        self._whole = False
        self._live, self._ended, self._versions = live, ended, numbers

    def _batch(self, keys: list[str]) -> Batch:
        batch = Batch()
        for key in keys:
            call = self._table.calls.get(key)
            batch.add(key, call, self._table.versions_of(call) if call is not None else {})
        return batch

    def _remember(self, batch: Batch) -> None:
        live = cast("list[str]", batch.live[::3])
        ended = cast("list[str]", batch.ended[::2])
        self._live.difference_update(ended, batch.gone)
        self._ended.difference_update(live, batch.gone)
        self._live.update(live)
        self._ended.update(ended)

    def _numbers(self) -> dict[str, int]:
        numbers = {}
        for view in self._table.views():
            if not view.scope.filtered:
                company = view.scope.company_id or ""
                numbers[f"version:{company}"] = view.version
                if view.stored_floor:
                    numbers[f"floor:{company}"] = view.stored_floor
        return numbers


def _slices(keys: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
