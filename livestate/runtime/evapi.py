"""Kamailio's evapi as a client: frames in, questions out, on one ordered TCP connection.

Kamailio's SIP workers stand still behind a client that does not read (upstream #4603), so this one
always reads. What cannot be worked off is dropped and counted, and the list of dialogs mends it;
only the ends of calls are kept as long as there is any room, for they become CDRs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

from livestate.bridge.netstring import BadNetstring, Decoder, encode

INBOX_BYTES: Final = 32 * 1024 * 1024  # 10 s of 5,000 frames a second
INBOX_BYTES_OF_ENDS: Final = 4 * INBOX_BYTES
SILENT_SECONDS: Final = 7.0  # three heartbeats: the connection is half-open, or Kamailio stands
_ENDS: Final = (b'"ev":"ended"', b'"ev":"failed"', b'"ev": "ended"', b'"ev": "failed"')


class Evapi(asyncio.Protocol):
    """One connection. ``frames()`` is what came since it was last called."""

    def __init__(self) -> None:
        self.received = 0
        self.dropped = 0
        self.dropped_ends = 0
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.heard_at = asyncio.get_running_loop().time()
        self._decoder = Decoder()
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> Evapi:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, host, port)
        return protocol

    def ask(self, message: bytes) -> None:
        """Send something to Kamailio. A plain call; our questions are few and small."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def frames(self, most: int) -> list[bytes]:
        """At most so many of what has come, the oldest first."""
        taken = [self._inbox.popleft() for _ in range(min(most, len(self._inbox)))]
        self._inbox_bytes -= sum(map(len, taken))
        if not self._inbox:
            self.news.clear()
        return taken

    def close(self, reason: str = "closed by us") -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        try:
            for frame in self._decoder.feed(data):
                self._put(frame)
        except BadNetstring as error:
            self.close(f"not a netstring: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._end(str(error) if error else "closed by Kamailio")

    def _put(self, frame: bytes) -> None:
        self.received += 1
        if self._inbox_bytes >= INBOX_BYTES:
            end = any(mark in frame for mark in _ENDS)
            if not end or self._inbox_bytes >= INBOX_BYTES_OF_ENDS:
                self.dropped += 1
                self.dropped_ends += end
                return
        self._inbox.append(frame)
        self._inbox_bytes += len(frame)
        self.news.set()

    def _end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)
        self.news.set()
