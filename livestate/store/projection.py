"""Writes the table to Redis behind the fold: one guarded script per flush.

:mod:`api.service` runs one :class:`Projection` as a sink of the pipeline. No client waits for
Redis: ``on_change`` only remembers the key of the call.

A flush sends what is dirty in parts of a few thousand calls, and only the last part moves the
stored versions of the views on. Whichever part was the last to arrive before a crash, the stored
versions are then too low rather than too high: a client that resumes has a higher version, and gets
every row that may differ.

The script (``flush.lua``) checks epoch, fence and flush number before it writes;
:mod:`livestate.store.audit` compares everything else. After any difference (Redis wiped, an old
dump, an edited value) the projection claims the lease again, stages the whole table beside the
stored one and swaps them. :mod:`livestate.store.lease` decides which instance writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Final

from redis.asyncio import Redis

from livestate.redis.connection import leave_former_primary
from livestate.redis.script import Script
from livestate.state.active_calls import ActiveCalls, Change
from livestate.store.audit import Audit
from livestate.store.claim import AWAY, Claim
from livestate.store.flush_parts import Fields, script_arguments, script_calls
from livestate.store.health import Health
from livestate.store.keys import UNPREFIXED, Keys
from livestate.store.last_written import Batch, Written, batch_of, floors_of, numbers_of
from livestate.store.lease import LEASE_MS, Terms
from livestate.store.loader import COPIES
from livestate.store.staging import repeated, stage, stage_scopes
from livestate.store.stats import Stats

log = logging.getLogger("livestate.projection")

CALLS_A_PART: Final = 2_000
AUDIT_SECONDS: Final = 2.0  # also when nothing changes: renews the lease, notices a wiped Redis


class Projection:
    """The writer of one table. ``on_change`` and ``forget`` are plain calls; ``run`` is its task.

    ``secret`` makes the keys of calls, ``clock`` is in ms, ``holder`` names this instance in the
    lease, ``keys`` are the names in Redis. ``cdr_position`` is read for each flush and stored with
    it. ``terms`` are those of the lease; for ``restore`` and ``continues`` see
    :class:`~livestate.store.claim.Claim`.
    """

    def __init__(
        self,
        redis: Redis,
        table: ActiveCalls,
        *,
        secret: bytes,
        clock: Callable[[], int],
        holder: str,
        keys: Keys = UNPREFIXED,
        flush_seconds: float = 0.1,
        cdr_position: Callable[[], str] = str,
        restore: Callable[[], Awaitable[None]] | None = None,
        terms: Terms | None = None,
        continues: bool = False,
    ) -> None:
        self.stats = Stats()
        self._terms = terms or Terms(LEASE_MS)
        self.claim = Claim(redis, holder, keys, self._terms, restore or _nothing, continues)
        self.lease = self.claim.lease
        self._redis = redis
        self._keys = keys
        self._log = (keys.flushes,) if continues else ()
        self.health = Health(redis, keys)
        self._table = table
        self.secret = secret
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._cdr_position = cdr_position
        self._dirty: dict[str, None] = {}
        self._writing: dict[str, None] = {}  # was dirty, is being written
        self._written = Written()
        self._unanswered = False  # a flush was sent and its reply did not arrive
        self._audit = Audit(redis, keys)
        self._audited = 0.0
        self._flush = 0
        self._whole = True  # the next flush writes everything
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._wake.set()  # the first round does not wait
        self._flush_script = Script(redis, "livestate.store", "flush.lua")
        self._swap_script = Script(redis, "livestate.store", "swap.lua")

    @property
    def dirty(self) -> int:
        """How many calls have changes that Redis may not have yet."""
        return len(self._dirty) + len(self._writing)

    def on_change(self, change: Change) -> None:
        """Remember that a call changed. All changes before the next flush are written as one."""
        if not self.lease.fence:  # spelled out, for every change comes here: ``standby``
            return  # an instance that becomes the writer writes everything
        dirty = self._dirty
        if not dirty:
            self._wake.set()
        dirty[change.after.key] = None

    def mark_dirty(self, keys: Iterable[str]) -> None:
        """These calls have other versions than Redis may have."""
        if not self.standby:
            self._dirty.update(dict.fromkeys(keys))
            self._wake.set()

    def claim_soon(self) -> None:
        """The writer has given the lease back."""
        self._wake.set()

    def forget(self, keys: list[str]) -> None:
        """Delete ended calls that the table has trimmed."""
        if keys:
            self.mark_dirty(keys)

    async def run(self) -> None:
        """Flush until stopped, then once more, so that a restart loses nothing."""
        backoff = 0.1
        while not self._stopping.is_set():
            try:
                with contextlib.suppress(asyncio.TimeoutError):
                    patience = self._terms.claim_seconds if self.standby else AUDIT_SECONDS
                    await asyncio.wait_for(self._wake.wait(), patience)
                self._wake.clear()
                await self.flush()
                await self._audit_if_due()
                self.health.worked()
                backoff = 0.1
            except AWAY as error:
                self.claim.unreached = True
                self.stats.failures += 1
                trouble = self.health.failed(error)
                if backoff == 0.1:
                    log.warning("Redis is not available, streams continue: error=%s", trouble)
                backoff = min(backoff * 2, 2.0)
                self._wake.set()
            # A flush takes at most two thirds of the time: under load more changes become one.
            pause = max(self._flush_seconds, 0.5 * self.stats.last_flush_seconds, backoff)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(2):
                await self.flush()
                await self.lease.release()

    @property
    def standby(self) -> bool:
        """Whether another instance writes, or Redis has not answered yet."""
        return not self.lease.fence

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Let ``run`` end after one more flush."""
        self._stopping.set()
        self._wake.set()

    async def flush(self) -> None:
        """Bring Redis to the state of this moment, unless another instance writes. Raises what
        the Redis client raises."""
        started = asyncio.get_running_loop().time()
        # Each rewrite claims the lease under a new name and a higher fence: otherwise a copy of
        # this process (a cloned machine, a fork) would go on writing under the old ones.
        if (self.standby or self._whole) and not await self._claim_lease():
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

    async def _claim_lease(self) -> bool:
        """Whether this instance is the writer now. Raises what the Redis client raises."""
        self._whole = True
        self.stats.round_trips += 1
        return await self.claim.attempt(lambda: self._table.epoch, lambda: self.secret)

    async def keep_lease(self) -> None:
        """Renew the lease between flushes, until cancelled."""
        await self.claim.keep(self._become_standby)

    def adopt(self, secret: bytes, epoch: str, flush: str = "") -> None:
        """Note that the stored table of this epoch and flush was restored; its secret is used."""
        self.secret = secret
        self.claim.adopt(epoch, flush)

    async def _audit_if_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.standby or self._whole or now - self._audited < AUDIT_SECONDS:
            return
        self._audited = now
        await leave_former_primary(self._redis)
        difference = await self._audit.difference(self._written)
        if difference is not None:
            self._schedule_rewrite(difference)

    async def _write_dirty(self) -> None:
        # A call that came and was forgotten while Redis was away needs no write; otherwise every
        # call of a long outage would wait here. Where Redis has it after all (only the reply was
        # lost), the counts that the script returns show it.
        here, written_keys = self._table.calls, self._written
        dirty = dict.fromkeys(key for key in self._dirty if key in here or key in written_keys)
        self._dirty = {}
        self._writing = dirty
        numbers, cdr = numbers_of(self._table), self._cdr_position()
        parts = iter(dirty)
        written = False
        try:
            while keys := list(islice(parts, CALLS_A_PART)):
                batch = await batch_of(self._table, keys)
                last = len(keys) < CALLS_A_PART and batch.taken == len(keys)
                if not await self._send(batch, numbers if last else {}, cdr if last else ""):
                    return
                written = last
                for key in keys[: batch.taken]:
                    del dirty[key]
                parts = iter(dirty)
            if not written and not await self._send(Batch(), numbers, cdr):
                return
        finally:
            if dirty:
                self._dirty = dirty | self._dirty  # not written: stays dirty

    async def _send(self, batch: Batch, numbers: dict[str, int], cdr: str) -> bool:
        """Write one part; False if Redis held something unexpected. ``numbers`` and ``cdr`` are
        empty for all parts but the last."""
        written = self._written
        floors = floors_of(self._table)
        before, after = self._changed(floors), self._changed(numbers)
        after = [pair for pair in after if pair[0] not in floors]
        # Only the last part has numbers; fields that it lacks are of evicted companies.
        after += [
            (name, "")
            for name in written.scopes
            if numbers and name not in numbers and not name.startswith(COPIES)
        ]
        calls = list(script_calls(batch, before, after))
        for number, (part, fields) in enumerate(calls, 1):
            if not await self._call_script(part, fields, cdr if number == len(calls) else ""):
                return False
        return True

    def _changed(self, numbers: dict[str, int]) -> Fields:
        """The fields of ``scopes`` that differ from what was written."""
        scopes = self._written.scopes
        fields = ((name, str(number)) for name, number in numbers.items())
        return [(name, text) for name, text in fields if scopes.get(name) != text]

    async def _call_script(self, batch: Batch, changed: Fields, cdr: str) -> bool:
        """Run ``flush.lua`` once; False if Redis held something unexpected.

        If the reply of the flush before was lost, the script may answer ``already``: it had
        written that number. The data of this call may be newer, so it is sent again under the next
        number. ``already`` without a lost reply means that a copy of this process writes."""
        written = self._written
        for _ in range(2):
            arguments = [
                *(self._table.epoch, self.lease.fence, self._flush + 1, self._clock(), cdr),
                *(self.lease.holder, self._terms.lease_ms),
                *script_arguments(batch, changed),
            ]
            self.stats.round_trips += 1
            lost, self._unanswered = self._unanswered, True
            reply = await self._flush_script((*self._keys.table, *self._log), arguments)
            self._unanswered = False
            status = reply[0].decode()
            if status != "already":
                break
            if not lost:
                status = "another process writes under the same name"
                break
            self._flush += 1
        if status == "fenced":
            self._become_standby()
            return False
        if status != "ok":
            return self._schedule_rewrite(status)
        self._flush += 1
        written.scopes |= changed
        for name, text in changed:
            if not text:  # evicted
                del written.scopes[name]
        written.meta |= {"flush": str(self._flush)} | ({"cdr": cdr} if cdr else {})
        written.remember(batch)
        if list(reply[1:]) != written.counts:
            return self._schedule_rewrite(f"{reply[1:]} calls where {written.counts} were written")
        return True

    def _schedule_rewrite(self, difference: str) -> bool:
        log.warning("Redis is not what we left, writing everything again: reason=%s", difference)
        self.stats.drifts += 1
        self._whole = True
        self._wake.set()
        return False

    def _become_standby(self) -> None:
        self.lease.lose()
        self.stats.refused_by_fence += 1
        log.warning("another instance writes to Redis now, this one is on standby")

    async def _rewrite(self) -> None:
        """Stage the whole table beside the stored one and swap them at once."""
        self._writing, self._dirty = self._dirty, {}  # what changes from here on is dirty again
        numbers, cdr = numbers_of(self._table), self._cdr_position()
        keys = self._keys.staged(self.lease.fence)
        written = await stage(self._redis, self._table, keys, numbers)
        meta = {"epoch": self._table.epoch, "secret": self.secret.hex()}
        written.scopes |= repeated(meta)
        written.meta = meta | {"fence": str(self.lease.fence), "flush": "0", "cdr": cdr}
        await stage_scopes(self._redis, keys, written)
        self.stats.round_trips += 1
        status = await self._swap_script(
            (*self._keys.table, *keys, *self._log),
            (
                *(self._table.epoch, self.lease.fence, 0, self._clock(), self.secret.hex(), cdr),
                *(self.lease.holder, self._terms.lease_ms),
            ),
        )
        if status != b"ok":
            self._become_standby()
            return
        self.stats.rewrites += 1
        self._flush = 0
        self._unanswered = False
        self._whole = False
        self._written = written


async def _nothing() -> None:
    """The default of ``restore``."""
