"""One TCP connection, from its first byte to its last.

A :class:`Connection` is the protocol of each accepted transport. It holds the first bytes until the
:class:`~api.http.accept_throttle.AcceptThrottle` runs it, then exactly one of three things happens:

1. The bytes are a request for a stream that is admitted: the connection *is* the stream from here
   on. No task, reader, queue or ASGI context is ever made for it.
2. They are anything else: Hypercorn gets the transport with these bytes
   (:mod:`api.http.hypercorn_seam`).
3. In the second case, a later request on the same connection (a proxy keeps connections open, a
   browser fetched the page on it) is for a stream that is admitted: Hypercorn lets go of the
   transport, and the connection is the stream.

As a stream, the connection is the outlet that the fan-out writes to: HTTP/1.1 chunks that are the
same for all clients go to the transport itself, 14 µs a delivery instead of 75 µs through ASGI
(docs/decisions/0006). ``write`` never waits; ``ready`` says that the kernel has taken everything.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, cast

import h11

from api.http.accept_throttle import AcceptThrottle
from api.http.listener import USER_TIMEOUT_MS, set_user_timeout
from api.http.tcp_progress import unacknowledged, unsent_bytes
from livestate.fanout.compression import GZIP_HEADER, WindowCursor
from livestate.fanout.frame import Frame, chunk

# A write is a call into the kernel, dearer than a copy of so much.
ONE_WRITE_BYTES: Final = 16 * 1024
_LAST_CHUNK: Final = b"0\r\n\r\n"  # RFC 9112 §7.1


class StreamAcceptor(Protocol):
    """Decides which requests become streams; :class:`~api.stream.fast_accept.FastAccept`."""

    def first_bytes(self, connection: Connection, data: bytes) -> bool:
        """Whether the connection is a stream now, because ``data`` is a whole request for one
        that is admitted. Else nothing has happened."""

    def request(self, connection: Connection, request: h11.Request) -> bool:
        """The same for a request that is parsed already, on a connection that Hypercorn serves."""


class ConnectionOwner(Protocol):
    """The server that a connection belongs to."""

    acceptor: StreamAcceptor | None
    first_bytes_seconds: float
    throttle: AcceptThrottle
    undecided: set[Connection]  # neither a stream nor Hypercorn's

    def hand_over(
        self, connection: Connection, transport: asyncio.Transport, data: bytes, seconds: float
    ) -> None:
        """Let Hypercorn serve the transport, which said ``data`` first. The head of its first
        request must be whole in ``seconds``."""

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """What every response carries, a stream's too."""


