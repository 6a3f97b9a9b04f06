"""The short way in: who is welcome gets the same as through the app, and everybody else the app."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio import serve

from api import direct
from api.turns import Turns
from tests.abuse.raw import SNAPSHOT, Answer, as_, connection, get
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, bearer, snapshot

PIECES = (1, 9, 40)  # bytes of the head that come first


@pytest.mark.parametrize(
    "line", ["Accept-Encoding: identity", "Accept-Encoding: gzip", "Connection: close"]
)
async def test_the_head_is_the_same_by_every_way(world: World, line: str) -> None:
    async with world.service() as short, world.service(DIRECT="no") as long:
        heads = []
        for service in (short, long):
            asked = get(STREAM, as_(service.token()), line)
            async with connection(service.port) as (reader, writer):
                writer.write(asked)
                async with asyncio.timeout(5):
                    heads.append(Answer.of(await reader.readuntil(b"\r\n\r\n")))
        assert heads[0].status == heads[1].status == 200
        assert heads[0].headers.pop("date")
        assert heads[1].headers.pop("date")
        assert heads[0].headers == heads[1].headers


@pytest.mark.parametrize("first", PIECES)
async def test_a_head_that_comes_in_two_pieces_is_let_in_too(world: World, first: int) -> None:
    async with world.service() as service:
        asked = get(STREAM, as_(service.token()))
        async with connection(service.port) as (reader, writer), asyncio.timeout(5):
            writer.write(asked[:first])
            await asyncio.sleep(0.1)
            writer.write(asked[first:])
            await reader.readuntil(b"event: snapshot")


async def test_a_stream_is_let_in_on_a_connection_that_was_used_before(world: World) -> None:
    async with world.service() as service:
        login = as_(service.token())
        async with connection(service.port) as (reader, writer), asyncio.timeout(5):
            for path, status in ((SNAPSHOT, 200), (STREAM + "/nobody", 404)):
                writer.write(get(path, login))
                answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
                assert answer.status == status
                await reader.readexactly(int(answer.headers["content-length"]))
            writer.write(get(STREAM, login))
            await reader.readuntil(b"event: snapshot")


async def test_who_hung_up_his_side_before_he_was_let_in_leaves_no_stream(world: World) -> None:
    async with world.service(MAX_STREAMS="1") as service:
        for _ in range(20):
            async with connection(service.port) as (_, writer):
                writer.write(get(STREAM, as_(service.token())))
                writer.write_eof()
        async with asyncio.timeout(10):
            while True:
                async with await Stream.open(service.url, service.token()) as stream:
                    await stream.until(lambda s: s.named("heartbeat") or s.dashboard.goodbye)
                    if stream.dashboard.goodbye is None:
                        return
                await asyncio.sleep(0.05)


async def test_who_is_lost_before_he_said_a_word_is_no_line_in_the_log(world: World) -> None:
    reset = struct.pack("ii", 1, 0)  # to linger for no time is to be reset
    async with world.service() as service:
        lines = service._log.read_text().splitlines()
        assert sum(f":{service.port}" in line for line in lines) == 1  # where it is served, once
        for said in (b"", b"GET /live", get(STREAM, as_(service.token()))):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(said)
                await asyncio.sleep(0.1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        async with connection(service.port) as (reader, writer), asyncio.timeout(5):
            writer.write(get(STREAM, as_(service.token())))
            await reader.readuntil(b"event: snapshot")
        more = service._log.read_text().splitlines()[len(lines) :]
        assert not [line for line in more if "Error" in line or "ERROR" in line], more


async def test_ninety_come_back_at_once_and_all_are_current(world: World) -> None:
    async with world.service() as service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        token = service.token()
        async with await Stream.open(service.url, token) as first:
            await first.until(lambda s: "answered" in s.states.values())
            known = first.dashboard.last_id
        assert known is not None
        await node.say("hold", "1.1")
        async with asyncio.timeout(5):
            while (await snapshot(service, token))["id"] == known:
                await asyncio.sleep(0.02)
        heads = bearer(token) | {"Last-Event-ID": known}
        lines = [f"{name}: {value}" for name, value in heads.items()]

        async def current(number: int) -> None:
            source = f"127.0.0.{2 + number % 20}"
            async with connection(service.port, source) as (reader, writer):
                writer.write(get(STREAM, *lines))
                said = await reader.readuntil(b"event: heartbeat")
                assert b"event: diff" in said
                assert b'"held"' in said

        async with asyncio.timeout(30):
            await asyncio.gather(*(current(number) for number in range(90)))


# -- the seam --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(door: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A small app behind a door, on a port: it says what it was asked for."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = scope["raw_path"]
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    monkeypatch.setattr(hypercorn_run, "TCPServer", direct.Connection)
    with direct.listen("127.0.0.1:0") as listener:
        port: int = listener.getsockname()[1]
        config = direct.Config(door)
        config.bind = [f"fd://{number}" for number in direct.handles(listener)]
        config.graceful_timeout = 1
        config.keep_alive_timeout = 1
        config.loglevel = "ERROR"
        ending = asyncio.Event()

        async def ended() -> None:
            await ending.wait()
            config.close_door()

        serving = asyncio.create_task(serve(app, config, shutdown_trigger=ended))
        try:
            yield port
        finally:
            ending.set()
            await asyncio.wait_for(serving, 10)


async def test_what_the_door_does_not_want_reaches_the_app_as_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def door(_: direct.Connection, said: bytes) -> bool:
        seen.append(said)
        return False

    async with served(door, monkeypatch) as port, connection(port) as (reader, writer):
        for path in ("/first", "/second"):
            writer.write(get(path))
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(answer.headers["content-length"]))
            assert body == path.encode()
        assert seen == [get("/first")]  # only what a connection says first


async def test_what_the_door_takes_is_no_longer_hypercorns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[direct.Outlet] = []
    lost = asyncio.Event()

    def door(connection: direct.Connection, said: bytes) -> bool:
        outlet = direct.Outlet(connection, None)
        outlet.take_over(lost.set)
        outlet.begin(b"taken " + said, [])
        taken.append(outlet)
        return True

    async with served(door, monkeypatch) as port:
        async with connection(port) as (reader, writer):
            writer.write(b"anything")
            assert await reader.readexactly(14) == b"taken anything"
            writer.write(get("/more"))  # longer than Hypercorn lets an idle connection live
            await asyncio.sleep(1.5)
            taken[0].begin(b"still", [])
            assert await reader.readexactly(5) == b"still"
        await asyncio.wait_for(lost.wait(), 5)


@pytest.mark.parametrize("said", [b"", b"GET /slow"])
async def test_who_says_nothing_or_half_a_head_is_closed_in_time(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(lambda *_: False, monkeypatch) as port:
        async with connection(port) as (reader, writer), asyncio.timeout(5):
            writer.write(said)
            assert await reader.read() == b""


async def test_who_said_all_in_time_is_answered_however_many_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time to say something is the client's; the time in the queue is ours."""

    class Crowd(Turns):
        async def mine(self) -> None:
            await asyncio.sleep(1.5)  # longer than a connection may say nothing

    monkeypatch.setattr(direct, "Turns", Crowd)
    async with served(lambda *_: False, monkeypatch) as port:
        async with connection(port) as (reader, writer), asyncio.timeout(5):
            writer.write(get("/first"))
            assert Answer.of(await reader.readuntil(b"\r\n\r\n")).status == 200


