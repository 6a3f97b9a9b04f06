"""The start of a service: reads what Redis holds, while the nodes already send their lists.

:mod:`api.service` runs :class:`Start` before anything else. No client is served yet, but the
connections to NATS and Redis are read meanwhile, so the work on many calls is done in slices.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Final, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.auth.verifier import Verifier
from api.settings import Settings
from livestate.cluster.succession import SKIPPED
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.early_lists import EarlyLists
from livestate.process import memory
from livestate.process.clock import steady_ms
from livestate.process.masking import masked
from livestate.process.tasks import cancel_and_wait
from livestate.redis.trouble import explain
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import live_counts
from livestate.state.nodes.registry import Nodes
from livestate.state.position import NEVER, Position, unpack
from livestate.store.figures import KeptFigures
from livestate.store.keys import Keys
from livestate.store.loader import Loaded, load
from livestate.store.projection import Projection

log = logging.getLogger("livestate")

LOAD_SECONDS: Final = 3.0  # a start waits for Redis at least so long, whatever is set
FIGURES_SECONDS: Final = 3.0
LOOKED_AT_ONCE: Final = 5_000  # calls, between two turns of the event loop: about 2 ms
Found: TypeAlias = Callable[[str], None]


class Away:
    """Redis could not be read at the start: the running service keeps trying."""


# Reads the stored table; calls the argument with each node of the stored calls.
Read: TypeAlias = Callable[[Found], Awaitable[Loaded | Away | None]]


async def read_stored(
    settings: Settings, redis: Redis, keys: Keys, found: Found
) -> Loaded | Away | None:
    """What Redis holds; None if that is nothing. It may take ``LIVESTATE_READY_SECONDS``."""
    try:
        async with asyncio.timeout(max(settings.ready_seconds, LOAD_SECONDS)):
            return await load(redis, keys, found)
    except (RedisError, OSError) as error:
        trouble = explain(error)
        log.warning(
            "started without what Redis holds: redis=%s error=%s mend=%s",
            masked(settings.redis_url),
            masked(trouble.what),
            trouble.mend,
        )
        return Away()


async def nothing_stored(found: Found) -> None:
    """Instead of :func:`read_stored`, for a service that begins with an empty table."""


class Start:
    """Fills the empty parts of a service with the stored table."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        kpis: Kpis,
        consumer: Consumer,
        cdrs: CdrReader,
        projection: Projection,
    ) -> None:
        self._table = table
        self._nodes = nodes
        self._kpis = kpis
        self._consumer = consumer
        self._cdrs = cdrs
        self._projection = projection
        self._early = EarlyLists(consumer, steady_ms)

    async def run(self, read: Read, verifier: Verifier, figures: KeptFigures) -> bool:
        """Read what Redis and files hold; what NATS brings meanwhile is folded afterwards. False if
        Redis is away. The consumer must run."""
        access = asyncio.create_task(_read_access(verifier))
        self.hold()
        try:
            present = read is nothing_stored or await self.restore(read)
            with contextlib.suppress(RedisError, OSError, TimeoutError):  # its task tries again
                async with asyncio.timeout(FIGURES_SECONDS):
                    await figures.load()
            self.release()
            await access
        finally:
            await cancel_and_wait(access)
        return present

    def hold(self) -> None:
        """Let everything that NATS brings wait."""
        self._early = EarlyLists(self._consumer, steady_ms)
        self._consumer.backlog.hold()

    def release(self) -> None:
        """Fold what waits."""
        for name, at in self._early.asked.items():
            if name in self._nodes.by_name:
                self._nodes.by_name[name].asked_at = at
        self._consumer.backlog.release()

    async def restore(self, read: Read) -> bool:
        """Read and restore the stored table, while its nodes are asked for their lists; False if
        Redis is away."""
        asking = asyncio.create_task(self._early.run())
        gc.disable()  # tens of thousands of calls are made, none of them garbage
        try:
            loaded = await read(self._early.found)
            if isinstance(loaded, Loaded):
                await self._restore(loaded)
        finally:
            await cancel_and_wait(asking)
            memory.set_up_collector()
        return not isinstance(loaded, Away)

    async def _restore(self, loaded: Loaded) -> None:
        table, now = self._table, steady_ms()
        stored = ActiveCalls(secret=loaded.secret, epoch=table.epoch)
        restoring = stored.restoring(loaded.calls, loaded.scopes, loaded.epoch, now, SKIPPED)
        for _ in restoring:
            await asyncio.sleep(0)
        table.become(stored)
        # Nothing changes meanwhile: what NATS brings waits.
        self._kpis.restore(await asyncio.to_thread(live_counts, table.calls.values()))
        for node, keys in table.nodes.with_calls():
            epoch, seq, _ = unpack(await latest_position(table, keys))
            self._nodes.restore(node, epoch, seq, now)
        self._projection.adopt(loaded.secret, loaded.epoch, loaded.flush)
        self._cdrs.position = loaded.cdr
        log.info("restored from Redis: live=%d unusable=%d", table.live, loaded.unusable)


async def latest_position(table: ActiveCalls, keys: Iterable[str]) -> Position:
    """The latest position of these calls, NEVER if there are none; all of 50,000 at once would hold
    the loop for 20 ms. The calls must not change meanwhile."""
    latest, left = NEVER, iter(keys)
    while some := tuple(islice(left, LOOKED_AT_ONCE)):
        latest = max(latest, table.latest(some))
        await asyncio.sleep(0)
    return latest


async def _read_access(verifier: Verifier) -> None:
    """Read which keys sign logins, and which logins are revoked."""
    with contextlib.suppress(OSError, ValueError):  # kept_fresh keeps trying and logs it
        await verifier.keys.refresh()
    await verifier.revocations.refresh()
    with contextlib.suppress(RedisError, OSError):  # logouts from before the start
        await verifier.logouts.exchange()
