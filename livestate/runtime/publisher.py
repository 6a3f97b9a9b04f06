"""Plays nodes on a real NATS: publishes what a source says when it is due, answers for lists, and
writes CDRs.

The source is pure (a simulated network, a capture lived again); here are the waiting, NATS and
nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Final, Protocol

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import OutboundBufferLimitError

from livestate.bridge.kamailio import Outgoing, with_cdrs
from livestate.events import CDR_SUBJECT
from livestate.runtime.cdrs import CdrWriter
from livestate.runtime.ending import end
from livestate.simulator import Disturbance, Disturbed

ASKED_FOR_LIST: Final = "call.resync."
CDR_SECONDS: Final = 10.0  # that the last CDRs may take; without JetStream they wait in vain
_LONGEST_SLEEP: Final = 0.05
_PENDING_BYTES: Final = 8 * 1024 * 1024


class Source(Protocol):
    """Nodes that say something. Times are in ms."""

    @property
    def nodes(self) -> Collection[str]: ...
    @property
    def live(self) -> int: ...
    @property
    def done(self) -> bool: ...
    def next_at(self) -> int: ...
    def due(self, now: int) -> Iterator[Outgoing]: ...
    def listing(self, node: str, now: int) -> Iterator[Outgoing]: ...


class Publisher:
    """One source on one connection, from ``run()`` until it has said everything."""

    def __init__(
        self,
        url: str,
        source: Source,
        *,
        clock: Callable[[], int],
        credentials: str | None = None,
        disturbance: Disturbance | None = None,
        cdrs: bool = True,
    ) -> None:
        self.published = 0
        self.unsaid = 0
        self.asked = 0
        self.disturbed = Disturbed(disturbance or Disturbance())
        self._url = url
        self._source = source
        self._clock = clock
        self._credentials = credentials
        self._client = Client()
        self.cdrs = CdrWriter(self._client) if cdrs else None

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def run(self) -> None:
        """Publish until the source is done; then one last list of each node, so that nothing that
        was lost on the way stays wrong. Raises what nats-py raises if NATS cannot be reached."""
        client, source = self._client, self._source
        await client.connect(
            self._url, name="livestate-publisher", user_credentials=self._credentials,
            max_reconnect_attempts=-1, reconnect_time_wait=1, ping_interval=3,
            max_outstanding_pings=2, pending_size=_PENDING_BYTES, error_cb=_quiet,
        )  # fmt: skip
        writing = asyncio.create_task(self.cdrs.run()) if self.cdrs else None
        try:
            await client.subscribe(ASKED_FOR_LIST + "*", cb=self._on_asked)
            while not source.done:
                await self._publish(self._disturbed(source.due(self._clock())))
                ahead = (source.next_at() - self._clock()) / 1000
                await asyncio.sleep(min(max(ahead, 0), _LONGEST_SLEEP))
            for node in source.nodes:
                await self._publish(source.listing(node, self._clock()))
            await client.flush()
            if self.cdrs is not None:
                await self.cdrs.flushed(CDR_SECONDS)
        finally:
            if writing is not None:
                await end(writing)
            await client.close()

    async def _on_asked(self, message: Msg) -> None:
        node = message.subject.removeprefix(ASKED_FOR_LIST)
        if node in self._source.nodes:
            self.asked += 1
            await self._publish(self._source.listing(node, self._clock()))

    def _disturbed(self, messages: Iterator[Outgoing]) -> Iterator[Outgoing]:
        """What core NATS brings; CDRs go their own way, and are never lost."""
        return self.disturbed.pass_on(self._without_cdrs(messages))

    def _without_cdrs(self, messages: Iterator[Outgoing]) -> Iterator[Outgoing]:
        for outgoing in with_cdrs(messages):
            if outgoing.subject != CDR_SUBJECT:
                yield outgoing
            elif self.cdrs is not None:
                self.cdrs.write(outgoing.message)

    async def _publish(self, messages: Iterator[Outgoing]) -> None:
        for subject, message in messages:
            try:
                await self._client.publish(subject, orjson.dumps(message))
                self.published += 1
            except OutboundBufferLimitError:
                self.unsaid += 1  # NATS is away for long: the numbers tell, a list mends it


async def _quiet(error: Exception) -> None:
    """A callback of nats-py must not raise; it reconnects by itself."""
