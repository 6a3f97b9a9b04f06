"""The watch: asks nodes for their lists, notices when we are blind, forgets what is over.

It turns once every half second. What "blind" means is here and nowhere else: not connected, no
node ever heard, or a node silent for too long. The NATS client's own opinion is only one part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from livestate.active_calls import ActiveCalls
from livestate.nodes import Nodes
from livestate.runtime.channel import Source
from livestate.runtime.hub import Hub

EVERY_SECONDS: Final = 0.5
CONNECTING_SECONDS: Final = 0.05  # at the start: the nodes are asked as soon as they can be
REST_MS: Final = 10_000
FORGET_NODE_MS: Final = 60_000  # a node silent for so long and without calls was taken away


class Feed(Protocol):
    """Where events come from."""

    @property
    def connected(self) -> bool: ...
    async def ask_for_list(self, node: str) -> None: ...


class Watch:
    """One task; ``turn`` is what it does, for a given time."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        hub: Hub,
        feed: Feed,
        forget: Callable[[list[str]], None],
        *,
        clock: Callable[[], int],
        ended_ms: int,
        ended_calls: int,
    ) -> None:
        self._table = table
        self._nodes = nodes
        self._hub = hub
        self._feed = feed
        self._forget = forget
        self._clock = clock
        self._ended_ms = ended_ms
        self._ended_calls = ended_calls
        self._started = clock()
        self._rested = self._started
        self.asked = 0

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        while True:
            await self.turn(self._clock())
            await sleep(EVERY_SECONDS if self._feed.connected else CONNECTING_SECONDS)

    async def turn(self, now: int) -> None:
        source = self._source(now)
        if source != self._hub.shared.source:
            self._hub.tell(source)
        if self._feed.connected:
            for node in list(self._nodes.to_ask(now)):
                self.asked += 1
                await self._feed.ask_for_list(node)
        if now - self._rested >= REST_MS:
            self._rested = now
            self._hub.shared.wire.rest()
        self._forget(self._table.trim(now - self._ended_ms, self._ended_calls))
        for silent in self._nodes.stale(now):
            if now - silent.heard_at > FORGET_NODE_MS and not self._table.calls_of(silent.name):
                del self._nodes.by_name[silent.name]

    def _source(self, now: int) -> Source:
        silent = self._nodes.stale(now)
        if silent:
            return Source(min(node.heard_at for node in silent))
        if not self._nodes.by_name:
            return Source(self._started)  # nobody feeds us: an empty table proves nothing
        if not self._feed.connected:
            return self._hub.shared.source if self._hub.shared.source.stale_since else Source(now)
        return Source()
