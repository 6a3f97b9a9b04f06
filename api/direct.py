"""The seam on Hypercorn: a stream takes its connection over, and finished bytes go straight out.

Hypercorn accepts, parses, runs the app and sends the headers and the first state; or, for most, the
door (:mod:`api.door`) has done so from the first bytes, before Hypercorn was asked. Then the stream
takes the connection: all of Hypercorn's and Quart's tasks, queues and contexts on it end, and what
is left of it is a transport and its :class:`Outlet`. From then on a stream's frames are HTTP/1.1
chunks that are the same for everybody, which the hub hands to the transport itself: no task, no
queue, no copy per client and frame (14 µs instead of 75 µs a delivery).

It rests on what ``tests/test_direct.py`` holds fast against the pinned version:
``hypercorn.asyncio.run.worker_serve`` makes a ``TCPServer`` for each connection, which has
``config``, ``reader`` and ``writer``, awaits ``run``, reads by ``_read_data``, sends by
``protocol_send`` and ends by ``_close``. Where
the seam is not there (HTTP/2, another ASGI server, HTTP/1.0) ``outlet`` gives None, and the
stream's own task writes the same frames.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Final, cast

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Event, RawData, Updated
from quart import Request

from api.stall import owed
from api.turns import Turns
from livestate.runtime.frame import GZIP_HEADER, Follower, Frame, chunk

BACKLOG: Final = 4096  # with Hypercorn's 100, 2,000 dashboards that come back wait 18 s
# libuv accepts one connection a round of the loop and handle. With one handle those who come back
# overflow the backlog while others are served, and try again seconds later.
HANDLES: Final = 32
SERVED_AT_ONCE: Final = 8  # a round, so that accepting goes first
# The kernel's own bound for a peer that acknowledges nothing (RFC 5482). It is a blunt one: it also
# cuts who goes on reading, but little at a time, through a window smaller than a segment. So it is
# not for streams, which ``Streams.sweep`` watches, only for all other answers.
USER_TIMEOUT_MS: Final = 30_000
# What the kernel may hold of a stream. More would be old frames that a slow client reads minutes
# late, while we believe it is up to date.
NOT_SENT_BYTES: Final = 32 * 1024
SEND_BUFFER_BYTES: Final = 128 * 1024

# A write is a call into the kernel, dearer than a copy of so much.
ONE_WRITE_BYTES: Final = 16 * 1024

_LAST_CHUNK: Final = b"0\r\n\r\n"  # RFC 9112 §7.1

_connection: ContextVar[Connection | None] = ContextVar("connection", default=None)


class Config(HypercornConfig):
    """Hypercorn's, which every connection has: so it is how each learns of the door."""

    def __init__(self, door: Callable[[Connection, bytes], bool] | None = None) -> None:
        super().__init__()
        self.door = door
        self.silent: set[Connection] = set()  # have said nothing yet
        self.turns = Turns(SERVED_AT_ONCE)

    def close_door(self) -> None:
        """Before the end: Hypercorn closes the connections that it knows, these it does not."""
        self.door = None
        for connection in self.silent:
            connection.writer.close()


