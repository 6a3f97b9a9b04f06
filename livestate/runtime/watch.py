"""The watch: asks nodes for their lists, notices when we are blind, gives up calls of dead nodes,
forgets what is over.

It turns once every half second. What "blind" means is here and nowhere else: not connected, no
node ever heard, or a node silent for too long. The NATS client's own opinion is only one part.

A call that nobody can vouch for is marked, and after a stated time given up: not by ourselves, but
by a ``lost`` event on NATS that takes effect when it comes back to us. So an instance that is cut
off, or deaf, gives up nothing, and all instances do the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final, Protocol

from livestate.active_calls import ActiveCalls
from livestate.call import Call, Stamp, stamp_of
from livestate.nodes import Nodes
from livestate.runtime.channel import Source
from livestate.runtime.hub import Hub

EVERY_SECONDS: Final = 0.5
CONNECTING_SECONDS: Final = 0.05  # at the start: the nodes are asked as soon as they can be
REST_MS: Final = 10_000
FORGET_NODE_MS: Final = 60_000  # a node silent for so long and without calls was taken away
GIVE_UP_AGAIN_MS: Final = 2_000
GIVE_UP_AT_ONCE: Final = 1_000  # calls a turn
DEAF_MS: Final = 20_000  # connected, but no node is heard: try another connection
RENEW_AGAIN_MS: Final = 30_000


class Feed(Protocol):
    """Where events come from."""

    @property
    def connected(self) -> bool: ...
    async def ask_for_list(self, node: str) -> None: ...
    async def give_up(self, call: Call, seq: int, epoch: int, now: int) -> None: ...
    async def listen_again(self) -> None: ...
    def renew(self) -> None: ...


class Watch:
    """One task; ``turn`` is what it does, for a given time."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        hub: Hub,
        feed: Feed,
        forget: Callable[[list[str]], None],
        doubt: Callable[[str, Stamp | None], None],
        *,
        clock: Callable[[], int],
        ended_ms: int,
        ended_calls: int,
        reap_ms: int,
    ) -> None:
        self._table = table
        self._nodes = nodes
        self._hub = hub
        self._feed = feed
        self._forget = forget
        self._doubt = doubt
        self._clock = clock
        self._ended_ms = ended_ms
        self._ended_calls = ended_calls
        self._reap_ms = reap_ms
        self._started = clock()
        self._rested = self._started
        self._connected_since: int | None = None
        self._renewed = self._started
        self._gave_up: dict[str, int] = {}
        self.asked = 0
        self.renewals = 0
        self.lag_seconds = 0.0  # how late the last turn was
        self.worst_lag_seconds = 0.0

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.turn(self._clock())
            pause = EVERY_SECONDS if self._feed.connected else CONNECTING_SECONDS
            due = loop.time() + pause
            await sleep(pause)
            self.lag_seconds = max(loop.time() - due, 0.0)
            self.worst_lag_seconds = max(self.lag_seconds, self.worst_lag_seconds)

    async def turn(self, now: int) -> None:
        if not self._feed.connected:
            self._connected_since = None
        elif self._connected_since is None:
            self._connected_since = now
        self._hub.tell(self._source(now), now)
        await self._feed.listen_again()
        if self._connected_since is not None:
            for name in list(self._nodes.to_ask(now)):
                self.asked += 1
                await self._feed.ask_for_list(name)
            for node, up_to in list(self._nodes.to_doubt(now, self._connected_since)):
                stamp = None if up_to is None else stamp_of(node.epoch, up_to, listed=True)
                self._doubt(node.name, stamp)
            await self._give_up(now, self._connected_since)
            self._listen_anew(now, self._connected_since)
        if now - self._rested >= REST_MS:
            self._rested = now
            self._hub.shared.wire.rest()
        self._forget(self._table.trim(now - self._ended_ms, self._ended_calls))
        for silent in self._nodes.stale(now):
            if now - silent.heard_at > FORGET_NODE_MS and not self._table.calls_of(silent.name):
                del self._nodes.by_name[silent.name]
                self._table.forget_node(silent.name)

    async def _give_up(self, now: int, since: int) -> None:
        """Say of calls in doubt for too long that they are lost; again until it comes back."""
        for node, doubt in list(self._nodes.to_give_up(now, since, self._reap_ms)):
            if now - self._gave_up.get(node.name, -GIVE_UP_AGAIN_MS) < GIVE_UP_AGAIN_MS:
                continue
            up_to = stamp_of(doubt.epoch, doubt.highest, listed=True)
            calls = tuple(islice(self._table.unconfirmed(node.name, up_to), GIVE_UP_AT_ONCE))
            if len(calls) < GIVE_UP_AT_ONCE:  # else the next turn says it of more
                self._gave_up[node.name] = now
            for call in calls:
                await self._feed.give_up(call, node.highest, node.epoch, now)

    def _listen_anew(self, now: int, since: int) -> None:
        """Connected, but deaf: NATS no longer lets us hear, or its client is stuck."""
        nodes = self._nodes.by_name.values()
        deaf = nodes and all(now - max(node.heard_at, since) >= DEAF_MS for node in nodes)
        if deaf and now - self._renewed >= RENEW_AGAIN_MS:
            self._renewed = now
            self.renewals += 1
            self._feed.renew()

    def _source(self, now: int) -> Source:
        silent = self._nodes.stale(now)
        if silent:
            return Source(min(node.heard_at for node in silent))
        if not self._nodes.by_name:
            return Source(self._started)  # nobody feeds us: an empty table proves nothing
        if not self._feed.connected:
            return self._hub.shared.source if self._hub.shared.source.stale_since else Source(now)
        return Source()
