"""One HTTP/2 connection by hand, over TLS: requests whose body does not come, beside a stream."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError


class Http2:
    """``status`` and ``ended`` are by stream: the answer's status, and the loop's time at which the
    server let go of the stream. ``data`` counts the bytes that came in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status: dict[int, int] = {}
        self.ended: dict[int, float] = {}
        self.data: dict[int, int] = {}
        self.closed: float | None = None
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()

    def ask(self, path: str, *headers: tuple[str, str], method: str = "GET",
            body: bytes | None = b"") -> int:  # fmt: skip
        """Send a request; its body is whole, or, where it is None, never comes. Gives its stream's
        number."""
        stream = self._h2.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "https"),
                  (":authority", "localhost"), *headers]  # fmt: skip
        self._h2.send_headers(stream, fields, end_stream=body == b"")
        if body:
            self._h2.send_data(stream, body, end_stream=True)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes) -> None:
        """A piece of a body, where the server still takes one."""
        with contextlib.suppress(ProtocolError):
            self._h2.send_data(stream, data)
            self._flush()

    async def run(self) -> None:
        """Note what comes until the server closes the connection."""
        loop = asyncio.get_running_loop()
        while received := await self._reader.read(65536):
            for event in self._h2.receive_data(received):
                self._note(event, loop.time())
            self._flush()
        self.closed = loop.time()

    def _note(self, event: Any, now: float) -> None:
        if isinstance(event, ResponseReceived):
            headers: dict[Any, Any] = dict(event.headers)
            self.status[event.stream_id] = int(headers[":status"])
        elif isinstance(event, DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, 0) + len(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            self.ended.setdefault(event.stream_id, now)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())


@contextlib.asynccontextmanager
async def http2(port: int) -> AsyncIterator[Http2]:
    """A connection to a server on this machine, whose certificate is not looked at."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    client = Http2(reader, writer)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        writer.transport.abort()
