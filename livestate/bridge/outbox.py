"""Publishes messages on ``call.events.>``, encoded within what the server takes.

The relay, ``simulate`` and ``replay`` hand over messages of the contract with the NATS client of
that moment. No method waits for an acknowledgement or raises: a message that cannot be published is
counted by its reason and logged with its size. The next list of its node repairs the loss.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, OutboundBufferLimitError

from livestate.contract.encoding import LEAST_ROOM, Unsendable, encode, encode_list
from livestate.contract.events import BATCH_SUBJECT, LIST_PHASES, MAX_MESSAGE_BYTES
from livestate.contract.messages import Outgoing
from livestate.nats.failure import PAYLOAD_VIOLATION
from livestate.process.log_limit import LogLimit, printable

log = logging.getLogger("livestate.outbox")

REASONS: Final = (
    "contract",  # livestate would reject it
    "too_large",  # longer than the server takes
    "too_many_parts",  # a list that would take more parts than the contract allows
    "not_allowed",  # the server refused the subject
    "buffer_full",  # the server reads too slowly
    "disconnected",
)
# Bytes that may wait for the server. Less than ``pending_bytes`` of each connection: above that
# nats-py blocks ``publish`` until the server reads, and swallows a cancellation meanwhile.
PENDING_BYTES: Final = 6 * 1024 * 1024
ROOM_SECONDS: Final = 2.0  # for which a part of a list waits for room in the buffer
LEARNED_FOR_SECONDS: Final = 600.0
# text of nats-server (server/errors.go)
_NOT_ALLOWED: Final = "permissions violation for publish"


class Outbox:
    """Publishes, and counts what it could not publish. ``clock`` is in s and only goes forward.

    ``refused`` counts messages by reason; a list counts as one message,
    each event of a batch as one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.published = 0  # handed to the connection; each part of a list, each event of a batch
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.last_refusal: str | None = None
        self._clock = clock
        self._client: Client | None = None
        self._largest = 0  # bytes of the longest message on this connection
        self._learned: tuple[int, float] | None = None  # bytes, until when this limit counts
        self._limits = {reason: LogLimit() for reason in REASONS}

    def max_bytes(self, client: Client) -> int:
        """How many bytes a message may have on this connection. The server reports it in INFO at
        each connection: the next server of a cluster may take less."""
        if client is not self._client:
            self._learn_limit()
            self._client, self._largest = client, 0
        limit = min(client.max_payload, MAX_MESSAGE_BYTES)
        if self._learned is not None and self._clock() < self._learned[1]:
            return min(limit, self._learned[0])
        return limit

    async def send(self, client: Client, outgoing: Outgoing, refuse: Callable[[str], None]) -> bool:
        """Publish one message, or one list in parts. False if it was not published whole.

        ``refuse(reason)`` is called for each call of a list that livestate would reject: the list
        is sent without it."""
        try:
            if outgoing.message["phase"] in LIST_PHASES:
                for part in encode_list(outgoing, self.max_bytes(client), refuse):
                    if part is None:
                        await asyncio.sleep(0)  # a list of 10,000 calls takes some 100 ms
                    else:
                        await self._wait_for_room(client, len(part))
                        await self._publish(client, outgoing.subject, part)
            else:
                data = encode(outgoing, self.max_bytes(client))
                await self._publish(client, outgoing.subject, data)
        except Unsendable as error:
            return self._refuse(error.reason, outgoing.subject, error.size, error.detail)
        except (TimeoutError, NatsError, OSError) as error:
            return self._failed(client, outgoing.subject, error)
        return True

    def encoded(self, client: Client, outgoing: Outgoing) -> bytes | None:
        """One event as :meth:`send_events` takes it; None, and counted, if livestate would reject
        it."""
        try:
            # In a batch it has two brackets around it.
            return encode(outgoing, self.max_bytes(client) - 2)
        except Unsendable as error:
            self._refuse(error.reason, outgoing.subject, error.size, error.detail)
            return None

    async def send_events(self, client: Client, subject: str, events: list[bytes]) -> bool:
        """Publish these events in one message: one alone on its own ``subject``, several on
        ``call.events.batch``. False if they were not published."""
        data = events[0]
        if len(events) > 1:
            subject, data = BATCH_SUBJECT, b"[%b]" % b",".join(events)
        try:
            await self._publish(client, subject, data, len(events))
        except (TimeoutError, NatsError, OSError) as error:
            return self._failed(client, subject, error, len(events))
        return True

    def disconnected(self, messages: int = 1) -> None:
        """Count messages for which there is no connection. Not logged: the connection is."""
        self.refused["disconnected"] += messages

    def on_error(self, error: Exception) -> str | None:
        """Handle an error that the server sent later. Returns the subject if the server refused a
        message, and counts it; else None."""
        text = str(error)
        if _NOT_ALLOWED not in text.lower():
            return None
        subject = text.rpartition('to "')[2].partition('"')[0][:80]
        self._refuse("not_allowed", subject, 0, text)
        return subject

    async def _wait_for_room(self, client: Client, size: int) -> None:
        """Wait until the server has read earlier parts: a list of 50,000 calls has 20 MB, more than
        may wait in the buffer. Not for long: the node's events wait behind its list."""
        await asyncio.sleep(0)
        until = self._clock() + ROOM_SECONDS
        while _full(client, size) and client.is_connected and self._clock() < until:
            await asyncio.sleep(ROOM_SECONDS / 100)

    async def _publish(self, client: Client, subject: str, data: bytes, events: int = 1) -> None:
        if _full(client, len(data)):  # nats-py would wait for the server without a bound
            raise OutboundBufferLimitError
        await client.publish(subject, data)
        self.published += events
        self._largest = max(self._largest, len(data))

    # A proxy or an account limit between bridge and server may take less than INFO says. The server
    # then closes the connection with a payload violation, and the next list would close it again.
    # So the limit becomes half of the longest message that was sent, for ten minutes.
    def _learn_limit(self) -> None:
        """Lower the limit if the last connection ended with a payload violation."""
        before = self._client
        reason = getattr(before, "reason", None) or (before and before.last_error)
        if PAYLOAD_VIOLATION not in str(reason).lower():
            return
        room = max(min(self._largest // 2, MAX_MESSAGE_BYTES), LEAST_ROOM)
        self._learned = room, self._clock() + LEARNED_FOR_SECONDS
        log.warning(
            "NATS takes less than it reports, sending shorter messages: max_bytes=%d "
            "largest_sent=%d",
            room,
            self._largest,
        )

    def _failed(self, client: Client, subject: str, error: Exception, messages: int = 1) -> bool:
        if isinstance(error, MaxPayloadError):
            # There is another connection meanwhile, and its server takes less.
            return self._refuse("too_large", subject, self._largest, "a new connection", messages)
        if isinstance(error, OutboundBufferLimitError):
            waiting = client.pending_data_size
            return self._refuse("buffer_full", subject, waiting, f"{waiting} bytes wait", messages)
        detail = str(error) or type(error).__name__
        return self._refuse("disconnected", subject, 0, detail, messages)

    def _refuse(self, reason: str, subject: str, size: int, detail: str, messages: int = 1) -> bool:
        self.refused[reason] += messages
        self.last_refusal = f"{subject}: {reason}: {detail}"[:300]
        unlogged = self._limits[reason].allows(self._clock())
        if unlogged is not None:
            log.warning(
                "cannot publish: reason=%s subject=%s bytes=%d detail=%s unlogged=%d",
                reason,
                subject,
                size,
                printable(detail),
                unlogged,
            )
        return False


def _full(client: Client, size: int) -> bool:
    return client.pending_data_size + size > PENDING_BYTES


def summary(refused: Iterable[tuple[str, int]]) -> str:
    """Counts by reason for one line of a log."""
    return ", ".join(f"{count} {reason}" for reason, count in refused if count) or "none"
