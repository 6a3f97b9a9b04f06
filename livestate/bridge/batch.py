"""Joins events that a publisher has at the same moment into one message, ``call.events.batch``.

The relay and ``simulate`` use it where they are told to (decision 147): a livestate of before does
not read such messages. An event that is alone goes out as before. The order is kept: whatever is
sent besides events goes out behind the events that were added before it.
"""

from __future__ import annotations

import asyncio

from nats.aio.client import Client

from livestate.bridge.outbox import Outbox
from livestate.contract.events import CALL_PHASES
from livestate.contract.messages import Outgoing


class Batch:
    """Events that are published with the next :meth:`flush`: at most ``most`` of them, in as many
    bytes as a message may have. With ``most`` 1 nothing is joined."""

    def __init__(self, outbox: Outbox, most: int) -> None:
        self.begun = asyncio.Event()  # something waits
        self._outbox = outbox
        self._most = most
        self._subject = ""  # of the first
        self._events: list[bytes] = []
        self._bytes = 0

    def takes(self, outgoing: Outgoing) -> bool:
        """Whether a message is one that can be joined with others."""
        return self._most > 1 and outgoing.message["phase"] in CALL_PHASES

    async def add(self, client: Client, outgoing: Outgoing) -> int:
        """Let one event wait. Returns how many events could not be published."""
        event = self._outbox.encoded(client, outgoing)
        if event is None:
            return 1
        lost = 0
        room = self._outbox.max_bytes(client)
        if self._events and self._bytes + len(event) + 2 > room:
            lost = await self.flush(client)
        self._subject = self._subject if self._events else outgoing.subject
        self._events.append(event)
        self._bytes += len(event) + 1
        self.begun.set()
        if len(self._events) >= self._most:
            lost += await self.flush(client)
        return lost

    async def flush(self, client: Client | None) -> int:
        """Publish what waits; without a connection (None) it is lost. Returns how many events could
        not be published."""
        events, self._events, self._bytes = self._events, [], 0
        self.begun.clear()
        if not events:
            return 0
        if client is None:
            self._outbox.disconnected(len(events))
            return len(events)
        return 0 if await self._outbox.send_events(client, self._subject, events) else len(events)
