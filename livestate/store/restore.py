"""Restores the table that Redis holds, at the start or as soon as Redis answers.

:mod:`api.service` loads the stored table before anything else. Where Redis is away, still loads its
own data (``LOADING``) or takes too long, the service starts without it, folds what arrives, and
:meth:`Restore.run` asks again. When Redis answers, the stored table and the one in memory are
merged (:mod:`livestate.store.merge`). The projection writes to Redis only after that.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.process.masking import masked
from livestate.process.memory import set_up_collector
from livestate.redis.trouble import explain
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import LiveCounts, live_counts
from livestate.state.nodes.registry import Nodes
from livestate.state.position import unpack
from livestate.store import merge
from livestate.store.following import Following
from livestate.store.keys import UNPREFIXED, Keys
from livestate.store.loader import Loaded, load
from livestate.store.projection import Projection
from livestate.store.stored_table import AT_ONCE, StoredTable

log = logging.getLogger("livestate.redis")

AGAIN_SECONDS: Final = 0.2
LOG_EVERY: Final = 50  # attempts: ten seconds or more
CATCH_UPS: Final = 10  # each has less to do than the one before


class Restore:
    """``waiting`` is true until Redis has been read once. ``exchanging`` is true while the content
    of the table is replaced: streams must not begin then. ``end_streams`` is awaited before that,
    ``read_cdrs_from`` afterwards with the stored position in ``cdr.raw``. ``skipped`` versions are
    left out, see :meth:`livestate.state.view.View.restore`."""

    def __init__(
        self,
        redis: Redis,
        table: ActiveCalls,
        nodes: Nodes,
        kpis: Kpis,
        *,
        keys: Keys = UNPREFIXED,
        clock: Callable[[], int],
        end_streams: Callable[[], Awaitable[None]],
        read_cdrs_from: Callable[[str], Awaitable[None]],
        skipped: int = 0,
    ) -> None:
        self.waiting = True
        self.exchanging = False
        self.trouble: str | None = None
        self.projection: Projection | None = None
        self.following: Following | None = None
        self._redis = redis
        self._keys = keys
        self._table = table
        self._nodes = nodes
        self._kpis = kpis
        self._clock = clock
        self._end_streams = end_streams
        self._read_cdrs_from = read_cdrs_from
        self._skipped = skipped

    def _stopping(self) -> bool:
        return self.projection is not None and self.projection.stopping

    async def run(self) -> None:
        """Try every ``AGAIN_SECONDS`` until Redis answers."""
        attempts = 0
        while self.waiting and not self._stopping():
            try:
                await self.once()
            except (RedisError, OSError) as error:
                self.trouble = masked(explain(error).what)
                if self.projection is not None:
                    self.projection.claim.unreached = True
                if attempts % LOG_EVERY == 0:
                    log.warning(
                        "Redis is away, the start goes on without what it holds: error=%s",
                        self.trouble,
                    )
                attempts += 1
                await asyncio.sleep(AGAIN_SECONDS)

    async def once(self) -> None:
        """Restore what Redis holds now. A standby that has the same calls restores only where the
        writer's keys are others, because both started while Redis was away. A warm engine has
        nearly all of it at hand (:mod:`livestate.store.following`). Raises what the Redis client
        raises."""
        if self.following is not None:
            try:
                stored = await self.following.complete()
                if stored is not None:
                    await self._take_over(stored)
                    return
            finally:
                self.following.let_go()
        loaded = await load(self._redis, self._keys)
        projection = self.projection
        known = projection is not None and projection.standby and not self.waiting
        if loaded is not None and not (known and self._same_keys(loaded)):
            gc.disable()  # tens of thousands of calls are made, none of them garbage
            try:
                await self._merge(loaded)
            finally:
                set_up_collector()
        self.waiting, self.trouble = False, None

    def _same_keys(self, loaded: Loaded) -> bool:
        """Also true where the stored secret was edited, so that the keys cannot be compared."""
        ours = self.projection.secret if self.projection is not None else b""
        return not loaded.epoch or loaded.secret == ours

    async def _take_over(self, stored: StoredTable) -> None:
        memory = self._table
        stored.go_on(self._skipped)
        while not stored.merge(self._clock()):
            await asyncio.sleep(0)
        self.exchanging = True
        try:
            await self._end_streams()
            while not stored.merge(self._clock()):
                pass  # what changed in the meantime: a few calls
            changes, positions, unconfirmed = stored.exchange()
            self._restore_nodes(merge.Merged(memory, positions, unconfirmed), self._clock())
            if self.projection is not None:
                self.projection.adopt(stored.secret, stored.epoch)
        finally:
            self.exchanging = False
        for at in range(
            0, len(changes), AT_ONCE
        ):  # sums, so what changes meanwhile may come before
            self._kpis.correct(changes[at : at + AT_ONCE])
            await asyncio.sleep(0)
        log.info("took over what Redis holds: merged=%d live=%d", len(changes), memory.live)

    # Merging 50,000 calls takes a second, too long for the event loop. So it runs in a thread, on
    # immutable data, while the service goes on folding. Catch-ups in a thread then apply what
    # changed meanwhile, until no list was completed during the last one. What is left are single
    # events: the loop applies them in the moment in which it exchanges the tables.
    async def _merge(self, loaded: Loaded) -> None:
        memory, now = self._table, self._clock()
        stored = merge.Stored(loaded.calls, loaded.scopes, loaded.epoch, loaded.secret)
        before = self._in_memory()
        both = await asyncio.to_thread(
            merge.merged,
            stored,
            before,
            secrets.token_hex(8),
            memory.most,
            now,
            self._skipped,
        )
        for _ in range(CATCH_UPS):
            latest = self._in_memory()
            up = await asyncio.to_thread(_caught_up, both.table, before, latest, self._clock())
            before = latest
            if dict(memory.nodes.listed) == latest.lists:
                break
        self.exchanging = True
        try:
            # Keys and versions change: every stream ends, and its client takes a snapshot.
            await self._end_streams()
            changes = merge.catch_up(both.table, before, self._in_memory(), self._clock())
            memory.become(both.table)
            self._kpis.replace(up, changes)
            self._restore_nodes(both, self._clock())
            if self.projection is not None:
                self.projection.adopt(loaded.secret, loaded.epoch, loaded.flush)
        finally:
            self.exchanging = False
        log.info(
            "restored stored calls from Redis after the start: calls=%d unusable=%d live=%d",
            len(loaded.calls),
            loaded.unusable,
            memory.live,
        )
        await self._read_cdrs_from(loaded.cdr)

    def _in_memory(self) -> merge.InMemory:
        epochs = {node.name: node.epoch for node in self._nodes.by_name.values()}
        return merge.in_memory(self._table, epochs)

    def _restore_nodes(self, both: merge.Merged, now: int) -> None:
        """Request lists of nodes that only the stored table knew, or knew in a later epoch, and of
        nodes with unconfirmed calls; calls that stay unconfirmed expire."""
        nodes = self._nodes
        for name, position in both.positions.items():
            epoch, seq, _ = unpack(position)
            known = nodes.by_name.get(name)
            if known is None or known.epoch < epoch:
                nodes.restore(name, epoch, seq, now)
            if name in both.unconfirmed:
                nodes.by_name[name].lose(now)
                nodes.by_name[name].mark_unconfirmed(now)


def _caught_up(
    table: ActiveCalls, before: merge.InMemory, memory: merge.InMemory, now: int
) -> dict[str | None, LiveCounts]:
    merge.catch_up(table, before, memory, now)
    return live_counts(table.calls.values())
