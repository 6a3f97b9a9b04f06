"""The seam on Hypercorn: the pinned version has the names that it rests on, and a connection goes
to a stream, to Hypercorn, or from Hypercorn to a stream."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import h11
import hypercorn
import pytest
from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio import tcp_server
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol import h11 as hypercorn_h11
from hypercorn.protocol.h11 import H11Protocol

from api.http import hypercorn_seam
from api.http.accept_throttle import AcceptThrottle
from api.http.connection import Connection
from api.http.hypercorn_seam import HypercornConnection, PlainHttp1, Server, configuration
from api.http.listener import listen
from api.http.served_connections import ServedConnections
from livestate.fanout.frame import Frame
from tests.abuse.raw import Answer, connection, get

# -- the names -------------------------------------------------------------------------------------


def test_hypercorn_is_the_version_that_the_seam_was_seen_on() -> None:
    assert version("hypercorn") == "0.18.0"


def test_hypercorn_has_the_names_that_the_seam_rests_on() -> None:
    assert list(inspect.signature(TCPServer.__init__).parameters) == [
        "self", "app", "loop", "config", "context", "state", "reader", "writer"
    ]  # fmt: skip
    assert list(inspect.signature(H11Protocol.__init__).parameters) == [
        "self", "app", "config", "context", "task_group", "connection_state", "ssl", "client",
        "server", "send",
    ]  # fmt: skip
    for ours, theirs in ((HypercornConnection, TCPServer), (PlainHttp1, H11Protocol)):
        for name in vars(ours).keys() & {*dir(theirs)} - {*dir(object)}:
            mine, base = getattr(ours, name), getattr(theirs, name)
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(base), name
    for name in ("_idle_timeout", "_read_data", "_close", "protocol_send"):
        assert inspect.iscoroutinefunction(getattr(TCPServer, name)), name
    for name in ("_create_stream", "_maybe_recycle", "_send_error_response", "_send_h11_event",
                 "_close_stream", "initiate", "handle"):  # fmt: skip
        assert inspect.iscoroutinefunction(getattr(H11Protocol, name)), name
    for name in ("handle_lifespan", "wait_for_startup", "wait_for_shutdown"):
        assert inspect.iscoroutinefunction(getattr(Lifespan, name)), name


def test_hypercorns_own_run_does_what_ours_repeats() -> None:
    run = inspect.getsource(TCPServer.run)
    for part in ("parse_socket_addr", "TaskGroup(self.loop)", "ProtocolWrapper(",
                 "self.protocol.initiate()", "self.idle_task.restart(", "self._read_data()",
                 "except OSError", "self._close()"):  # fmt: skip
        assert part in run, part
    assert "await self._create_stream(event)" in inspect.getsource(H11Protocol._handle_events)
    worker_serve = inspect.getsource(hypercorn_run.worker_serve)
    for part in ("lifespan.handle_lifespan()", "context.terminated.set()", "TCPServer(app, loop"):
        assert part in worker_serve, part


def test_nothing_is_assigned_to_hypercorns_modules() -> None:
    home = Path(hypercorn.__file__).parent
    for module, name in ((hypercorn_run, "TCPServer"), (tcp_server, "ProtocolWrapper"),
                         (hypercorn_h11, "H11Protocol")):  # fmt: skip
        assert Path(inspect.getfile(getattr(module, name))).is_relative_to(home)


def test_one_module_imports_hypercorn() -> None:
    root = Path(hypercorn_seam.__file__).parents[1]
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "import hypercorn\n" in path.read_text() or "from hypercorn" in path.read_text()
    }
    assert found == {"http/hypercorn_seam.py"}


# -- a connection ----------------------------------------------------------------------------------


async def echo(scope: dict, receive: Callable, send: Callable) -> None:  # type: ignore[type-arg]
    """A small app: it says which path it was asked for."""
    if scope["type"] == "lifespan":
        return
    body = scope["raw_path"]
    if body == b"/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await receive()  # the client leaves
        await receive()
        return
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Acceptor:
    """Makes a stream of requests for ``path``; the head that it writes is ``taken ``."""

    path: bytes = b""
    seen: list[bytes] = field(default_factory=list)
    taken: list[Connection] = field(default_factory=list)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    pause: bool = False

    def first_bytes(self, connection: Connection, data: bytes) -> bool:
        self.seen.append(data)
        return self._accept(connection, data.split(b" ")[1] if b" " in data else data)

    def request(self, connection: Connection, request: h11.Request) -> bool:
        return self._accept(connection, request.target)

    def _accept(self, connection: Connection, path: bytes) -> bool:
        if path != self.path:
            return False
        if self.pause:
            connection._transport.pause_reading()  # as the reader does when it is full
        connection.begin(b"taken " + path, [], gzip=False, on_lost=self.lost.set)
        self.taken.append(connection)
        return True


@contextlib.asynccontextmanager
async def served(
    acceptor: Acceptor | None, bound: ServedConnections | None = None
) -> AsyncIterator[int]:
    """The small app behind an acceptor, on a port."""
    listener = listen("127.0.0.1:0")
    port: int = listener.getsockname()[1]
    config = configuration(logging.getLogger("livestate.test"), idle_seconds=1)
    ending = asyncio.Event()
    server = Server(echo, config, acceptor, served=bound)  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve(listener, ending.wait))
    try:
        yield port
    finally:
        ending.set()
        await asyncio.wait_for(serving, 10)


async def test_what_is_no_stream_reaches_the_app_as_it_came() -> None:
    acceptor = Acceptor()
    async with served(acceptor) as port, connection(port) as (reader, writer):
        for path in ("/first", "/second"):
            writer.write(get(path))
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(answer.headers["content-length"]))
            assert body == path.encode()
        assert acceptor.seen == [get("/first")]  # only what a connection says first


async def test_a_connection_that_the_client_closed_is_forgotten_at_once() -> None:
    async with served(Acceptor()) as port:
        before = len(asyncio.all_tasks())
        for path in ("/first", "/second", "/third"):
            async with connection(port) as (reader, writer):
                writer.write(get(path))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                assert len(asyncio.all_tasks()) > before
        await asyncio.sleep(0.3)  # an idle connection lives for 1 s here
        assert len(asyncio.all_tasks()) == before


async def test_a_crowd_of_idle_connections_is_bounded() -> None:
    bound = ServedConnections(3)
    async with served(Acceptor(), bound) as port, contextlib.AsyncExitStack() as stack:
        opened = []
        for path in ("/1", "/2", "/3", "/4", "/5"):
            reader, writer = await stack.enter_async_context(connection(port))
            opened.append((reader, writer))
            writer.write(get(path))
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(int(answer.headers["content-length"]))
        for reader, _ in opened[:2]:  # the longest idle
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 0.5) == b""
        for reader, writer in opened[2:]:
            writer.write(get("/again"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert (bound.dropped, len(bound)) == (2, 3)


async def test_a_stream_that_hypercorn_serves_is_not_counted() -> None:
    bound = ServedConnections(1)
    async with served(None, bound) as port, connection(port) as (stream, writer):
        writer.write(get("/endless"))
        await stream.readuntil(b"begun")
        for _ in range(3):
            async with connection(port) as (reader, other):
                other.write(get("/first"))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(), 0.3)


async def test_a_stream_of_the_first_bytes_never_was_hypercorns() -> None:
    acceptor = Acceptor(b"anything")
    async with served(acceptor) as port:
        async with connection(port) as (reader, writer):
            writer.write(b"anything")
            assert await reader.readexactly(14) == b"taken anything"
            writer.write(get("/more"))
            await asyncio.sleep(1.5)  # longer than Hypercorn lets an idle connection live
            acceptor.taken[0].finish(Frame(b"still"))
            assert await reader.read() == b"5\r\nstill\r\n0\r\n\r\n"
        await asyncio.wait_for(acceptor.lost.wait(), 5)


async def test_a_later_request_takes_the_connection_from_hypercorn() -> None:
    acceptor = Acceptor(b"/stream")
    async with served(acceptor) as port:
        async with connection(port) as (reader, writer):
            writer.write(get("/first"))
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(int(answer.headers["content-length"]))
            writer.write(get("/stream"))
            assert await reader.readexactly(13) == b"taken /stream"
            writer.write(get("/more"))
            await asyncio.sleep(1.5)
            acceptor.taken[0].finish(Frame(b"still"))
            assert await reader.read() == b"5\r\nstill\r\n0\r\n\r\n"
        await asyncio.wait_for(acceptor.lost.wait(), 5)


async def test_a_head_in_two_pieces_becomes_a_stream() -> None:
    acceptor = Acceptor(b"/stream")
    asked = get("/stream")
    async with served(acceptor) as port, connection(port) as (reader, writer):
        writer.write(asked[:3])
        await asyncio.sleep(0.1)
        writer.write(asked[3:])
        assert await reader.readexactly(13) == b"taken /stream"


@pytest.mark.parametrize("said", [b"", b"GET /slow"])
async def test_silence_or_half_a_head_is_closed_in_time(said: bytes) -> None:
    async with served(Acceptor()) as port:
        async with connection(port) as (reader, writer), asyncio.timeout(5):
            writer.write(said)
            assert await reader.read() == b""


async def test_the_queue_is_no_time_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crowd(AcceptThrottle):
        def run(self, work: Callable[[], None]) -> None:
            # longer than a connection may say nothing
            asyncio.get_running_loop().call_later(1.5, work)

    monkeypatch.setattr(hypercorn_seam, "AcceptThrottle", Crowd)
    async with served(Acceptor()) as port:
        async with connection(port) as (reader, writer), asyncio.timeout(5):
            writer.write(get("/first"))
            assert Answer.of(await reader.readuntil(b"\r\n\r\n")).status == 200


async def test_a_client_that_said_too_much_is_seen_to_leave() -> None:
    acceptor = Acceptor(b"anything", pause=True)
    async with served(acceptor) as port:
        async with connection(port) as (_, writer):
            writer.write(b"anything")
            await asyncio.sleep(0.1)
        await asyncio.wait_for(acceptor.lost.wait(), 5)


async def test_the_end_does_not_wait_for_silent_clients() -> None:
    async with contextlib.AsyncExitStack() as silent:
        async with served(Acceptor()) as port:
            reader, _ = await silent.enter_async_context(connection(port))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(reader.read(), 5) == b""


# -- the throttle ----------------------------------------------------------------------------------


async def test_work_is_done_in_order_and_so_much_a_round() -> None:
    throttle, rounds, done = AcceptThrottle(3), [0], list[tuple[int, int]]()
    loop = asyncio.get_running_loop()

    def count() -> None:
        rounds[0] += 1
        loop.call_soon(count)

    count()
    for number in range(10):
        throttle.run(lambda number=number: done.append((rounds[0], number)))
    async with asyncio.timeout(5):
        while len(done) < 10:
            await asyncio.sleep(0)
    assert [number for _, number in done] == list(range(10))
    assert max(sum(at == each for at, _ in done) for each in {at for at, _ in done}) <= 3
    throttle.run(lambda: done.append((0, 10)))
    assert done[-1] == (0, 10)


async def test_work_that_fails_does_not_stop_the_rest() -> None:
    throttle, done, failed = AcceptThrottle(1), list[int](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))

    def bad() -> None:
        raise ValueError("a defect")

    throttle.run(lambda: done.append(1))
    throttle.run(bad)
    throttle.run(lambda: done.append(2))
    async with asyncio.timeout(5):
        while done != [1, 2]:
            await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert len(failed) == 1
