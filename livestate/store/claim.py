"""Claims the lease for the projection, and makes sure that memory has what Redis holds.

A claim also reads which table Redis holds. Before that table is written over, memory must have its
calls. The writer of a moment ago has them, and so has a standby that folds what the writer folds.
A service that started while Redis was away may not: it restores the table first. A standby takes
over the writer's secret as well, so that both use the same keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.process.tasks import cancel_and_wait
from livestate.store.keys import Keys
from livestate.store.lease import Lease, Terms

AWAY: Final = (RedisError, OSError, asyncio.TimeoutError)


class Claim:
    """This instance's way to the lease. ``restore`` is awaited when Redis holds a table that memory
    does not know. With ``continues`` it is awaited whenever another instance has written since
    memory was read from Redis (``read``: at that epoch and flush), also by a standby that folds the
    same calls, so as to go on with that one's versions.

    ``restoring`` is true while an instance that has the lease does that. ``known`` are epochs of
    tables whose calls are in memory. ``unreached`` is set when a call of Redis has failed.

    A process that stands still for longer than the lease (SIGSTOP, a paused machine) does not know
    afterwards whether it still has it, and cannot tell from a reply: that may be older than the
    standstill. See :attr:`doubtful`."""

    def __init__(
        self,
        redis: Redis,
        holder: str,
        keys: Keys,
        terms: Terms,
        restore: Callable[[], Awaitable[None]],
        continues: bool,
    ) -> None:
        self.terms = terms
        self.lease = Lease(redis, holder, keys, terms.lease_ms)
        self.known = {""}
        self.read = ("", "")
        self.restoring = False
        self.unreached = False
        self._restore = restore
        self._continues = continues
        self._awake_at = math.inf  # when the watch of standstills last ran; inf: it does not run
        self._standstills = 0
        self._settled = 0  # of them; Redis was asked afterwards

    @property
    def unanswered(self) -> bool:
        """Whether Redis has been called and has never answered."""
        return self.unreached and not self.lease.writer

    @property
    def doubtful(self) -> bool:
        """Whether this process stood still for longer than the lease, and has not asked Redis since
        whether it still has it. Where Redis does not answer, that settles it, too."""
        return self._settled < self._standstills or self._overslept()

    @property
    def writes(self) -> bool:
        """Whether this instance has the lease, and no reason to doubt it."""
        return self.lease.fence > 0 and not self.doubtful

    def _overslept(self) -> bool:
        return time.monotonic() - self._awake_at > self.terms.lease_ms / 1000

    async def attempt(self, epoch: Callable[[], str], secret: Callable[[], bytes]) -> bool:
        """Whether this instance is the writer now. ``epoch`` and ``secret`` are those of the table
        in memory. Raises what the Redis client raises."""
        lease, incumbent = self.lease, self.lease.fence > 0
        ours = await lease.claim()
        found = lease.found_epoch
        if not ours:
            self.known.add(found)  # the writer folds the same messages
            if lease.found_secret not in ("", secret().hex()):
                await self._restore()
        elif not incumbent and self._must_restore(epoch()):
            self.restoring = True
            try:
                await self._restore()
            except BaseException:
                lease.lose()  # else the next attempt would write over the stored table
                raise
            finally:
                self.restoring = False
        return ours

    def adopt(self, epoch: str, flush: str) -> None:
        """Memory has the stored table of this epoch and flush."""
        self.known.add(epoch)
        self.read = epoch, flush

    def _must_restore(self, epoch: str) -> bool:
        found = self.lease.found_epoch
        if self._continues:
            return found not in ("", epoch) and (found, self.lease.found_flush) != self.read
        return found not in (*self.known, epoch)

    async def keep(self, lost: Callable[[], None]) -> None:
        """Renew the lease between flushes, until cancelled; ``lost`` is called where another
        instance has it."""
        watch = asyncio.create_task(self._watch_standstills())
        try:
            while self.terms.renew_seconds:
                await asyncio.sleep(self.terms.renew_seconds)
                standstills = self._standstills
                with contextlib.suppress(*AWAY):
                    if self.lease.fence and not await self.lease.renew() and self.lease.fence:
                        lost()
                self._settled = standstills
        finally:
            await cancel_and_wait(watch)

    async def _watch_standstills(self) -> None:
        """A task beside the renewals, for those wait where Redis hangs."""
        try:
            while self.terms.renew_seconds:
                self._standstills += self._overslept()
                self._awake_at = time.monotonic()
                await asyncio.sleep(self.terms.renew_seconds)
        finally:
            self._awake_at = math.inf
