"""CDRs from the spool to JetStream: each until it is acknowledged, each in the stream once.

``Nats-Msg-Id`` is ``<node>-<epoch>-<seq>``, the number of the event that ended the call, so every
copy of a CDR carries the same, whoever sends it. NATS remembers ids for the duplicate window only
(10 minutes). A CDR older than half of that may have been stored by an attempt whose answer was
lost: so it is looked for in the stream before it is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NoStreamResponseError, NotFoundError

from livestate.events import CDR_SUBJECT
from livestate.runtime.cdrs import STREAM, ensure
from livestate.runtime.spool import Spool

log = logging.getLogger("livestate.bridge")

IN_FLIGHT: Final = 256
ACK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.5
PENDING_BYTES: Final = 1024 * 1024
OLD_MS: Final = 300_000  # half of the duplicate window that `ensure` asks for
CLOCKS_APART_MS: Final = 120_000  # how far NATS' clock may be from Kamailio's
_MESSAGE_ID: Final = "Nats-Msg-Id"
_AWAY: Final = (NatsError, OSError, asyncio.TimeoutError)


class Delivery:
    """One task: ``run``. It holds nobody up; ``news`` wakes it."""

    def __init__(self, client: Client, spool: Spool, clock: Callable[[], int]) -> None:
        self.delivered = 0
        self.found = 0  # were in the stream already
        self.trouble: str | None = None
        self.news = asyncio.Event()
        self._client = client
        self._streams = client.jetstream()
        self._spool = spool
        self._clock = clock
        self._looked: set[str] = set()  # old ones that the stream does not have

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self.news.wait()
            self.news.clear()
            while len(self._spool):
                try:
                    await self._deliver()
                    self.trouble = None
                except NoStreamResponseError:
                    await self._make_stream()
                except _AWAY as error:
                    self._in_trouble(f"{type(error).__name__}: {error}"[:200])
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _deliver(self) -> None:
        """One batch. Raises what stopped it; what was acknowledged is noted all the same."""
        if not self._client.is_connected:
            raise NatsError("not connected")
        if self._client.pending_data_size > PENDING_BYTES:
            raise NatsError("NATS takes nothing")  # what room is left is for live events
        batch = self._spool.waiting(IN_FLIGHT)
        old = {name: at for name, at in self._old(batch) if name not in self._looked}
        if old:
            await self._look_for(old)
            batch = self._spool.waiting(IN_FLIGHT)
        sent = (self._send(name, data) for name, data in batch)
        refused = [
            told for told in await asyncio.gather(*sent, return_exceptions=True) if told is not None
        ]
        if refused:
            raise refused[0]

    async def _send(self, name: str, data: bytes) -> None:
        # Not publish_async: of nats-py 2.16 that one hears of no refusal but a missing stream.
        await self._streams.publish(
            CDR_SUBJECT, data, timeout=ACK_SECONDS, headers={_MESSAGE_ID: name}
        )
        self._spool.delivered(name)
        self._looked.discard(name)
        self.delivered += 1

    def _old(self, batch: list[tuple[str, bytes]]) -> Iterator[tuple[str, int]]:
        now = self._clock()
        for name, data in batch:
            at = int(orjson.loads(data)["ts"])
            if now - at >= OLD_MS:
                yield name, at

    async def _look_for(self, old: dict[str, int]) -> None:
        """Note as delivered what the stream has. Reads ids only, from the oldest on."""
        since = datetime.fromtimestamp((min(old.values()) - CLOCKS_APART_MS) / 1000, UTC)
        try:
            consumer = await self._streams.pull_subscribe(
                CDR_SUBJECT, stream=STREAM,
                config=ConsumerConfig(
                    ack_policy=AckPolicy.NONE, mem_storage=True, headers_only=True,
                    inactive_threshold=30.0, deliver_policy=DeliverPolicy.BY_START_TIME,
                    opt_start_time=since.isoformat(),  # type: ignore[arg-type]  # as text
                ),
            )  # fmt: skip
        except NotFoundError:
            self._looked |= old.keys()
            return
        try:
            left = (await consumer.consumer_info()).num_pending or 0
            while left:
                messages = await consumer.fetch(min(left, 500), timeout=ACK_SECONDS)
                left = messages[-1].metadata.num_pending
                for message in messages:
                    name = (message.headers or {}).get(_MESSAGE_ID, "")
                    if old.pop(name, None) is not None:
                        self._spool.delivered(name)
                        self.found += 1
        finally:
            with contextlib.suppress(*_AWAY):
                await consumer.unsubscribe()
        self._looked |= old.keys()

    async def _make_stream(self) -> None:
        try:
            await ensure(self._streams, STREAM, CDR_SUBJECT, days=7)
        except _AWAY as error:
            self._in_trouble(f"no stream has {CDR_SUBJECT}, and it cannot be made: {error}")
        await asyncio.sleep(AGAIN_SECONDS)

    def _in_trouble(self, trouble: str) -> None:
        if self.trouble is None:
            log.warning("CDRs wait on disk: %s", trouble)
        self.trouble = trouble