async def test_who_said_too_much_before_he_was_taken_is_seen_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = asyncio.Event()

    def door(connection: direct.Connection, said: bytes) -> bool:
        connection.writer.transport.pause_reading()  # as the reader does when it is full
        direct.Outlet(connection, None).take_over(lost.set)
        return True

    async with served(door, monkeypatch) as port:
        async with connection(port) as (_, writer):
            writer.write(b"anything")
            await asyncio.sleep(0.1)
        await asyncio.wait_for(lost.wait(), 5)


async def test_the_end_does_not_wait_for_those_who_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with contextlib.AsyncExitStack() as silent:
        async with served(lambda *_: False, monkeypatch) as port:
            reader, _ = await silent.enter_async_context(connection(port))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_turns_are_given_in_order_and_so_many_a_round() -> None:
    turns, rounds, got = Turns(3), [0], list[tuple[int, int]]()
    loop = asyncio.get_running_loop()

    def count() -> None:
        rounds[0] += 1
        loop.call_soon(count)

    async def one(number: int) -> None:
        await turns.mine()
        got.append((rounds[0], number))

    loop.call_soon(count)
    tasks = [asyncio.create_task(one(number)) for number in range(10)]
    tasks[4].cancel()
    await asyncio.wait(tasks)
    assert [number for _, number in got] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    by_round = [sum(at == each for at, _ in got) for each in {at for at, _ in got}]
    assert max(by_round) <= 3
    await asyncio.wait_for(turns.mine(), 1)
