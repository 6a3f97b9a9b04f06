"""Kamailio's evapi as a client: reads frames, sends questions, on one ordered TCP connection.

:mod:`~livestate.bridge.kamailio.source` and ``livestate bridge --check`` use it. Kamailio's SIP
workers block while their evapi client does not read (upstream #4603), so this client always reads.
Frames that are not handled in time are dropped and counted, and the next list repairs the loss.
Terminal events are dropped last, because they become CDRs. Answers to questions have a bound of
their own: a list may be longer than all waiting events, and neither may displace the other.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Final, cast

from livestate.bridge.kamailio.answers import LIST_ID
from livestate.bridge.kamailio.netstring import MAX_BYTES, BadNetstring, Decoder, encode

INBOX_BYTES: Final = 32 * 1024 * 1024  # 10 s of 5,000 frames a second
INBOX_BYTES_OF_ENDS: Final = 4 * INBOX_BYTES
INBOX_BYTES_OF_ANSWERS: Final = 2 * MAX_BYTES  # including the marks around a list
SILENT_SECONDS: Final = 7.0  # three heartbeats: half-open connection, or Kamailio hangs
_ENDS: Final = (b'"ev":"ended"', b'"ev":"failed"', b'"ev": "ended"', b'"ev": "failed"')
_ANSWER: Final = re.compile(rb'\{\s*"jsonrpc"')  # within HEAD_BYTES
_MARKS: Final = (b'"ev":"snapshot_', b'"ev": "snapshot_')


class EvapiClient(asyncio.Protocol):
    """One connection. ``news`` is set while frames wait; ``closed`` has the reason of its end."""

    def __init__(self) -> None:
        self.received = 0
        self.dropped = 0
        self.dropped_ends = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.last_seen_at = asyncio.get_running_loop().time()
        self._decoder = Decoder(_list_too_long)
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._answer_bytes = 0
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> EvapiClient:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, host, port)
        return protocol

    def ask(self, message: bytes) -> None:
        """Send a question to Kamailio. Does nothing on a closed connection."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def frames(self, most: int) -> list[bytes]:
        """Take up to ``most`` waiting frames, the oldest first."""
        taken = [self._inbox.popleft() for _ in range(min(most, len(self._inbox)))]
        for frame in taken:
            if _is_answer(frame):
                self._answer_bytes -= len(frame)
            else:
                self._inbox_bytes -= len(frame)
        if not self._inbox:
            self.news.clear()
        return taken

    def close(self, reason: str = "closed by us") -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self.last_seen_at = asyncio.get_running_loop().time()
        try:
            for frame in self._decoder.feed(data):
                self._enqueue(frame)
        except BadNetstring as error:
            self.close(f"not a netstring: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._end(str(error) if error else "closed by Kamailio")

    def _enqueue(self, frame: bytes) -> None:
        self.received += 1
        if _is_answer(frame):
            if self._answer_bytes >= INBOX_BYTES_OF_ANSWERS:
                self.dropped += 1
                return
            self._answer_bytes += len(frame)
            self._inbox.append(frame)
            self.news.set()
            return
        if self._inbox_bytes >= INBOX_BYTES:
            # Ends of refused calls (no h_id) stay stored at the node: scanners get no extra room.
            end = any(mark in frame for mark in _ENDS) and b'"h_id"' in frame
            if not end or self._inbox_bytes >= INBOX_BYTES_OF_ENDS:
                self.dropped += 1
                self.dropped_ends += end
                return
        self._inbox.append(frame)
        self._inbox_bytes += len(frame)
        self.news.set()

    def _end(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        self.news.set()


def _list_too_long(length: int, head: bytes) -> bytes:
    """Replaces an answer that is too long to keep, which only a list of dialogs can be, by one that
    says that the list failed: the bridge logs the reason and sends no list. Raises BadNetstring
    for a frame that is no answer."""
    if not _ANSWER.match(head):
        raise BadNetstring(f"length {length}, and no answer")
    error = b"a list of %d bytes, more than %d" % (length, MAX_BYTES)
    return b'{"jsonrpc":"2.0","id":%b,"error":"%b"}' % (LIST_ID, error)


def _is_answer(frame: bytes) -> bool:
    """Whether a frame is an answer to a question, or a mark before or behind a list."""
    head = frame[:200]
    return b'"jsonrpc"' in head or any(mark in head for mark in _MARKS)
