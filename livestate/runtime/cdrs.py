"""``cdr.raw`` on JetStream: one CDR a finished call, kept until it is read.

Core NATS may lose the event that ended a call; its CDR is the same event, made durable. So a
reader folds CDRs like events, goes on where the stored state stood, and holds nobody up: it has a
connection of its own and takes at most half of the loop's time. A writer sends each CDR until it is
acknowledged; ``Nats-Msg-Id`` makes that once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StreamConfig,
)
from nats.js.errors import NoStreamResponseError, NotFoundError

from livestate.bridge.kamailio import Message
from livestate.events import CDR_SUBJECT

log = logging.getLogger("livestate.cdrs")

STREAM: Final = "CDR"
DEAD_STREAM: Final = "CDR_DEAD"
DEAD_SUBJECT: Final = "cdr.dead"
BATCH: Final = 100  # 1.5 ms of the loop
WAIT_SECONDS: Final = 2.0  # for news, before it is asked whether our consumer still exists
AGAIN_SECONDS: Final = 2.0
ACK_SECONDS: Final = 5.0
IN_FLIGHT: Final = 256
LETTER_BYTES: Final = 32 * 1024  # of a bad CDR: with its headers it must fit where CDRs fit
_AWAY: Final = (NatsError, OSError, asyncio.TimeoutError)


async def connected(url: str, name: str, credentials: str | None) -> Client:
    """A NATS connection that never gives up. Raises what nats-py raises if it cannot begin."""
    client = Client()
    await client.connect(
        url, name=name, user_credentials=credentials, max_reconnect_attempts=-1,
        reconnect_time_wait=0.5, connect_timeout=2, ping_interval=3,  # type: ignore[arg-type]
        max_outstanding_pings=2, error_cb=_quiet,
    )  # fmt: skip
    return client


class CdrReader:
    """Reads ``cdr.raw`` from a stored position on, for ever.

    ``take(data)`` folds one CDR and returns None, or why it is none: that one is put aside on
    ``cdr.dead`` with its reason. ``position`` is text for whoever stores the state: what was read
    up to there is in it.
    """

    def __init__(
        self,
        url: str,
        take: Callable[[bytes], str | None],
        *,
        position: str = "",
        back_seconds: float,
        credentials: str | None = None,
    ) -> None:
        self.position = position
        self.caught_up = False  # nothing is waiting, or nobody keeps CDRs
        self.waiting = 0
        self.dead_letters = 0
        self.trouble: str | None = "not connected yet"
        self._url = url
        self._take = take
        self._back = timedelta(seconds=back_seconds)
        self._credentials = credentials

    async def run(self) -> None:
        """Read until cancelled. What fails is tried again; ``trouble`` says what does."""
        client: Client | None = None
        try:
            while True:
                try:
                    if client is None:
                        client = await connected(self._url, "livestate-cdrs", self._credentials)
                    await self._read(client.jetstream())
                except NotFoundError:
                    self._in_trouble(f"no stream has the subject {CDR_SUBJECT}")
                    self.caught_up = True  # there is nothing to catch up with
                except _AWAY as error:
                    self._in_trouble(f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            if client is not None:
                with contextlib.suppress(*_AWAY):
                    await client.close()

    async def _read(self, streams: JetStreamContext) -> None:
        """From where we are to wherever our consumer ends: it lives in the server's memory."""
        name = await streams.find_stream_name_by_subject(CDR_SUBJECT)
        info = await streams.stream_info(name)
        born = str(info.created)
        consumer = await streams.pull_subscribe(
            CDR_SUBJECT, stream=name,
            config=self._from(born, info.state.last_seq),
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self.trouble = None
        try:
            self.waiting = (await consumer.consumer_info()).num_pending or 0
            self.caught_up = self.waiting == 0
            while True:
                messages: list[Msg] = []
                with contextlib.suppress(asyncio.TimeoutError):
                    messages = await consumer.fetch(BATCH, timeout=WAIT_SECONDS)
                if not messages:
                    await consumer.consumer_info()  # raises if the server has forgotten it
                    continue
                started = loop.time()
                for message in messages:
                    reason = self._take(message.data)
                    if reason is not None:
                        await self._put_aside(streams, name, message, reason)
                    self.position = orjson.dumps(
                        {"stream": born, "seq": message.metadata.sequence.stream}
                    ).decode()
                self.waiting = messages[-1].metadata.num_pending
                self.caught_up = self.caught_up or self.waiting == 0
                await asyncio.sleep(loop.time() - started)  # live events have the other half
        finally:
            with contextlib.suppress(*_AWAY):
                await consumer.unsubscribe()

    def _from(self, born: str, last: int) -> ConsumerConfig:
        """Where to begin: after what the state has, if this is still that stream; else as far back
        as ended calls are remembered."""
        begin: dict[str, Any]
        read = _place(self.position, born)
        if read is not None and read <= last:
            begin = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE,
                     "opt_start_seq": read + 1}  # fmt: skip
        else:
            since = (datetime.now(UTC) - self._back).isoformat()
            begin = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
        return ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0, **begin
        )

    async def _put_aside(
        self, streams: JetStreamContext, stream: str, message: Msg, reason: str
    ) -> None:
        """One bad CDR holds nobody up, and is not thrown away; of a long one the beginning. Raises
        if NATS is away: then it is read again."""
        headers = {"Livestate-Reason": reason, "Livestate-Bytes": str(len(message.data)),
                   "Nats-Msg-Id": f"{stream}-{message.metadata.sequence.stream}"}  # fmt: skip
        letter = message.data[:LETTER_BYTES]
        try:
            await streams.publish(DEAD_SUBJECT, letter, headers=headers)
        except NoStreamResponseError:
            await ensure(streams, DEAD_STREAM, DEAD_SUBJECT, days=30)
            await streams.publish(DEAD_SUBJECT, letter, headers=headers)
        self.dead_letters += 1
        log.warning("CDR %d of %s was put aside on %s: %s", message.metadata.sequence.stream,
                    stream, DEAD_SUBJECT, reason)  # fmt: skip

    def _in_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("CDRs cannot be read: %s; trying again", trouble)
        self.trouble = trouble


