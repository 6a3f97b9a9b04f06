"""Watches the feed: requests lists, notices silence, expires calls, forgets what is over.

:mod:`api.service` runs one :class:`FeedMonitor`, which ticks every half second. It alone decides
when the feed is *stale*: not connected, no node ever heard, or a node silent for too long. That
NATS reports a connection is only one part of it.

A call that no list or event confirms is marked unconfirmed and expires later: the monitor
publishes a ``lost`` event, and the call ends when that event comes back over NATS. So an instance
that is cut off ends no calls, and all instances end the same ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final, Protocol

from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.nodes.node import Held, Node
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble, What
from livestate.state.position import Position, position_at
from livestate.state.source import Source

log = logging.getLogger("livestate.watch")

EVERY_SECONDS: Final = 0.5
CONNECTING_SECONDS: Final = 0.05  # while not connected: nodes are asked as soon as possible
EVICT_EVERY_MS: Final = 10_000
FORGET_NODE_MS: Final = 60_000  # a node without calls that is silent for longer was removed
EXPIRE_AGAIN_MS: Final = 2_000
EXPIRE_PER_TICK: Final = 1_000  # calls of one node
SENT_AT_ONCE: Final = 100  # messages between two looks at the loop's other work
TRIMMED_AT_ONCE: Final = 2_000  # ended calls, likewise: about 3 ms
QUIET_COMPANIES: Final = 1_000  # without a call, that stay in memory
DEAF_MS: Final = 20_000  # connected without a message of any node: try another connection
RENEW_AGAIN_MS: Final = 30_000
TROUBLES_PER_TICK: Final = 10  # lines of the log
_TEXTS: Final[dict[What, str]] = {
    "contested": "two nodes have one name, or a message is forged",
    "refused": "no message of a node can be used",
    "silent": "a node is silent",
    "lists": "lists of a node are rejected or incomplete",
    "clock": "the clock of a node is wrong",
}


def _ignore(companies: list[str]) -> None:
    """The default of ``on_evicted``."""


class Feed(Protocol):
    """Where events come from; :class:`~livestate.ingest.consumer.Consumer` in the service."""

    @property
    def connected(self) -> bool: ...
    async def request_list(self, node: str) -> None: ...
    async def publish_lost(self, call: Call, seq: int, epoch: int, now: int) -> None: ...
    async def resubscribe(self) -> None: ...
    def renew(self) -> None: ...


class Fanout(Protocol):
    """Where the source is shown: the hub."""

    @property
    def source(self) -> Source: ...
    def update_source(self, source: Source, now: int) -> None: ...
    def evict_unused(self) -> None: ...


class FeedMonitor:
    """One task: ``run``. ``tick`` is one step of it, for a given time in ms.

    ``forget(keys)`` is called with ended calls that the table has trimmed, ``on_evicted`` with
    companies that it has forgotten, ``mark_unconfirmed`` and ``settle`` are the pipeline's,
    ``troubles(now)`` lists what is wrong with single nodes. Times are in ms: ``ended_ms`` and
    ``ended_calls`` bound the ended calls in memory, ``reap_ms`` is how long a call may stay
    unconfirmed.
    """

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        fanout: Fanout,
        feed: Feed,
        forget: Callable[[list[str]], None],
        mark_unconfirmed: Callable[[str, Position | None], None],
        settle: Callable[[Node, Held], None],
        troubles: Callable[[int], tuple[Trouble, ...]],
        *,
        clock: Callable[[], int],
        ended_ms: int,
        ended_calls: int,
        reap_ms: int,
        on_evicted: Callable[[list[str]], None] = _ignore,
    ) -> None:
        self._table = table
        self._nodes = nodes
        self._fanout = fanout
        self._feed = feed
        self._forget = forget
        self._mark_unconfirmed = mark_unconfirmed
        self._settle = settle
        self._troubles = troubles
        self._logged: set[tuple[str, str]] = set()  # (node, what) of troubles that go on
        self._clock = clock
        self._ended_ms = ended_ms
        self._ended_calls = ended_calls
        self._reap_ms = reap_ms
        self._on_evicted = on_evicted
        self._started = clock()
        self._evicted_at = self._started
        self._connected_since: int | None = None
        self._renewed = self._started
        self._expired_at: dict[str, int] = {}
        self.asked = 0
        self.renewals = 0
        self.lag_seconds = 0.0  # how late the last tick was
        self.worst_lag_seconds = 0.0

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Tick until cancelled, and measure how late each tick is."""
        loop = asyncio.get_running_loop()
        while True:
            await self.tick(self._clock())
            pause = EVERY_SECONDS if self._feed.connected else CONNECTING_SECONDS
            due = loop.time() + pause
            await sleep(pause)
            self.lag_seconds = max(loop.time() - due, 0.0)
            self.worst_lag_seconds = max(self.lag_seconds, self.worst_lag_seconds)

    async def tick(self, now: int) -> None:
        """Do what is due at ``now`` (ms)."""
        if not self._feed.connected:
            self._connected_since = None
        elif self._connected_since is None:
            self._connected_since = now
        for node, held in list(self._nodes.review(now)):
            self._settle(node, held)
        self._fanout.update_source(self._source(now), now)
        await self._feed.resubscribe()
        if self._connected_since is not None:
            await self._request_lists(now)
            for node, up_to in list(self._nodes.due_unconfirmed(now, self._connected_since)):
                position = None if up_to is None else position_at(node.epoch, up_to, from_sync=True)
                self._mark_unconfirmed(node.name, position)
            await self._expire(now, self._connected_since)
            self._renew_if_deaf(now, self._connected_since)
        if now - self._evicted_at >= EVICT_EVERY_MS:
            self._evicted_at = now
            self._fanout.evict_unused()
            self._on_evicted(self._table.views.evict(QUIET_COMPANIES))
        await self._trim(now)
        for silent in self._nodes.stale(now):
            if now - silent.last_seen_at > FORGET_NODE_MS and not self._table.nodes.count(
                silent.name
            ):
                self._nodes.forget(silent.name)
                self._table.nodes.forget(silent.name)

    async def _request_lists(self, now: int) -> None:
        for count, name in enumerate(list(self._nodes.to_ask(now)), 1):
            self.asked += 1
            await self._feed.request_list(name)
            if count % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _trim(self, now: int) -> None:
        """Forget ended calls in slices: a hundred thousand may have ended at once."""
        while True:
            self._forget(self._table.trim(now - self._ended_ms, self._ended_calls, TRIMMED_AT_ONCE))
            if self._table.retention.trimmed:
                return
            await asyncio.sleep(0)

    # Each loss of a node (a gap in its numbers, its silence, an incomplete list) has its own timer
    # and concerns the calls that were last reported before it. When a timer is over, the calls
    # that are still unconfirmed are published as lost, again every 2 s until the event returns.
    # ``EXPIRE_PER_TICK`` bounds the burst: a node of 50,000 calls takes 25 s.
    async def _expire(self, now: int, since: int) -> None:
        """Publish as lost the calls that have been unconfirmed for too long."""
        for node, loss in list(self._nodes.due_expiry(now, since, self._reap_ms)):
            if now - self._expired_at.get(node.name, -EXPIRE_AGAIN_MS) < EXPIRE_AGAIN_MS:
                continue
            up_to = position_at(loss.epoch, loss.highest, from_sync=True)
            calls = tuple(islice(self._table.unconfirmed(node.name, up_to), EXPIRE_PER_TICK))
            if len(calls) < EXPIRE_PER_TICK:  # else the next tick publishes more
                self._expired_at[node.name] = now
            for count, call in enumerate(calls, 1):
                await self._feed.publish_lost(call, node.sequence.highest, node.epoch, now)
                if count % SENT_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _renew_if_deaf(self, now: int, since: int) -> None:
        """Replace a connection on which no message of any node has arrived for ``DEAF_MS``: a right
        or an import is missing, or the NATS client hangs."""
        nodes = self._nodes.by_name.values()
        deaf = nodes and all(now - max(node.last_seen_at, since) >= DEAF_MS for node in nodes)
        if deaf and now - self._renewed >= RENEW_AGAIN_MS:
            self._renewed = now
            self.renewals += 1
            self._feed.renew()

    def _source(self, now: int) -> Source:
        """The state of the feed as the page shows it: stale since when and why, and the troubles
        of single nodes."""
        found = self._troubles(now)
        self._log_troubles(found)
        # Without ``since``: streams get a frame when this value changes.
        shown = tuple(one._replace(since=None) for one in found)
        for reason in ("silent", "contested", "refused", "lists"):
            since = [one.since for one in found if one.what == reason and one.since is not None]
            if since:
                return Source(min(since), reason, shown)
        if not self._nodes.by_name:
            # No node was ever heard: an empty table is unknown.
            return Source(self._started, "no_node")
        if not self._feed.connected:
            before = self._fanout.source.stale_since
            return Source(now if before is None else before)
        return Source(troubles=shown)

    def _log_troubles(self, found: tuple[Trouble, ...]) -> None:
        """Log troubles of single nodes that are new or over. Silence shows in other ways."""
        now = {(one.node, one.what): one for one in found if one.what != "silent"}
        for node, what in self._logged - now.keys():
            log.info("a node has recovered: node=%s trouble=%s", node, what)
        for key in list(now.keys() - self._logged)[:TROUBLES_PER_TICK]:
            one = now[key]
            log.warning(
                "%s: node=%s ahead_seconds=%.0f reason=%.200r",
                _TEXTS[one.what],
                one.node,
                one.ahead_ms / 1000,
                one.reason,
            )
        self._logged = set(now)