class Connection(asyncio.Protocol):
    """One connection; as a stream, a :class:`~livestate.fanout.subscriber.Outlet`."""

    __slots__ = ("_cursor", "_data", "_hypercorn_writer", "_on_lost", "_owner", "_paused", "_rest",
                 "_timer", "_transport")  # fmt: skip

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None  # of the first bytes
        self._data = b""  # the first bytes
        # Held because a StreamWriter that is garbage collected closes its transport.
        self._hypercorn_writer: asyncio.StreamWriter | None = None
        # Of a stream:
        self._on_lost: Callable[[], None] | None = None
        self._cursor: WindowCursor | None = None  # None: no gzip
        self._rest: Iterator[Frame] | None = None  # written, but the transport is full
        self._paused = False

    # -- until it is decided what it is ----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        owner = self._owner
        owner.undecided.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(owner.first_bytes_seconds, self._transport.close)

    def data_received(self, data: bytes) -> None:
        timer, self._timer = self._timer, None
        if timer is None:
            # A stream's client has nothing to say. One that sends a request all the same asks
            # again when this connection is closed (RFC 9112 §9.3.2).
            return
        # The time to say something is the client's; the time in the queue is ours. What the
        # client says meanwhile stays in the kernel.
        left = timer.when() - asyncio.get_running_loop().time()
        timer.cancel()
        self._data = data
        self._transport.pause_reading()
        self._owner.throttle.run(lambda: self._decide(max(0.0, left)))

    def _decide(self, seconds: float) -> None:
        owner, data, self._data = self._owner, self._data, b""
        owner.undecided.discard(self)
        if self.closing:
            return
        if owner.acceptor is None or not owner.acceptor.first_bytes(self, data):
            owner.hand_over(self, self._transport, data, seconds)

    def close(self) -> None:
        self._transport.close()

    def owned_again(self, writer: asyncio.StreamWriter) -> None:
        """Hypercorn has let go of the transport; ``writer`` was its own."""
        self._hypercorn_writer = writer

    @property
    def response_headers(self) -> list[tuple[bytes, bytes]]:
        return self._owner.response_headers()

    @property
    def peer(self) -> str:
        """The address at the other end; empty on a unix socket, or if the other end is gone."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer and isinstance(peer, tuple) else ""

    # -- as a stream -----------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def unsent(self) -> int:
        """Bytes on their way that the client has not acknowledged, here and in the kernel."""
        return 0 if self.closing else self.pending + unsent_bytes(self._socket)

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def unacknowledged(self) -> int | None:
        """A mark of what the client has yet to acknowledge, see
        :func:`~api.http.tcp_progress.unacknowledged`. Asked of a socket that is open for certain:
        the number of a closed one may be another's by now."""
        if self.closing and self._on_lost is None:
            return None
        return unacknowledged(self._socket, self.pending)

    def begin(
        self, head: bytes, frames: Sequence[Frame], *, gzip: bool, on_lost: Callable[[], None]
    ) -> None:
        """Be a stream from now on: write ``head`` and the first frames. ``on_lost`` is called when
        the connection ends."""
        self._on_lost = on_lost
        self._transport.set_protocol(self)
        self._transport.resume_reading()  # or it would not be noticed that the client leaves
        self.set_user_timeout(0)
        if gzip:
            self._cursor = WindowCursor()
            head += chunk(GZIP_HEADER)
        if sum(map(len, frames)) <= ONE_WRITE_BYTES:
            self._transport.write(head + b"".join(map(self._form, frames)))
        else:
            self._transport.write(head)
            self.write(frames)

    def ready(self) -> bool:
        return self._rest is None and not self.pending and not self.closing

    def write(self, frames: Iterable[Frame]) -> None:
        """Frames in their order, each as soon as the transport has room. Only when ``ready``."""
        self._rest = iter(frames)
        self._pump()

    def finish(self, frame: Frame) -> None:
        """A last frame after what is on its way (the rest of the others is dropped), and the end
        of the gzip, the response and its connection."""
        self._rest = None
        if not self.closing:
            self.set_user_timeout(USER_TIMEOUT_MS)  # or what the kernel holds stays for minutes
            last = self._form(frame)
            if self._cursor is not None:
                last += chunk(self._cursor.trailer())
            self._transport.write(last + _LAST_CHUNK)
            self._transport.close()

    def abort(self) -> None:
        """End the connection without what is still on its way."""
        self.set_user_timeout(USER_TIMEOUT_MS)
        self._transport.abort()

    def set_user_timeout(self, milliseconds: int) -> None:
        """When the kernel itself cuts a client that acknowledges nothing; 0: never."""
        if not self.closing:
            set_user_timeout(self._socket, milliseconds)

    @property
    def _socket(self) -> socket.socket:
        return cast("socket.socket", self._transport.get_extra_info("socket"))

    def _form(self, frame: Frame) -> bytes:
        return frame.chunk if self._cursor is None else frame.deflated_chunk(self._cursor)

    def _pump(self) -> None:
        if self._rest is None:
            return
        for frame in self._rest:
            self._transport.write(self._form(frame))
            if self._paused:
                return
        self._rest = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owner.undecided.discard(self)
        self._rest = None
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()
