"""Publishes the messages of simulated or replayed nodes on NATS, each when it is due.

``livestate simulate``, ``replay``, the demo, the benches and the load test run one
:class:`Publisher`. It answers requests for lists and writes CDRs, as the bridges of the nodes
would. The source is pure; waiting and NATS are here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Final, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg

from livestate.bridge.batch import Batch
from livestate.bridge.outbox import Outbox
from livestate.contract.events import CDR_SUBJECT, RESYNC_PREFIX
from livestate.contract.messages import Outgoing, with_cdrs
from livestate.devtools.cdr_writer import CdrWriter
from livestate.devtools.disturbance import Disturbance, Disturber
from livestate.nats.connection import AWAY, Connection
from livestate.process.log_limit import printable
from livestate.process.tasks import cancel_and_wait

log = logging.getLogger("livestate.publisher")

CDR_SECONDS: Final = 10.0  # for the last CDRs; without JetStream they are not stored
_LONGEST_SLEEP: Final = 0.05
_PENDING_BYTES: Final = 8 * 1024 * 1024


class Source(Protocol):
    """Nodes as a source of messages: a simulated network or a replay. Times are in ms."""

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
    """One source on one connection. ``clock`` gives ms; ``cdrs`` False: no CDRs are written.
    ``batch``: how many events that are due at the same time are published in one message."""

    def __init__(
        self,
        url: str,
        source: Source,
        *,
        clock: Callable[[], int],
        credentials: str | None = None,
        inbox: str = "_INBOX",
        disturbance: Disturbance | None = None,
        cdrs: bool = True,
        batch: int = 1,
    ) -> None:
        self.published = 0
        self.unsent = 0  # messages that could not be published
        self.lists_requested = 0
        self.outbox = Outbox(time.monotonic)
        self._batch = Batch(self.outbox, batch)
        self.disturber = Disturber(disturbance or Disturbance())
        self.connection = Connection(
            url,
            "livestate-publisher",
            credentials=credentials,
            inbox=inbox,
            pending_bytes=_PENDING_BYTES,
            begin=self._begin,
            failed=self._on_error,
        )
        self._source = source
        self._clock = clock
        self.cdrs = CdrWriter(self.connection) if cdrs else None

    @property
    def connected(self) -> bool:
        return self.connection.connected

    async def run(self) -> None:
        """Publish until the source is done, then one last list of each node, which repairs what was
        lost on the way. Raises :class:`~livestate.nats.connection.Unreachable` if NATS cannot be
        reached at first. Later outages are waited out, and messages meanwhile count as ``unsent``.
        """
        source = self._source
        async with self.connection.running(patient=False):
            writing = asyncio.create_task(self.cdrs.run()) if self.cdrs else None
            try:
                await self.connection.until_connected()
                while not source.done:
                    await self._publish(self._disturbed(source.due(self._clock())))
                    ahead = (source.next_at() - self._clock()) / 1000
                    await asyncio.sleep(min(max(ahead, 0), _LONGEST_SLEEP))
                await self.connection.until_connected()
                for node in source.nodes:
                    await self._publish(source.listing(node, self._clock()))
                with contextlib.suppress(*AWAY):
                    await self.connection.client.flush()
                if self.cdrs is not None:
                    await self.cdrs.flushed(CDR_SECONDS)
            finally:
                if writing is not None:
                    await cancel_and_wait(writing)

    async def _begin(self, client: Client) -> None:
        await client.subscribe(RESYNC_PREFIX + ">", cb=self._on_resync)

    async def _on_resync(self, message: Msg) -> None:
        node = message.subject.removeprefix(RESYNC_PREFIX)
        if node in self._source.nodes:
            self.lists_requested += 1
            await self._publish(self._source.listing(node, self._clock()))

    def _disturbed(self, messages: Iterator[Outgoing]) -> Iterator[Outgoing]:
        """What core NATS delivers. CDRs go to JetStream, which loses none."""
        return self.disturber.pass_on(self._without_cdrs(messages))

    def _without_cdrs(self, messages: Iterator[Outgoing]) -> Iterator[Outgoing]:
        for outgoing in with_cdrs(messages):
            if outgoing.subject != CDR_SUBJECT:
                yield outgoing
            elif self.cdrs is not None:
                self.cdrs.write(outgoing.message)

    async def _publish(self, messages: Iterator[Outgoing]) -> None:
        for outgoing in messages:
            # The node's numbers show what was not sent, and its next list repairs it.
            if not self.connection.connected:
                self.unsent += 1
                continue
            client = self.connection.client
            if self._batch.takes(outgoing):
                self.unsent += await self._batch.add(client, outgoing)
                continue
            self.unsent += await self._batch.flush(client)
            self.unsent += not await self.outbox.send(client, outgoing, _refuse)
        client_now = self.connection.client if self.connection.connected else None
        self.unsent += await self._batch.flush(client_now)
        self.published = self.outbox.published

    def _on_error(self, error: Exception) -> None:
        self.outbox.on_error(error)


def _refuse(reason: str) -> None:
    log.warning("left a call out of a list: reason=%s", printable(reason))
