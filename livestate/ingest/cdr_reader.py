"""Reads ``cdr.raw`` from JetStream: one CDR for each finished call, stored until it is read.

:mod:`api.service` runs one :class:`CdrReader`. Core NATS may lose the event that ended a call; its
CDR is the same event in durable form. So CDRs are folded like events, from the position that the
stored state has. The reader has a connection of its own and takes at most half of the event loop's
time, so live events never wait for CDRs. The streams belong to the operator
(:mod:`livestate.nats.jetstream`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from livestate.contract.events import CDR_SUBJECT
from livestate.ingest.dead_letters import DeadLetters
from livestate.nats.connection import AWAY, Connection
from livestate.nats.jetstream import FAILED, explained
from livestate.process.tasks import cancel_and_wait, keep_running

log = logging.getLogger("livestate.cdrs")

BATCH: Final = 100  # CDRs: 1.5 ms of the loop
WAIT_SECONDS: Final = 2.0  # for new CDRs, then the reader checks that its consumer still exists
RETRY_SECONDS: Final = 2.0
CONNECTING_SECONDS: Final = 0.2  # between attempts while not connected
FIRST_SECONDS: Final = 3.0
MOST_KNOWN_BAD: Final = 10_000


class CdrReader:
    """Reads ``cdr.raw`` for ever, from a stored position on.

    ``handle(data)`` folds one CDR and returns None, or the reason why it cannot: that CDR becomes a
    dead letter. ``handle(data, subject)`` where ``subject`` is a pattern that names the node.
    ``position`` is text for the projection: it is stored with the state and covers exactly the CDRs
    that were folded into it. Without a position that fits the stream, reading begins
    ``back_seconds`` ago: for so long ended calls are remembered.
    """

    def __init__(
        self,
        url: str,
        handle: Callable[..., str | None],
        *,
        position: str = "",
        back_seconds: float,
        credentials: str | None = None,
        inbox: str = "_INBOX",
        subject: str = CDR_SUBJECT,
    ) -> None:
        self._subject = subject
        self.connection = Connection(url, "livestate-cdrs", credentials=credentials, inbox=inbox)
        self.dead_letters = DeadLetters(self.connection)
        self.position = position
        self.caught_up = False  # nothing is waiting, or there is no stream
        self.waiting = 0
        self.trouble: str | None = "not connected yet"
        # (when the stream was made, number): a table that is restored late sends the reader back,
        # and a bad CDR is to be counted and stored as a dead letter once.
        self._known_bad: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._handle = handle
        self._back = timedelta(seconds=back_seconds)

    async def run(self) -> None:
        """Read until cancelled. After an error it tries again; ``trouble`` has the reason."""
        storing = keep_running("dead letters", self.dead_letters.run)
        try:
            async with self.connection.running():
                with contextlib.suppress(TimeoutError):  # not a trouble yet at a start
                    async with asyncio.timeout(FIRST_SECONDS):
                        await self.connection.until_connected()
                while True:
                    await self._read_until_error()
                    pause = RETRY_SECONDS if self.connection.connected else CONNECTING_SECONDS
                    await asyncio.sleep(pause)
        finally:
            await cancel_and_wait(storing)

    async def _read_until_error(self) -> None:
        try:
            await self.connection.use(self._read)
        except NotFoundError as error:
            self._set_trouble(explained(error, self._subject))
            self.caught_up = True  # without a stream there is nothing to catch up with
        except FAILED as error:
            self._set_trouble(self._explained(error))

    def _explained(self, error: BaseException) -> str:
        if not self.connection.connected:
            return f"not connected to NATS: {self.connection.trouble or 'the connection ended'}"
        return explained(error, self._subject, self.connection.missing_right)

    async def _read(self, client: Client) -> None:
        """Read with one consumer until it ends. It lives in the server's memory, so it ends with
        the server."""
        streams = client.jetstream()
        name = await streams.find_stream_name_by_subject(self._subject)
        info = await streams.stream_info(name)
        created = str(info.created)
        consumer = await streams.pull_subscribe(
            self._subject,
            stream=name,
            config=self._consumer_config(created, info.state.last_seq),
        )
        if self.trouble is not None:
            log.info("reading CDRs: stream=%s", name)
        self.trouble = None
        try:
            self.waiting = (await consumer.consumer_info()).num_pending or 0
            self.caught_up = self.waiting == 0
            while True:
                await self._read_batch(consumer, name, created)
        finally:
            with contextlib.suppress(*AWAY):
                await consumer.unsubscribe()

    async def _read_batch(
        self, consumer: JetStreamContext.PullSubscription, stream: str, created: str
    ) -> None:
        loop = asyncio.get_running_loop()
        messages: list[Msg] = []
        with contextlib.suppress(asyncio.TimeoutError):
            messages = await consumer.fetch(BATCH, timeout=WAIT_SECONDS)
        if not messages:
            await consumer.consumer_info()  # raises if the server has lost the consumer
            return
        started = loop.time()
        for message in messages:
            self._read_one(stream, created, message)
            self.position = orjson.dumps(
                {"stream": created, "seq": message.metadata.sequence.stream}
            ).decode()
        self.waiting = messages[-1].metadata.num_pending
        self.caught_up = self.caught_up or self.waiting == 0
        await asyncio.sleep(loop.time() - started)  # the other half of the time: live events

    def _read_one(self, stream: str, created: str, message: Msg) -> None:
        seq = message.metadata.sequence.stream
        if (created, seq) in self._known_bad:
            return
        plain = self._subject == CDR_SUBJECT
        reason = self._handle(message.data, *(() if plain else (message.subject,)))
        if reason is not None:
            self._known_bad[created, seq] = None
            if len(self._known_bad) > MOST_KNOWN_BAD:
                self._known_bad.popitem(last=False)
            self.dead_letters.add(stream, created, seq, message.data, reason)

    def _consumer_config(self, created: str, last: int) -> ConsumerConfig:
        """Begin behind the stored position if it is of this stream, which ends at ``last``; else
        as far back as ended calls are remembered."""
        begin: dict[str, Any]
        read = _seq_of(self.position, created)
        if read is not None and read <= last:
            begin = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": read + 1}
        else:
            since = (datetime.now(UTC) - self._back).isoformat()
            begin = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
        return ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0, **begin
        )

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("cannot read CDRs, trying again: reason=%s", trouble)
        self.trouble = trouble


def _seq_of(position: str, created: str) -> int | None:
    """The number of the last CDR that was read, if ``position`` is of the stream made at
    ``created``. It was stored in Redis, so it may have been edited: then None."""
    try:
        known = orjson.loads(position)
        stream, seq = known["stream"], known["seq"]
    except (ValueError, TypeError, KeyError):
        return None
    return seq if stream == created and type(seq) is int and seq >= 0 else None
