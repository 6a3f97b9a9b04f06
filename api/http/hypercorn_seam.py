"""The only module that imports Hypercorn and knows its internals.

Hypercorn parses requests and runs the app. It does not accept connections here: its
``worker_serve`` cannot be given another connection class, and each stream would begin with its
tasks. So :class:`Server` accepts, and composes Hypercorn's own classes for whatever is not a
stream. Nothing is assigned to Hypercorn's modules; two of its classes are subclassed.

The names that this rests on, of the pinned version, are held by
``tests/unit/http/test_hypercorn_seam.py``:

* ``TCPServer``: ``__init__``, ``_read_data``, ``protocol_send``, ``_close``, ``_idle_timeout``, and
  that ``run`` makes a protocol with ``initiate`` and ``handle``.
* ``H11Protocol``: ``handle``, ``stream_send``, ``_create_stream``, ``_maybe_recycle``,
  ``_send_error_response``, ``_send_h11_event``, ``_close_stream``.
* ``TaskGroup``, ``WorkerContext``, ``Lifespan``, ``ConnectionState``, ``wrap_app``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import h11
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState, Framework, LifespanState
from hypercorn.utils import parse_socket_addr, wrap_app

from api.http.accept_throttle import AcceptThrottle
from api.http.connection import Connection, StreamAcceptor
from api.http.listener import BACKLOG, handles
from api.http.problem import details
from api.http.request import MAX_HEAD_BYTES, PlainRequests
from api.http.served_connections import ServedConnections
from livestate.process.tasks import cancel_and_wait

IDLE_SECONDS: Final = 7  # a proxy must let go of idle connections sooner, see deploy/Caddyfile
GRACEFUL_SECONDS: Final = 1
ACCEPTED_A_ROUND: Final = 8  # rounds of the loop, so that accepting goes first
_DETAILS: Final = {
    400: "This is not a request that HTTP/1.1 knows.",
    414: "The path or the query is too long.",
    431: "The headers are too large.",
    505: "This is HTTP/1.1.",
}


def configuration(log: logging.Logger, *, idle_seconds: float = IDLE_SECONDS) -> Config:
    config = Config()
    # From the connection to a whole request's headers, and between two requests.
    config.keep_alive_timeout = idle_seconds
    config.read_timeout = None  # a stream's client sends nothing more
    config.graceful_timeout = GRACEFUL_SECONDS
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = log
    return config


class Server:
    """Serves one app on one address; a :class:`~api.http.connection.ConnectionOwner`."""

    def __init__(
        self,
        app: Framework,
        config: Config,
        acceptor: StreamAcceptor | None = None,
        prefix: str = "",
        served: ServedConnections | None = None,
    ) -> None:
        """``acceptor``: which requests become streams; None: all go to the app. ``prefix`` is
        removed from paths that begin with it. ``served`` bounds what Hypercorn serves."""
        self.acceptor = acceptor
        self.prefix = prefix.encode()
        self.first_bytes_seconds = float(config.keep_alive_timeout)
        self.throttle = AcceptThrottle(ACCEPTED_A_ROUND)
        self.undecided: set[Connection] = set()
        self.served = ServedConnections() if served is None else served
        self.app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self.config = config
        self.context = WorkerContext(None)
        self.state: LifespanState = {}
        self._tasks: set[asyncio.Task[None]] = set()  # of connections that Hypercorn serves

    async def serve(self, listener: socket.socket, until: Callable[[], Awaitable[object]]) -> None:
        """Serve until ``until()`` returns; then what is being answered gets a moment."""
        loop = asyncio.get_running_loop()
        lifespan = Lifespan(self.app, self.config, loop, self.state)
        living = loop.create_task(lifespan.handle_lifespan())
        await lifespan.wait_for_startup()
        if living.done():
            living.result()  # the app failed to start
        unix = listener.family == socket.AF_UNIX
        create = loop.create_unix_server if unix else loop.create_server
        servers = [
            await create(partial(Connection, self), sock=handle, backlog=BACKLOG)
            for handle in handles(listener)
        ]
        try:
            await until()
        finally:
            for server in servers:
                server.close()
            self.acceptor = None
            for connection in tuple(self.undecided):
                connection.close()
            await self.context.terminated.set()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.config.graceful_timeout)
            await cancel_and_wait(*self._tasks)
            await lifespan.wait_for_shutdown()
            await cancel_and_wait(living)

    def hand_over(
        self, connection: Connection, transport: asyncio.Transport, data: bytes, seconds: float
    ) -> None:
        """Let Hypercorn serve ``transport``: give it the reader and writer that it expects."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        served = HypercornConnection(self, connection, reader, writer)
        self.served.add(served)
        task = loop.create_task(served.serve(data, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        transport.resume_reading()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a connection failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        return self.config.response_headers("h11")


class HypercornConnection(TCPServer):
    """A connection while Hypercorn serves it. A request for a stream takes the transport away."""

    def __init__(
        self,
        server: Server,
        connection: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server.app, loop, server.config, server.context, server.state, reader, writer
        )
        self._server = server
        self._connection = connection
        self._taken = False
        self._left = False
        self._first = b""
        self._head_timer: asyncio.TimerHandle | None = None

    async def serve(self, data: bytes, seconds: float) -> None:
        """:meth:`run`, for a connection that said ``data`` first and whose first head must be
        whole in ``seconds``: a client that sends it slowly gets Hypercorn's own time once."""
        self._first = data
        self._head_timer = self.loop.call_later(seconds, self.writer.close)
        try:
            await self.run()
        finally:
            self._server.served.remove(self)
            del self.protocol  # it refers back: 33 objects would wait for the collector

    def drop(self) -> None:
        self.writer.transport.abort()

    async def run(self) -> None:
        """As Hypercorn's, with :class:`PlainHttp1` instead of the choice between its protocols."""
        line = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(line.family, line.getpeername())
            server = parse_socket_addr(line.family, line.getsockname())
            async with TaskGroup(self.loop) as task_group:
                self._task_group = task_group
                self.protocol = PlainHttp1(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                self.protocol.becomes_stream = self._becomes_stream  # type: ignore[attr-defined]
                self.protocol.on_endless = partial(  # type: ignore[attr-defined]
                    self._server.served.remove, self
                )
                self.protocol.requests.prefix = self._server.prefix  # type: ignore[attr-defined]
                await self.protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # the client is gone
        finally:
            await self._close()

    def _becomes_stream(self, request: h11.Request) -> bool:
        """Whether ``request`` took the transport. What Hypercorn still says then goes nowhere."""
        acceptor = self._server.acceptor
        if acceptor is None or not acceptor.request(self._connection, request):
            return False
        self._taken = True
        self._server.served.remove(self)
        self._connection.owned_again(self.writer)
        self.reader.feed_eof()
        return True

    async def _read_data(self) -> None:
        first, self._first = self._first, b""
        await self.protocol.handle(RawData(first))
        await super()._read_data()
        # The client left. Hypercorn would wait for the idle time all the same, and each collection
        # of cycles walk through what the connection is made of (see served_connections.py).
        self._left = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if self._taken:
            return
        if isinstance(event, Updated):
            self._updated(idle=event.idle)
            if self._left:
                return  # no more idle time begins
        await super().protocol_send(event)

    def _updated(self, *, idle: bool) -> None:
        """A whole head has come, or its request was answered."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        if idle:
            self._server.served.idle(self)
        else:
            self._server.served.busy(self)

    async def _close(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._taken:
            await self.idle_task.stop()
        else:
            await super()._close()


class PlainHttp1(H11Protocol):
    """HTTP/1.1 and nothing else, one request at a time.

    Hypercorn turns into HTTP/2 or a WebSocket where a client asks for it (``Upgrade``, or the
    preface of HTTP/2). A proxy passes an upgrade on and then forwards bytes: the client would
    bypass the proxy's path rules, with an ``X-Forwarded-For`` of its own choice. So an upgrade
    is ignored, as a server may (RFC 9110 §7.8): :mod:`api.http.headers` removes it with every other
    header that the service does not read.

    And where a request comes before the one before it was answered, Hypercorn stops reading: of a
    stream, which never ends, it would not see the client leave. So input on a stream's connection
    is dropped. The connection ends with the stream, and the client repeats its request (RFC 9112
    §9.3.2).
    """

    becomes_stream: Callable[[h11.Request], bool]
    on_endless: Callable[[], None]  # a response of unknown length begins

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        most = self.config.h11_max_incomplete_size
        self.requests = PlainRequests(h11.SERVER, max_incomplete_event_size=most)
        self.connection = self.requests
        self._hasty = False

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self.requests.endless:
            self._hasty = self._hasty or bool(event.data)
        else:
            await super().handle(event)

    async def _create_stream(self, request: h11.Request) -> None:
        if not self.becomes_stream(request):
            await super()._create_stream(request)

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response):
            bounded = any(name == b"content-length" for name, _ in event.headers)
            if event.status_code == 200 and not bounded:
                self.requests.endless = True
                self.on_endless()
                await self.can_read.set()
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        endless, self.requests.endless = self.requests.endless, False
        if self._hasty or (endless and self.requests.trailing_data[0]):
            await self._close_stream()
            await self.send(Closed())
        else:
            await super()._maybe_recycle()

    async def _send_error_response(self, status_code: int) -> None:
        body = details(status_code, _DETAILS.get(status_code, _DETAILS[400]))
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        if not self.requests.bodiless:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
