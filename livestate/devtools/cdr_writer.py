"""Writes CDRs of simulated and replayed nodes to ``cdr.raw`` on JetStream.

The publisher adds CDRs and runs the writer beside itself. Each CDR is sent until the stream
acknowledges it; its message id lets the stream drop a second copy. A real bridge keeps its CDRs on
disk instead (:mod:`livestate.bridge.cdr_publisher`); both send through
:class:`~livestate.bridge.cdr_limits.CdrLimits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from functools import partial
from itertools import islice
from typing import Final

from nats.aio.client import Client
from nats.js import JetStreamContext

from livestate.bridge.cdr_limits import CdrLimits
from livestate.contract.encoding import Unsendable, encode
from livestate.contract.events import CDR_SUBJECT, MAX_MESSAGE_BYTES
from livestate.contract.messages import Message, Outgoing
from livestate.nats.cdr_ids import CdrIds
from livestate.nats.connection import Connection
from livestate.nats.jetstream import FAILED, explained

log = logging.getLogger("livestate.cdrs")

RETRY_SECONDS: Final = 0.2
IN_FLIGHT: Final = 256


class CdrWriter:
    """Stores every CDR once. ``write`` is a plain call; ``run`` is the one task.

    CDRs that are not acknowledged wait in memory. While ``most`` of them wait, new ones are counted
    as ``lost``.
    """

    def __init__(self, connection: Connection, *, most: int = 100_000) -> None:
        self.written = 0
        self.lost = 0
        self.trouble: str | None = None
        self._connection = connection
        self._most = most
        self._ids = CdrIds()
        self._unacknowledged: OrderedDict[str, bytes] = OrderedDict()  # message id → CDR
        self._news = asyncio.Event()
        self.limits = CdrLimits(lambda client: client.max_payload)

    @property
    def waiting(self) -> int:
        """CDRs that are not acknowledged."""
        return len(self._unacknowledged)

    def write(self, cdr: Message) -> None:
        """Queue one CDR."""
        if len(self._unacknowledged) >= self._most:
            self.lost += 1
            return
        try:
            data = encode(Outgoing(CDR_SUBJECT, cdr), MAX_MESSAGE_BYTES)
        except Unsendable as error:
            self.lost += 1
            log.warning("cannot encode a CDR: bytes=%d reason=%s", error.size, error.detail)
            return
        name = self._ids.id_of(cdr)
        # A copy: the bytes that orjson returned occupy a block of 4 KB.
        self._unacknowledged[name] = bytes(memoryview(data))
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unacknowledged:
                await self._send()

    async def flushed(self, seconds: float) -> None:
        """Wait until every CDR is acknowledged, but not longer than this."""
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(seconds):
                while self._unacknowledged:
                    await asyncio.sleep(0.01)

    async def _send(self) -> None:
        if not self._connection.connected:
            await asyncio.sleep(RETRY_SECONDS)
            return
        batch = self.limits.due(
            list(islice(self._unacknowledged.items(), IN_FLIGHT + self.limits.waiting))
        )
        if not batch:
            await asyncio.sleep(RETRY_SECONDS)
            return
        try:
            await self._connection.use(partial(self._write_all, batch))
        except FAILED as error:
            trouble = explained(error, CDR_SUBJECT, self._connection.missing_right)
            if trouble != self.trouble:
                log.warning("cannot write CDRs, trying again: reason=%s", trouble)
            self.trouble = trouble
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self.trouble = None

    async def _write_all(self, batch: list[tuple[str, bytes]], client: Client) -> None:
        """Send a batch. Raises the first error that concerns all CDRs, after all were tried."""
        streams = client.jetstream()
        writing = (self._write(client, streams, *cdr) for cdr in batch)
        results = await asyncio.gather(*writing, return_exceptions=True)
        for error in self.limits.blocking_errors(batch, results):
            raise error

    async def _write(
        self, client: Client, streams: JetStreamContext, name: str, data: bytes
    ) -> bool:
        """Whether the stream took it."""
        if not await self.limits.publish(client, streams, name, data):
            return False
        del self._unacknowledged[name]
        self.written += 1
        return True
