"""Follows what the leading engine writes to Redis, so that this one can take over at once.

:mod:`api.service` runs one :class:`Following` in an engine and gives it to the pipeline as a sink.
While the engine is warm, it reads the whole stored table once, and then four times a second what
the flushes since have written: each flush names its calls in the stream ``{active_calls}:flushes``.
From that it keeps a :class:`~livestate.store.stored_table.StoredTable`. At a takeover,
:meth:`Following.complete` reads the rest.

The stream may lack a flush: the reader was away for too long, the leader is of a version that does
not write it, Redis was restored from a dump. The numbers of the flushes have a gap then, and the
whole table is read again; at a takeover :mod:`livestate.store.restore` does that.

:attr:`Following.at_hand` says that a takeover would be quick. An engine is ready (``/readyz``) only
then, so that a deploy that waits for it never stops the leader too early.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeGuard, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from livestate.contract.errors import SnapshotUnusable
from livestate.process.memory import set_up_collector
from livestate.state.active_calls import ActiveCalls, Change
from livestate.store.keys import Keys
from livestate.store.loader import load
from livestate.store.projection import Projection
from livestate.store.record import decode
from livestate.store.stored_table import AT_ONCE, Record, StoredTable

log = logging.getLogger("livestate.redis")

EVERY_SECONDS: Final = 0.25
AGAIN_SECONDS: Final = 5.0  # after the whole table could not be used, and between two looks at
# all calls that differ
FLUSHES_AT_ONCE: Final = 50
MOST_DIFFERING: Final = 2_000  # calls that a takeover merges in 0.2 s or less
AT_HAND_SECONDS: Final = 120.0  # after that an engine is ready without, and says so
TRIMMED_AT_ONCE: Final = 2_000


class Gap(Exception):
    """What was read does not lead on from what is here."""


class Following:
    """``stored`` is None unless this engine is warm and has what Redis holds. ``projection`` tells
    whether another engine writes; ``clock`` in ms; ended calls are kept for ``ended_ms``, at most
    ``ended_calls`` of them."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        memory: ActiveCalls,
        *,
        projection: Projection,
        clock: Callable[[], int],
        ended_ms: int,
        ended_calls: int,
    ) -> None:
        self.stored: StoredTable | None = None
        self.at_hand = False  # a takeover would merge at most MOST_DIFFERING calls
        self.read_whole = 0  # times that the whole table was read
        self.completed = 0  # takeovers that read only the rest
        self.gaps = Counter[str]()  # why the whole table had to be read again
        self.trouble: str | None = None  # why it cannot be followed
        self._failed = False  # the last time that the whole table was read
        self._redis, self._keys, self._memory = redis, keys, memory
        self._projection, self._clock = projection, clock
        self._ended = ended_ms, ended_calls
        self._fence, self._flush = 0, 0  # of the last flush that is here
        self._reading = asyncio.Lock()
        self._taking_over = False
        self._warm_since: float | None = None  # loop time
        # Called with whether ``on_change`` has something to do.
        self.listening: Callable[[bool], None] = lambda wanted: None

    def on_change(self, change: Change) -> None:
        """The engine's own record of a call changed. Never waits."""
        if self.stored is not None:
            self.stored.touch((change.after.key,))

    def status(self) -> dict[str, Any]:
        """For ``/statusz``: whether this engine could take over at once, and what it would do."""
        stored = self.stored
        return {
            "at_hand": self.at_hand,
            "calls": 0 if stored is None else len(stored.table.calls),
            "differing": 0 if stored is None else stored.differing,
            "read_whole": self.read_whole,
            "gaps": dict(self.gaps),
            "trouble": self.trouble,
            "taken_over": self.completed,
        }

    def not_at_hand(self) -> str | None:
        """Why a takeover would take long now, and no longer soon; None where this engine leads, or
        where waiting would not help."""
        claim, since = self._projection.claim, self._warm_since
        if claim.restoring:
            return "taking over"
        if not self._projection.standby or claim.unanswered or self.at_hand or self.trouble:
            return None
        if since is not None and asyncio.get_running_loop().time() - since > AT_HAND_SECONDS:
            return None
        return "not yet at hand: what the engine that leads has written to Redis"

    def let_go(self) -> None:
        """The engine leads, or its table became another one."""
        self._drop()
        self._taking_over = False

    def _drop(self) -> None:
        self.stored, self.at_hand = None, False
        self.listening(False)

    async def run(self) -> None:
        """Follow while another engine writes, until cancelled."""
        due = 0.0  # to read the whole table, or to compare all calls that differ once more
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if self._taking_over:
                continue
            # Until Redis has named another writer, none leads: a process that starts alone would
            # read a second time, for a second of CPU, what it has just restored.
            if not self._projection.standby or not self._projection.lease.writer:
                self.let_go()
                self._warm_since = None
                continue
            self._warm_since = self._warm_since or now()
            thorough = now() >= due
            if thorough:
                due = now() + AGAIN_SECONDS
            try:
                await self._turn(thorough)
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("the flushes could not be followed: error=%s", error)
            except (Gap, SnapshotUnusable) as gap:
                self.gaps["gap" if isinstance(gap, Gap) else "unusable"] += 1
                log.info("the stored table must be read again: reason=%s", gap)

    async def _turn(self, thorough: bool) -> None:
        async with self._reading:
            if self.stored is not None:
                await self._read_on(self.stored)
            elif thorough:
                await self._read_whole()
        stored = self.stored
        if stored is not None and thorough:
            stored.look_again()
        while self._follows(stored) and not stored.settle():
            await asyncio.sleep(0)
        if self._follows(stored):
            stored.table.trim(self._clock() - self._ended[0], self._ended[1], TRIMMED_AT_ONCE)
            self.at_hand = stored.settled and stored.differing <= MOST_DIFFERING

    def _follows(self, stored: StoredTable | None) -> TypeGuard[StoredTable]:
        """Whether ``stored`` is not yet the table of an engine that takes over."""
        return stored is not None and self.stored is stored and not self._taking_over

    async def complete(self) -> StoredTable | None:
        """The stored table, up to the last flush of the engine that led; None where it must be read
        from Redis. This engine has the lease: no other one writes. The caller calls :meth:`let_go`
        when it is done. Raises what the Redis client raises."""
        known = self.stored
        if known is None:
            return None  # also while the whole table is read: that is not waited for
        self._taking_over = True
        async with self._reading:
            stored = self.stored
            if stored is None:
                return None
            try:
                await self._read_on(stored)
                epoch, flush, secret = await self._about()
            except (Gap, SnapshotUnusable) as gap:
                log.info("the stored table must be read: reason=%s", gap)
                return None
            same = (epoch, flush, secret) == (stored.epoch, self._flush, stored.secret.hex())
            self.completed += same
            return stored if same else None

    # -- reading -------------------------------------------------------------------------------

    async def _about(self) -> tuple[str, int, str]:
        """Epoch, number of the last flush, and secret (hex) of the table in Redis."""
        fields = ["epoch", "flush", "secret"]
        found = await cast(
            "Awaitable[list[bytes | None]]", self._redis.hmget(self._keys.meta, fields)
        )
        epoch, flush, secret = ((one or b"").decode("utf-8", "replace") for one in found)
        return epoch, int(flush) if flush.isascii() and flush.isdigit() else -1, secret

    async def _read_whole(self) -> None:
        """Read the whole table; what is written meanwhile is in the stream."""
        first = await self._entries("0", 1)
        if not first:
            self._cannot(f"the process that leads does not write {self._keys.flushes}")
            return
        self._fence = first[0][0]
        _, self._flush, _ = await self._about()
        loaded = await load(self._redis, self._keys)
        if loaded is None or not loaded.epoch or loaded.unusable:
            self._cannot("the table in Redis is not there, or was edited")
            return
        gc.disable()  # tens of thousands of calls are made, none of them garbage
        try:
            stored = await asyncio.to_thread(StoredTable, loaded, self._memory, self._clock())
        finally:
            set_up_collector()
        if not self._projection.standby or loaded.secret != self._projection.secret:
            return
        stored.touch(tuple(self._memory.calls))
        self.read_whole += 1
        self.stored, self.trouble, self._failed = stored, None, False
        self.listening(True)
        await self._read_on(stored)

    def _cannot(self, trouble: str) -> None:
        """The whole table cannot be used. An engine that has only just begun to lead has written
        none, so the second time counts."""
        self.trouble = trouble if self._failed else None
        self._failed = True

    async def _read_on(self, stored: StoredTable) -> None:
        """Read what was written since. Raises :class:`Gap`, SnapshotUnusable, and what the Redis
        client raises; then ``stored`` is of no use."""
        try:
            while True:
                entries = await self._entries(f"{self._fence}-{self._flush}", FLUSHES_AT_ONCE)
                await self._take(stored, entries)
                if len(entries) < FLUSHES_AT_ONCE:
                    return
        except BaseException:
            if self.stored is stored:
                self._drop()
            raise

    async def _entries(self, after: str, most: int) -> list[tuple[int, int, dict[bytes, bytes]]]:
        """Fence, number and fields of the flushes after one."""
        try:
            found: Any = await self._redis.xread({self._keys.flushes: after}, count=most)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise Gap(f"{self._keys.flushes} is no stream") from error
            raise
        if isinstance(found, dict):  # RESP3
            found = list(found.items())
        entries = []
        for _, several in found:
            flat = several[0] if several and isinstance(several[0], list) else several
            for identity, fields in flat:
                fence, _, flush = identity.decode().partition("-")
                entries.append((int(fence), int(flush), fields))
        return entries

    async def _take(
        self, stored: StoredTable, entries: list[tuple[int, int, dict[bytes, bytes]]]
    ) -> None:
        keys = dict[str, None]()
        numbers: list[str] = []
        flush = self._flush
        for fence, number, fields in entries:
            if (fence, number) != (self._fence, flush + 1):
                raise Gap(f"flush {fence}-{number} after {self._fence}-{flush}")
            flush = number
            try:
                keys |= dict.fromkeys(fields[b"keys"].decode().split())
                numbers += orjson.loads(fields[b"scopes"])
            except (KeyError, ValueError, TypeError) as error:
                raise Gap(f"flush {number} is unusable: {error!r}") from error
        async for records in self._records(list(keys)):
            stored.put(records, self._clock())
        try:
            stored.put_numbers(zip(numbers[::2], numbers[1::2], strict=True))
        except ValueError as error:
            raise Gap(f"flush {flush} is unusable: {error!r}") from error
        self._flush = flush

    async def _records(self, keys: list[str]) -> AsyncIterator[list[Record]]:
        """What Redis holds under these keys now, in slices."""
        for at in range(0, len(keys), AT_ONCE):
            part = keys[at : at + AT_ONCE]
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hmget(self._keys.calls, part)
                pipe.hmget(self._keys.ended, part)
                live, ended = await pipe.execute()
            found = zip(part, live, ended, strict=True)
            yield [_record(key, one if one is not None else other) for key, one, other in found]


def _record(key: str, data: bytes | None) -> Record:
    return Record(key, None, {}) if data is None else Record(key, *decode(key, data))
