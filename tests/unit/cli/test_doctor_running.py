"""``livestate doctor`` and the metrics report bad CDRs and pairs while livestate runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats
import pytest

from api.cli.child_service import Instance
from api.cli.running import running
from api.environment import from_environment
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.jetstream import CDRS, create, create_at
from tests.harness import Node, metrics
from tests.unit.cli.test_cli import run


async def until(found: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await found():
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_doctor_and_metrics_say_what_runs_badly(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    client = await nats.connect(nats_server.url)
    await create(client, wanted=(CDRS,))
    chosen = {"NATS_URL": nats_server.url, "PAIRS": "kam-1 kam-2"}
    async with Valkey() as redis:
        chosen["REDIS_URL"] = redis.url
        service = Instance(tmp_path, chosen)
        admin = service.admin_url.removeprefix("http://")

        async def says(*wanted: str) -> str:
            code, out = await run("doctor", cwd=tmp_path, **(chosen | {"ADMIN_BIND": admin}))
            assert code in (0, 1)
            for part in wanted:
                assert part in out
            return out

        async with (
            service,
            await Node.connect(nats_server.url, "kam-1") as one,
            await Node.connect(nats_server.url, "kam-3") as three,
        ):
            await service.until_ready()
            await one.call("1.1")
            await says("kam-1 and kam-2; nothing is received from kam-2", "reads CDRs, 0 waiting")
            async with await Node.connect(nats_server.url, "kam-2") as two:
                copied = [{"dialog": "1.1", "call_id": "1.1@kam-1", "state": "answered",
                           "owner": "kam-1"}]  # fmt: skip
                for node in (two, three):
                    part = {"sync_id": "c", "part": 1, "parts": 1, "calls": copied}
                    await node.publish("copies", node.envelope() | part)
                await client.jetstream().publish("cdr.raw", b"no CDR at all")

                async def waits() -> bool:
                    values = await metrics(service)
                    return not values["livestate_cdr_dead_letters_storable"]

                await until(waits)
                assert (await metrics(service))["livestate_cdr_dead_letters_waiting"] == 1
                await says("kam-2 lists 1 copies of calls of kam-1", "1 copies were rejected",
                           "unreadable CDRs cannot be stored: no stream stores cdr.dead",
                           "1 wait in memory")  # fmt: skip
                await create_at(nats_server.url)

                async def stored() -> bool:
                    return bool((await metrics(service))["livestate_cdr_dead_letters_total"])

                await until(stored)
                values = await metrics(service)
                assert values["livestate_cdr_dead_letters_storable"] == 1
                assert values["livestate_cdr_dead_letters_waiting"] == 0
                assert values["livestate_cdr_dead_letters_dropped_total"] == 0
                assert "cannot be stored" not in await says("reads CDRs")
    await client.close()


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"cdrs": 1}',
])  # fmt: skip
async def test_what_else_listens_there_is_no_livestate(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for at in (port, free_port()):
        settings, _ = from_environment({"LIVESTATE_ADMIN_BIND": f"127.0.0.1:{at}",
                                        "LIVESTATE_PAIRS": "a b, c d"})  # fmt: skip
        found = await running(settings)
        assert [one.verdict for one in found] == ["good", "good"]
        assert "a and b may report" in found[0].what
    server.close()
