"""The seam on Hypercorn: finished bytes straight to a connection's transport.

Hypercorn accepts, parses, runs the app and sends the headers. From then on a stream's frames are
HTTP/1.1 chunks that are the same for everybody, so the hub hands them to the transport itself:
no task switch, no queue, no copy per client and frame (14 µs instead of 75 µs a delivery).

It rests on one thing, held fast by ``tests/test_direct.py`` against the pinned version:
``hypercorn.asyncio.run.worker_serve`` makes a ``TCPServer`` for each connection, which has
``writer`` and awaits ``run``. Where the seam is not there (HTTP/2, another ASGI server, HTTP/1.0)
``outlet`` gives None, and the stream's own task writes the same frames.
"""

from __future__ import annotations

import asyncio
import socket
from contextvars import ContextVar
from typing import Final

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import TCPServer
from quart import Request

from livestate.runtime.frame import Frame

BACKLOG: Final = 4096  # with Hypercorn's 100, 2,000 dashboards that come back wait 18 s
# A peer that acknowledges nothing for this long is gone, however full its pipe is (RFC 5482).
USER_TIMEOUT_MS: Final = 20_000
# What the kernel may hold of a stream. More would be old frames that a slow client reads minutes
# late, while we believe it is up to date.
NOT_SENT_BYTES: Final = 32 * 1024
SEND_BUFFER_BYTES: Final = 128 * 1024

_transport: ContextVar[asyncio.WriteTransport | None] = ContextVar("transport", default=None)


class Connection(TCPServer):
    """Hypercorn's connection, which tells the requests on it what they are written to."""

    async def run(self) -> None:
        _transport.set(self.writer.transport)
        await super().run()


class Chunks:
    """An :class:`~livestate.runtime.channel.Outlet` on a transport."""

    __slots__ = ("_gzip", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, *, gzip: bool) -> None:
        self._transport = transport
        self._gzip = gzip

    @property
    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def ready(self) -> bool:
        return self._transport.get_write_buffer_size() == 0 and not self._transport.is_closing()

    def write(self, frame: Frame) -> None:
        self._transport.write(frame.block_chunk if self._gzip else frame.chunk)

    def abort(self) -> None:
        self._transport.abort()


def install() -> None:
    """Let Hypercorn make our connections."""
    hypercorn_run.TCPServer = Connection  # type: ignore[attr-defined]


def outlet(request: Request, *, gzip: bool) -> Chunks | None:
    """The direct way out of this request's connection, where there is one."""
    transport = _transport.get()
    if transport is None or request.http_version != "1.1":
        return None
    return Chunks(transport, gzip=gzip)


def listen(address: str) -> socket.socket:
    """A socket that listens on ``host:port``, whose connections notice dead peers. Raises
    OSError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    for name, value in (("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
                        ("TCP_NOTSENT_LOWAT", NOT_SENT_BYTES), ("TCP_NODELAY", 1)):  # fmt: skip
        option = getattr(socket, name, None)  # accepted connections inherit them (Linux)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.bind((host, int(port)))
    listener.listen(BACKLOG)
    return listener
