"""A request becomes a stream on any connection, and its response is the same as the app's."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from api.cli.child_service import Instance
from tests.abuse.raw import SNAPSHOT, Answer, as_, connection, get
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, bearer, snapshot

PIECES = (1, 9, 40)  # bytes of the head that come first


async def test_both_outlets_send_the_same_head(world: World) -> None:
    async with world.service() as short, world.service(DIRECT="no") as long:
        for line in ("Accept-Encoding: identity", "Accept-Encoding: gzip", "Connection: close"):
            heads = []
            for service in (short, long):
                asked = get(STREAM, as_(service.token()), line)
                async with connection(service.port) as (reader, writer):
                    writer.write(asked)
                    async with asyncio.timeout(5):
                        heads.append(Answer.of(await reader.readuntil(b"\r\n\r\n")))
            assert heads[0].status == heads[1].status == 200, line
            assert heads[0].headers.pop("date")
            assert heads[1].headers.pop("date")
            assert heads[0].headers == heads[1].headers, line


@pytest.mark.parametrize("first", PIECES)
async def test_a_head_in_two_pieces_becomes_a_stream(service: Instance, first: int) -> None:
    asked = get(STREAM, as_(service.token()))
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        writer.write(asked[:first])
        await asyncio.sleep(0.1)
        writer.write(asked[first:])
        await reader.readuntil(b"event: snapshot")


async def test_a_stream_begins_on_a_used_connection(service: Instance) -> None:
    login = as_(service.token())
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        for path, status in ((SNAPSHOT, 200), (STREAM + "/nobody", 404)):
            writer.write(get(path, login))
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            assert answer.status == status
            await reader.readexactly(int(answer.headers["content-length"]))
        writer.write(get(STREAM, login))
        await reader.readuntil(b"event: snapshot")


async def test_a_stream_begins_behind_a_pipelined_request(service: Instance) -> None:
    login = as_(service.token())
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        writer.write(get(SNAPSHOT, login) + get(STREAM, login))
        answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(answer.headers["content-length"]))
        await reader.readuntil(b"event: snapshot")


@pytest.mark.parametrize("used", [False, True])
async def test_a_request_behind_a_stream_closes_its_connection(world: World, used: bool) -> None:
    """It is not answered, and no later request may take the end of the stream for its answer."""
    async with world.service() as service:
        await service.until_ready()
        login = as_(service.token())
        async with connection(service.port) as (reader, writer), asyncio.timeout(10):
            if used:
                writer.write(get(SNAPSHOT, login))
                answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(int(answer.headers["content-length"]))
            writer.write(get(STREAM, login) + get(SNAPSHOT, login))
            await reader.readuntil(b"event: heartbeat")
            await service.stop()
            rest = await reader.read()
            assert b"goodbye" in rest
            assert b"HTTP/1.1" not in rest


@pytest.mark.parametrize("used", [False, True])
async def test_a_stream_too_many_gets_a_goodbye(world: World, used: bool) -> None:
    async with world.service(MAX_STREAMS_PER_USER="1") as service:
        await service.until_ready()
        login = as_(service.token())
        async with await Stream.open(service.url, service.token()) as first:
            await first.until(lambda s: s.named("heartbeat"))
            async with connection(service.port) as (reader, writer), asyncio.timeout(5):
                if used:
                    writer.write(get(SNAPSHOT, login))
                    answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
                    await reader.readexactly(int(answer.headers["content-length"]))
                writer.write(get(STREAM, login))
                assert Answer.of(await reader.readuntil(b"\r\n\r\n")).status == 200
                assert b"overload" in await reader.readuntil(b"0\r\n\r\n")


async def test_a_half_closed_connection_leaves_no_stream(world: World) -> None:
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


def _lines(service: Instance) -> list[str]:
    return service._log.read_text().splitlines()


async def test_a_connection_reset_early_logs_nothing(world: World) -> None:
    reset = struct.pack("ii", 1, 0)  # to linger for no time is to be reset
    async with world.service() as service:
        async with asyncio.timeout(10):  # a thread writes the log
            while not any(f":{service.port}" in one for one in _lines(service)):
                await asyncio.sleep(0.02)
        lines = _lines(service)
        assert sum(f":{service.port}" in line for line in lines) == 1  # where it is served, once
        for begun in (b"", b"GET /live", get(STREAM, as_(service.token()))):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(begun)
                await asyncio.sleep(0.1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        async with connection(service.port) as (reader, writer), asyncio.timeout(5):
            writer.write(get(STREAM, as_(service.token())))
            await reader.readuntil(b"event: snapshot")
        more = _lines(service)[len(lines) :]
        assert not [line for line in more if "Error" in line or "ERROR" in line], more


async def test_ninety_clients_return_at_once_and_are_current(world: World) -> None:
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
                received = await reader.readuntil(b"event: heartbeat")
                assert b"event: diff" in received
                assert b'"held"' in received

        async with asyncio.timeout(30):
            await asyncio.gather(*(current(number) for number in range(90)))
