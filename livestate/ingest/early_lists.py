"""Asks nodes for their lists while the stored table is still read from Redis.

A service that starts is ready when each node of the stored calls has sent its list. A bridge with
50,000 dialogs needs most of a second for that, as long as the service needs to read its table. So
:mod:`api.start` subscribes before it reads, and calls :meth:`EarlyLists.found` with each node as
soon as the first of its calls is read. What NATS brings meanwhile waits in the backlog, and is
folded into the restored table as if it had come after the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

LOOK_SECONDS: Final = 0.01  # between two looks at what was found, and at the connection


class Feed(Protocol):
    """Where lists come from; :class:`~livestate.ingest.consumer.Consumer` in the service."""

    @property
    def connected(self) -> bool: ...
    async def request_list(self, node: str) -> None: ...


class EarlyLists:
    """``clock`` is in ms. ``asked`` has when each node was asked, for the feed monitor, which would
    ask again otherwise."""

    def __init__(self, feed: Feed, clock: Callable[[], int]) -> None:
        self.asked: dict[str, int] = {}
        self._feed = feed
        self._clock = clock
        self._wanted: dict[str, None] = {}

    def found(self, node: str) -> None:
        """A stored call is of this node."""
        self._wanted[node] = None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            if self._feed.connected:
                for node in self._wanted.keys() - self.asked.keys():
                    await self._feed.request_list(node)
                    self.asked[node] = self._clock()
            await asyncio.sleep(LOOK_SECONDS)