class Connection(TCPServer):
    """Hypercorn's connection, which a request on it can take away."""

    config: Config
    taken = False
    _first = b""
    _late: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """The door first: who is let in there needs nothing of what comes after."""
        door = self.config.door
        if door is not None:
            # Hypercorn's own time begins when it is asked; a slow head is not to have both. But who
            # waits for his turn is not slow: we are.
            last = self.loop.time() + self.config.keep_alive_timeout
            self._late = self.loop.call_at(last, self.writer.close)
            self._first = await self._first_bytes()
            self._late.cancel()
            left = last - self.loop.time()
            await self.config.turns.mine()
            if self.writer.is_closing():  # lost or too late; Hypercorn would ask for its address
                return
            self._late = self.loop.call_later(max(0.0, left), self.writer.close)
            if not self.reader.at_eof() and door(self, self._first):
                self._late.cancel()
                return
        _connection.set(self)
        await super().run()

    async def _first_bytes(self) -> bytes:
        self.config.silent.add(self)
        try:
            return await self.reader.read(MAX_RECV)
        except OSError:  # who is lost is so for Hypercorn too
            return b""
        finally:
            self.config.silent.discard(self)

    async def _read_data(self) -> None:
        first, self._first = self._first, b""
        if first:
            await self.protocol.handle(RawData(first))
        await super()._read_data()

    def take(self) -> None:
        """Let go of the transport, and end. What the app and Hypercorn still say (the end of the
        response, a close) goes nowhere."""
        self.taken = True
        self.loop.call_soon(self.reader.feed_eof)  # once the app is done

    async def protocol_send(self, event: Event) -> None:
        if self._late is not None and isinstance(event, Updated):  # a whole head has come
            self._late.cancel()
        if not self.taken:
            await super().protocol_send(event)

    async def _close(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if self.taken:
            await self.idle_task.stop()
        else:
            await super()._close()


class Outlet(asyncio.Protocol):
    """The way out of one connection: an :class:`~livestate.runtime.channel.Outlet`, and the
    transport's protocol from the moment it is taken over."""

    __slots__ = ("_connection", "_follower", "_lost", "_paused", "_rest", "_transport", "_writer")

    def __init__(self, connection: Connection, follower: Follower | None) -> None:
        self._connection: Connection | None = connection
        # Held because a StreamWriter that is forgotten closes its transport.
        self._writer = connection.writer
        self._transport = cast("asyncio.Transport", connection.writer.transport)
        self._follower = follower  # None: no gzip
        self._lost: Callable[[], None] | None = None
        self._rest: Iterator[Frame] | None = None  # written, but the transport is full
        self._paused = False

    @property
    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def owed(self) -> int | None:
        """A mark of what the client has yet to acknowledge, see :func:`~api.stall.owed`. Asked of
        a socket that is open for certain: the number of a closed one may be another's by now."""
        if self.closing and self._lost is None:
            return None
        return owed(self._transport.get_extra_info("socket"), self.pending)

    def spare(self, *, spared: bool = True) -> None:
        """Whether the kernel leaves it to us to cut a client that takes nothing."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None and not self.closing:
            bound = 0 if spared else USER_TIMEOUT_MS
            line = self._transport.get_extra_info("socket")
            line.setsockopt(socket.IPPROTO_TCP, option, bound)

    def take_over(self, lost: Callable[[], None]) -> None:
        """From now on this is all there is of the connection; ``lost`` is called when it ends."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.take()
        self._lost = lost
        self._transport.set_protocol(self)
        # Who said more than a reader keeps, while he waited, is still to be seen to leave.
        self._transport.resume_reading()

    def ready(self) -> bool:
        return self._rest is None and not self.pending and not self.closing

    def begin(self, head: bytes, frames: Sequence[Frame]) -> None:
        """The head of the response and its first frames."""
        if self._follower is not None:
            head += chunk(GZIP_HEADER)
        if sum(map(len, frames)) <= ONE_WRITE_BYTES:
            self._transport.write(head + b"".join(map(self._form, frames)))
        else:
            self._transport.write(head)
            self.write(frames)

    def write(self, frames: Iterable[Frame]) -> None:
        """Frames in their order, each as soon as the transport has room. Only when ``ready``."""
        self._rest = iter(frames)
        self._pump()

    def finish(self, frame: Frame) -> None:
        """A last frame after what is on its way (the rest of the others is dropped), and the end
        of the response and its connection."""
        self._rest = None
        if not self.closing:
            self.spare(spared=False)  # or what the kernel holds would stay for minutes
            self._transport.write(self._form(frame) + _LAST_CHUNK)
            self._transport.close()

    def abort(self) -> None:
        self.spare(spared=False)
        self._transport.abort()

    def _form(self, frame: Frame) -> bytes:
        return self._follower.chunk(frame) if self._follower is not None else frame.chunk

    def _pump(self) -> None:
        if self._rest is None:
            return
        for frame in self._rest:
            self._transport.write(self._form(frame))
            if self._paused:
                return
        self._rest = None

    # -- asyncio.Protocol ------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        """A stream's client has nothing more to say; who says it all the same asks again when
        this connection is closed (RFC 9112 §9.3.2)."""

    def connection_lost(self, error: Exception | None) -> None:
        self._rest = None
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()


def install() -> None:
    """Let Hypercorn make our connections."""
    hypercorn_run.TCPServer = Connection  # type: ignore[attr-defined]


def outlet(request: Request, follower: Follower | None) -> Outlet | None:
    """The direct way out of this request's connection, where there is one."""
    connection = _connection.get()
    if connection is None or request.http_version != "1.1":
        return None
    return Outlet(connection, follower)


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


def handles(listener: socket.socket) -> list[int]:
    """The listener as so many file descriptors; it is not used itself any more."""
    more = [os.dup(listener.fileno()) for _ in range(HANDLES - 1)]
    return [listener.detach(), *more]