def _place(position: str, born: str) -> int | None:
    """The number in the stream that was ``born`` then up to which CDRs were read, if the position
    is of that one; it lay in Redis, where somebody may have edited it."""
    try:
        known = orjson.loads(position)
        stream, seq = known["stream"], known["seq"]
    except (ValueError, TypeError, KeyError):
        return None
    return seq if stream == born and type(seq) is int and seq >= 0 else None


class CdrWriter:
    """Every CDR into the stream once. ``write`` is a plain call; ``run`` is its one task.

    What is not acknowledged yet waits in memory, the oldest ``most`` CDRs at most: beyond that the
    new ones are counted as ``lost``.
    """

    def __init__(self, client: Client, *, most: int = 100_000) -> None:
        self.written = 0
        self.lost = 0
        self._client = client
        self._streams = client.jetstream()
        self._most = most
        self._spool: OrderedDict[str, bytes] = OrderedDict()  # message id → CDR
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._spool)

    def write(self, cdr: Message) -> None:
        if len(self._spool) >= self._most:
            self.lost += 1
            return
        name = f"{cdr['node']}-{cdr['epoch']}-{cdr['seq']}"
        # A copy: what orjson gives keeps the block of 4 KB that it was written in.
        self._spool[name] = bytes(memoryview(orjson.dumps(cdr)))
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._spool:
                await self._send()

    async def flushed(self, seconds: float) -> None:
        """Back when nothing waits any more, or after so long."""
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(seconds):
                while self._spool:
                    await asyncio.sleep(0.01)

    async def _send(self) -> None:
        if not self._client.is_connected:
            # nats-py would keep every attempt for later, until its buffer has no room even for
            # events.
            await asyncio.sleep(0.2)
            return
        batch = list(islice(self._spool.items(), IN_FLIGHT))
        told = await asyncio.gather(*(self._written(*cdr) for cdr in batch), return_exceptions=True)
        refused = [error for error in told if error is not None]
        if any(isinstance(error, NoStreamResponseError) for error in refused):
            with contextlib.suppress(*_AWAY):
                await ensure(self._streams, STREAM, CDR_SUBJECT, days=7)
        for error in refused:
            if not isinstance(error, _AWAY):
                raise error
        if refused:
            await asyncio.sleep(0.2)

    async def _written(self, name: str, data: bytes) -> None:
        """Sent and acknowledged, or raises. Sent again later: the server knows its id."""
        # Not publish_async: of nats-py 2.16 that one hears of no refusal but a missing stream.
        await self._streams.publish(
            CDR_SUBJECT, data, timeout=ACK_SECONDS, headers={"Nats-Msg-Id": name}
        )
        del self._spool[name]
        self.written += 1


async def ensure(streams: JetStreamContext, name: str, subject: str, *, days: int) -> None:
    """Make a stream for one subject unless it is there: bounded, the oldest go first."""
    await streams.add_stream(StreamConfig(
        name=name, subjects=[subject], retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD, max_age=days * 86_400.0, max_bytes=512 * 1024**2,
        max_msg_size=64 * 1024, duplicate_window=600.0,
    ))  # fmt: skip


async def _quiet(error: Exception) -> None:
    """A callback of nats-py must not raise, or its read loop ends."""
