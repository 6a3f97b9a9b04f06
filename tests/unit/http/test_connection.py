"""Both kinds of outlet serve the same stream, and what the kernel holds of one is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from api.http.listener import listen
from livestate.fanout.frame import chunk
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, agrees


def test_a_chunk_has_its_length_in_hex() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_accepted_sockets_have_bounded_buffers() -> None:
    with listen("127.0.0.1:0") as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                level = socket.IPPROTO_TCP
                assert accepted.getsockopt(level, socket.TCP_USER_TIMEOUT) == 30_000
                assert accepted.getsockopt(level, socket.TCP_NOTSENT_LOWAT) == 32 * 1024
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 512 * 1024


@pytest.mark.parametrize("way", ["direct", "portable"])
async def test_both_outlets_serve_the_same_stream(world: World, way: str) -> None:
    settings = {"DIRECT": "no"} if way == "portable" else {}
    service = world.service(**settings)
    async with service, await Node.connect(world.nats.url) as node:
        token = service.token()
        async with await Stream.open(service.url, token) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            for number in range(50):
                await node.call(f"{number}.{number}")
            await node.say("ended", "7.7", outcome="answered")
            await stream.until(lambda s: len(s.dashboard.calls) == 49)
            await agrees(service, stream, token)
            await service.stop()
            await asyncio.wait_for(stream.over.wait(), 5)
            assert stream.dashboard.goodbye == "drain"


@pytest.mark.parametrize("way", ["direct", "portable"])
async def test_a_client_that_does_not_read_is_conflated(world: World, way: str) -> None:
    """Promise M: the slow one gets the newest state and skips the middle."""
    settings = {"DIRECT": "no"} if way == "portable" else {}
    service = world.service(**settings)
    async with service, await Node.connect(world.nats.url) as node:
        token = service.token()
        loop = asyncio.get_running_loop()
        request = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        async with await Stream.open(service.url, token) as quick:
            await quick.until(lambda s: s.named("heartbeat"))
            with socket.socket() as slow:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.setblocking(False)
                await loop.sock_connect(slow, ("127.0.0.1", service.port))
                await loop.sock_sendall(slow, request.encode())
                node.hurried = True
                read = b""
                for turn in range(40):  # 2 MB if it comes singly
                    for number in range(150):
                        await node.say("hold", f"{number}.{number}", detail=f"{turn}" + "x" * 250)
                    # A little now and then, however long this takes here: who takes nothing for
                    # 20 s is closed, and rightly so.
                    with contextlib.suppress(BlockingIOError):
                        read += slow.recv(4096)
                await node.client.flush()
                await quick.until(
                    lambda s: (
                        len(s.dashboard.calls) == 150
                        and all(c["detail"].startswith("39x") for c in s.dashboard.calls.values())
                    ),
                    30,
                )
                await agrees(service, quick, token)
                # Its last frame holds the newest state of every call; most of the middle is gone.
                (last,) = {one["detail"].encode() for one in quick.dashboard.calls.values()}
                async with asyncio.timeout(20):
                    while read.count(last) < 150:
                        piece = await loop.sock_recv(slow, 65536)
                        assert piece, read[-300:]
                        read += piece
                assert len(read) < len(quick.raw) / 2
