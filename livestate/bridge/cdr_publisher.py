"""Publishes CDRs from the spool to JetStream: each until it is acknowledged, each stored once.

The relay runs one :class:`CdrPublisher`. No live event waits for it. Each CDR has a message id
(``Nats-Msg-Id``) made of the number of the event that ended the call
(:mod:`livestate.nats.cdr_ids`), so every copy of a CDR carries the same id and JetStream drops the
second one. But NATS remembers ids for the duplicate window only (10 minutes by default). A CDR
older than half of that window may have been stored by an attempt whose acknowledgement was lost, or
by another bridge of the same node. So the publisher first searches the stream for it.

One search serves all CDRs that wait when it begins (:mod:`livestate.nats.message_ids`). A CDR that
it did not find may be sent for as long as NATS remembers what was stored after the search began.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import Final

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from livestate.bridge.cdr_limits import CdrLimits
from livestate.bridge.spool import Spool
from livestate.contract.events import CDR_SUBJECT
from livestate.nats.connection import Connection
from livestate.nats.jetstream import CDRS, FAILED, STREAM, existing, explained
from livestate.nats.message_ids import ids_since, stored_as

log = logging.getLogger("livestate.bridge")

IN_FLIGHT: Final = 256
RETRY_SECONDS: Final = 0.5
FIRST_SECONDS: Final = 3.0
PENDING_BYTES: Final = 1024 * 1024
OLD_MS: Final = 300_000  # half of the duplicate window that `livestate streams --create` asks for
LEAST_OLD_MS: Final = 1_000  # for a stream without a duplicate window: one search a second
NOTHING_NEW: Final = 1 << 60  # later than any time: the last search covered every CDR
SLICE: Final = 500  # CDRs that are read from the spool at once: about 3 ms
CLOCKS_APART_MS: Final = 120_000  # how far NATS' clock may be from Kamailio's


class CdrPublisher:
    """One task: ``run``; setting ``news`` wakes it. ``clock`` gives ms, as the CDRs' times."""

    def __init__(
        self,
        connection: Connection,
        spool: Spool,
        clock: Callable[[], int],
        *,
        max_bytes: Callable[[Client], int] = lambda client: client.max_payload,
    ) -> None:
        self.delivered = 0
        self.already_stored = 0  # found in the stream by a search
        self.trouble: str | None = None
        self.news = asyncio.Event()
        self._connection = connection
        self._spool = spool
        self._clock = clock
        self.limits = CdrLimits(max_bytes)
        # The last search: up to which CDR of the spool, when (by the loop's clock and in ms), and
        # in which stream (when that was made).
        self._searched_up_to = 0
        self._searched_at = 0.0
        self._searched_ms = 0
        self._searched_in = ""
        self._old_ms: int | None = None  # half of the stream's window; asked once per connection

    async def run(self) -> None:
        """Deliver until cancelled."""
        with contextlib.suppress(TimeoutError):  # not a trouble yet at a start
            async with asyncio.timeout(FIRST_SECONDS):
                await self._connection.until_connected()
        while True:
            await self.news.wait()
            self.news.clear()
            while len(self._spool):
                try:
                    await self._connection.use(self._deliver)
                    self.trouble = None
                except FAILED as error:
                    self._old_ms = None  # the stream may be another one when NATS is back
                    self._set_trouble(await self._explained(error))
                    await asyncio.sleep(RETRY_SECONDS)

    async def _deliver(self, client: Client) -> None:
        """Send one batch. Raises what blocked it; CDRs that were acknowledged are noted before."""
        if client.pending_data_size > PENDING_BYTES:
            raise NatsError("the write buffer is full")  # the rest of it is for live events
        streams = client.jetstream()
        if self._old_ms is None:
            self._old_ms = await self._half_of_window(streams)
        batch = self._spool.waiting(IN_FLIGHT + self.limits.waiting)
        if any(self._may_be_stored(name, data, self._old_ms) for name, data in batch):
            await self._search(streams, self._old_ms)
            batch = self._spool.waiting(IN_FLIGHT + self.limits.waiting)
        batch = self.limits.due(batch)
        if not batch:  # all that wait were refused, and their pauses are not over
            await asyncio.sleep(RETRY_SECONDS)
        sending = (self._send(client, streams, name, data) for name, data in batch)
        results = await asyncio.gather(*sending, return_exceptions=True)
        errors = self.limits.blocking_errors(batch, results)
        if any(not isinstance(error, APIError) for error in errors):
            self._searched_at = -math.inf  # some may be stored without an answer: search again
        if errors:
            raise errors[0]

    async def _send(
        self, client: Client, streams: JetStreamContext, name: str, data: bytes
    ) -> bool:
        """Whether the stream took it."""
        if not await self.limits.publish(client, streams, name, data):
            return False
        self._spool.delivered(name)
        self.delivered += 1
        return True

    async def _half_of_window(self, streams: JetStreamContext) -> int:
        """For how long NATS surely knows an id (ms): half of the duplicate window, which an
        operator may have made shorter (``nats stream add`` proposes two minutes)."""
        try:
            config = (await streams.stream_info(STREAM)).config
        except NotFoundError:
            return OLD_MS
        window = int((config.duplicate_window or 0) * 1000)
        return max(LEAST_OLD_MS, min(OLD_MS, window // 2))

    def _may_be_stored(self, name: str, data: bytes, old_ms: int) -> bool:
        """Whether the stream may have this CDR while NATS has forgotten its id."""
        fresh = asyncio.get_running_loop().time() - self._searched_at < old_ms / 1000
        if fresh and self._spool.order_of(name) <= self._searched_up_to:
            return False
        at = _time_of(data)
        # A time ahead of this clock shows nothing about the age of the CDR.
        return at is None or not -CLOCKS_APART_MS < self._clock() - at < old_ms

    # All waiting CDRs are searched for at once: a search for each batch would read the stream once
    # per batch. The search begins at the time of the oldest CDR that the last search did not cover,
    # or, if it covered all, at the time of the last search: only what was stored since is new. It
    # begins by time and not by number, because a NATS server that was killed may give numbers of
    # its stream a second time.
    async def _search(self, streams: JetStreamContext, old_ms: int) -> None:
        """Note as delivered the waiting CDRs that the stream has."""
        began, now = asyncio.get_running_loop().time(), self._clock()
        info = await streams.stream_info(STREAM)
        created = str(info.created)  # another stream of the same name has other content
        if created != self._searched_in:
            self._searched_up_to = 0
        since, up_to = await self._search_start(now, old_ms)
        if since == NOTHING_NEW:
            since, up_to = self._searched_ms - CLOCKS_APART_MS, self._searched_up_to
        subject = stored_as(info.config.subjects or (), self._node())
        async for stored in ids_since(streams, since, subject):
            for name in stored:
                if name in self._spool:
                    self._spool.delivered(name)
                    self.already_stored += 1
        self._searched_at, self._searched_ms, self._searched_up_to = began, now, up_to
        self._searched_in = created

    async def _search_start(self, now: int, old_ms: int) -> tuple[int | None, int]:
        """The time (ms) from which the stream must be searched: None for its beginning,
        ``NOTHING_NEW`` if the last search covered every CDR. And the order of the latest one."""
        since: int | None = NOTHING_NEW
        names, up_to = self._spool.names(), 0
        for at in range(0, len(names), SLICE):
            for name in names[at : at + SLICE]:
                order = self._spool.order_of(name)
                up_to = max(up_to, order)
                if order <= self._searched_up_to or since is None:
                    continue
                ended_at = _time_of(self._spool.read(name) or b"")
                if ended_at is None or ended_at > now + CLOCKS_APART_MS:
                    since = None
                elif now - ended_at >= old_ms:
                    since = min(since, ended_at)
            await asyncio.sleep(0)
        if since is None or since == NOTHING_NEW:
            return since, up_to
        # CDRs that the last search covered and that still wait are searched for from there on.
        return min(since, self._searched_ms or since) - CLOCKS_APART_MS, up_to

    def _node(self) -> str:
        """The node whose CDRs wait here; "" if the first one does not name it."""
        for _, data in self._spool.waiting(1):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return str(orjson.loads(data)["node"])
        return ""

    async def _explained(self, error: BaseException) -> str:
        """What is wrong, in plain text. The stream is made by its operator, never here."""
        if not self._connection.connected:
            return f"not connected to NATS: {self._connection.trouble or 'the connection ended'}"
        if isinstance(error, NoStreamResponseError):  # no stream, or JetStream is off
            try:
                if await existing(self._connection.client.jetstream(), CDRS) is None:
                    error = NotFoundError()
            except FAILED as worse:
                error = worse
        return explained(error, CDR_SUBJECT, self._connection.missing_right)

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("CDRs wait on disk: reason=%s", trouble)
        self.trouble = trouble


def _time_of(cdr: bytes) -> int | None:
    """The time (ms) at which the call ended, by the node's clock."""
    try:
        return int(orjson.loads(cdr)["ts"])
    except (ValueError, TypeError, KeyError):
        return None
