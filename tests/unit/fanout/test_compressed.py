"""The stream compressed once for all clients: each reads the same events, whenever it joined."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import pytest

from api.cli.child_service import Instance
from livestate.client import Fold, Parser
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, agrees

GZIP = {"Accept-Encoding": "gzip"}


def packed(data: bytes, size: int) -> int:
    """How many compressed bytes tell the first ``size`` bytes."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    inflated = 0
    for at in range(len(data)):
        inflated += len(reader.decompress(data[at : at + 1]))
        if inflated >= size:
            return at + 1
    raise AssertionError(f"they tell {inflated} bytes only")


@pytest.mark.parametrize("way", ["direct", "portable"])
async def test_a_gzip_client_sees_what_a_plain_one_sees_for_fewer_bytes(
    world: World, way: str
) -> None:
    service = world.service(**({"DIRECT": "no"} if way == "portable" else {}))
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        token = service.token()
        async with (
            await Stream.open(service.url, token) as plain,
            await Stream.open(service.url, token, headers=GZIP) as early,
        ):
            assert "content-encoding" not in plain.headers
            for number in range(100):
                await node.call(f"{number}.{number}", company_id="101")
            await plain.until(lambda s: list(s.states.values()) == ["answered"] * 100)
            async with await Stream.open(service.url, token, headers=GZIP) as late:
                node.hurried = True
                for number in range(0, 100, 3):
                    await node.say("hold", f"{number}.{number}")
                await node.say("ended", "7.7", outcome="answered")
                for stream in (plain, early, late):
                    await stream.until(lambda s: len(s.states) == 99)
                    await agrees(service, stream, token)
                assert late.headers["content-encoding"] == "gzip"
                assert "accept-encoding" in late.headers["vary"].lower()
                snapshot = late.body.index(b"event: heartbeat")
                assert packed(late.packed, snapshot) < snapshot / 3
            assert len(early.raw) < len(plain.raw)
            await service.stop()
            for stream in (plain, early):
                await asyncio.wait_for(stream.over.wait(), 5)
                assert stream.dashboard.goodbye == "drain"
                assert stream.ended_in_order


async def test_a_refusal_ends_its_gzip_in_order(world: World) -> None:
    service = world.service(MAX_STREAMS="1")
    async with service:
        await service.until_ready()
        token = service.token()
        async with (
            await Stream.open(service.url, token),
            await Stream.open(service.url, token, headers=GZIP) as refused,
        ):
            await asyncio.wait_for(refused.over.wait(), 5)
            assert refused.dashboard.goodbye == "overload"
            assert refused.compressed
            assert refused.ended_in_order


async def test_curl_reads_it_as_it_comes(
    service: Instance, node: Node, program: Callable[[str], str]
) -> None:
    token = service.token("user", company_id="curl")
    curl = await asyncio.create_subprocess_exec(
        program("curl"), "--silent", "--show-error", "--no-buffer", "--compressed",
        "-H", f"Authorization: Bearer {token}", service.url + STREAM,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert curl.stdout is not None
    parser, dashboard = Parser(), Fold()
    for step in ("setup", "ringing", "answered"):
        await node.say(step, "1.1", company_id="curl")
        wanted = {"setup": "trying"}.get(step, step)
        async with asyncio.timeout(10):
            while [one["state"] for one in dashboard.calls.values()] != [wanted]:
                for event in parser.feed(await curl.stdout.read(4096)):
                    dashboard.fold(event)
    curl.terminate()
    _, output = await curl.communicate()
    assert output == b""
