"""Stores CDRs that cannot be folded on ``cdr.dead``, beside the reader of ``cdr.raw``.

The CDR reader adds each bad CDR with its reason; :meth:`DeadLetters.run` stores them one after the
other. A bad CDR delays no other one: while no stream takes ``cdr.dead``, the last ``MOST_WAITING``
wait in memory. Nothing is lost beyond that: every bad CDR is still in the stream of ``cdr.raw``
under the number that is logged here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.js.errors import APIError

from livestate.nats.connection import Connection
from livestate.nats.failure import PAYLOAD_VIOLATION
from livestate.nats.jetstream import DEAD_SUBJECT, FAILED, TOO_LONG, explained
from livestate.nats.message_ids import MESSAGE_ID
from livestate.process.log_limit import printable

log = logging.getLogger("livestate.cdrs")

LETTER_BYTES: Final = 32 * 1024  # of a bad CDR: with headers it fits where CDRs fit
MOST_WAITING: Final = 256  # 8 MB
RETRY_SECONDS: Final = 2.0
MAX_REASON_CHARS: Final = 400


class Letter(NamedTuple):
    """One bad CDR: its number in the stream of ``cdr.raw``, its first bytes, its headers."""

    seq: int
    data: bytes
    headers: dict[str, str]


class DeadLetters:
    """Bad CDRs on their way to ``cdr.dead``. ``add`` is a plain call; ``run`` is the one task."""

    def __init__(self, connection: Connection) -> None:
        self.stored = 0
        self.dropped = 0  # pushed out of memory; still in the stream of cdr.raw
        self.trouble: str | None = None
        self._connection = connection
        self._waiting: deque[Letter] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Letters in memory."""
        return len(self._waiting)

    def add(self, stream: str, created: str, seq: int, data: bytes, reason: str) -> None:
        """Queue a bad CDR, number ``seq`` of a stream that was made at ``created``.

        ``reason`` becomes the header ``Livestate-Reason``. Only the first ``LETTER_BYTES`` are
        stored; ``Livestate-Bytes`` has the length.
        """
        # The reason may quote the CDR, and a line break would end the header: it is escaped.
        shown = printable(reason, MAX_REASON_CHARS)
        headers = {
            "Livestate-Reason": shown,
            "Livestate-Bytes": str(len(data)),
            MESSAGE_ID: _message_id(stream, created, seq, data),
        }
        if len(self._waiting) == MOST_WAITING:
            self.dropped += 1
        self._waiting.append(Letter(seq, data[:LETTER_BYTES], headers))
        self._news.set()
        log.warning(
            "rejected a CDR: dead_letter_subject=%s stream=%s seq=%d reason=%s",
            DEAD_SUBJECT,
            stream,
            seq,
            shown,
        )

    async def run(self) -> None:
        """Store letters until cancelled. One that cannot be stored now is tried again."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._store_first()

    async def _store_first(self) -> None:
        letter = self._waiting[0]
        try:
            await self._connection.use(partial(_publish, letter))
        except FAILED as error:
            if letter.data and _exceeds_limit(error):
                # Half of it, down to the headers alone: the whole CDR is in its own stream.
                half = letter._replace(data=letter.data[: len(letter.data) // 2])
                self._replace_first(letter, half)
                return
            trouble = explained(error, DEAD_SUBJECT, self._connection.missing_right)
            if trouble != self.trouble:
                log.warning("dead letters wait in memory: reason=%s", trouble)
            self.trouble = trouble
            await asyncio.sleep(RETRY_SECONDS)
            return
        self.stored += 1
        self.trouble = None
        self._replace_first(letter, None)

    def _replace_first(self, letter: Letter, other: Letter | None) -> None:
        if self._waiting[0] is not letter:  # a new letter pushed it out meanwhile
            return
        if other is None:
            self._waiting.popleft()
        else:
            self._waiting[0] = other


def _message_id(stream: str, created: str, seq: int, data: bytes) -> str:
    """The same on all instances, so that the stream keeps one copy of each letter.

    Without the digest of the data, a sender with the right to publish on ``cdr.dead`` could store
    a message under the id of the next bad CDR. Without the time the stream was made, a stream that
    is deleted and made again would use ids that ``CDR_DEAD`` still remembers.
    """
    digest = sha256(created.encode() + b"\n" + data).hexdigest()[:32]
    return f"{stream}-{seq}-{digest}"


def _exceeds_limit(error: BaseException) -> bool:
    """Whether the server, the account or the stream takes only shorter messages."""
    return (
        isinstance(error, MaxPayloadError)
        or (isinstance(error, APIError) and error.err_code == TOO_LONG)
        or PAYLOAD_VIOLATION in str(error).lower()
    )


async def _publish(letter: Letter, client: Client) -> None:
    headers = letter.headers
    header_bytes = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    room = max(client.max_payload - header_bytes - len("NATS/1.0\r\n\r\n"), 0)
    await client.jetstream().publish(DEAD_SUBJECT, letter.data[:room], headers=headers)
