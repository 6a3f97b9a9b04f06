"""The NATS configuration that we ship: enough for livestate and a bridge, too little to forge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import nats
import orjson
import pytest

from api.cli.child_service import Instance
from livestate.devtools.cdr_writer import CdrWriter
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.connection import Connection, close, connect
from livestate.nats.jetstream import STREAM, create_at
from livestate.process.tasks import cancel_and_wait
from tests.harness import Node, Stream, cdr, metrics, now_ms

SHIPPED = Path(__file__).parents[3] / "deploy" / "nats.conf"
PASSWORDS = {
    f"{user.upper()}_NATS_PASSWORD": f"pw-of-{user}"
    for user in ("livestate", "bridge", "streams", "edge")
}


class Guarded(NatsServer):
    """nats-server with the shipped configuration, and the streams that an operator made."""

    def __init__(self, directory: Path, *, streams: bool = True) -> None:
        # Only where it keeps its streams is another place: our own server has one already.
        copied = directory / "nats.conf"
        copied.write_text(SHIPPED.read_text().replace("store_dir: /var/lib/nats, ", ""))
        super().__init__(arguments=("-c", str(copied)))
        self.environment = os.environ | PASSWORDS
        self._streams = streams

    async def start(self) -> None:
        await super().start()
        if self._streams:
            await create_at(self.url_of("streams"))

    def url_of(self, user: str) -> str:
        return f"nats://{user}:pw-of-{user}@127.0.0.1:{self.port}"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path) as server:
        yield server


async def refused(url: str, subject: str, data: bytes = b"") -> bool:
    """Whether the server refuses this publish."""
    errors: list[Exception] = []

    async def heard(error: Exception) -> None:
        errors.append(error)

    client = await nats.connect(url, error_cb=heard)
    await client.publish(subject, data)
    await client.flush()
    async with asyncio.timeout(5):
        await client.flush()  # a refusal comes before the answer to this one
    await client.close()
    return any("permissions violation" in str(error).lower() for error in errors)


@pytest.mark.slow
async def test_livestate_and_a_bridge_can_do_all_they_have_to(
    guarded: Guarded, tmp_path: Path
) -> None:
    async with Valkey() as redis:
        service = Instance(tmp_path, {
            "NATS_URL": guarded.url_of("livestate"), "REDIS_URL": redis.url, "REAP_SECONDS": "1",
            "READY_SECONDS": "1",
        })  # fmt: skip
        async with service, await Node.connect(guarded.url_of("bridge")) as node:
            connection = Connection(guarded.url_of("bridge"), "bridge", inbox="_INBOX.bridge")
            connecting = asyncio.create_task(connection.run())
            writer = CdrWriter(connection)
            writing = asyncio.create_task(writer.run())
            await service.until_ready()
            async with await Stream.open(service.url, service.token()) as stream:
                for dialog in ("1.1", "2.2"):
                    await node.call(dialog)
                await stream.until(lambda s: list(s.states.values()) == ["answered"] * 2)
                node.seq += 1
                writer.write(cdr(node, "1.1", outcome="answered"))
                await stream.until(lambda s: len(s.states) == 1, 15)
                await node.client.jetstream().publish("cdr.raw", b"no CDR at all", stream=STREAM)
                async with asyncio.timeout(15):
                    while not (await metrics(service))["livestate_cdr_dead_letters_total"]:
                        await asyncio.sleep(0.1)
                node.silence()
                await stream.until(lambda s: not s.states, 30)  # marked, then given up
            assert (await metrics(service))["livestate_calls_given_up_total"] == 1
            await cancel_and_wait(writing, connecting)


@pytest.mark.parametrize("password", ["12345", "true", "a;b", "p@ss/w:rd,x", "a b#{}", "5k"])
async def test_any_password_works_as_nats_conf_says_it_is_written(
    tmp_path: Path, password: str
) -> None:
    """In quotes in the environment of nats-server, percent-encoded in our URLs."""
    server = Guarded(tmp_path, streams=False)
    server.environment = server.environment | {"LIVESTATE_NATS_PASSWORD": f'"{password}"'}
    async with server:
        login = f"livestate:{quote(password, safe='')}"
        session = await connect(
            f"nats://{login}@127.0.0.1:{server.port}", "test", inbox="_INBOX.livestate"
        )
        await close(session)


async def test_no_other_user_can_publish_events(guarded: Guarded) -> None:
    forged = orjson.dumps({"v": 1, "phase": "setup", "node": "n", "epoch": 1, "seq": 1,
                           "ts": now_ms(), "call_id": "x", "dialog": "1.1"})  # fmt: skip
    for subject in ("call.events.setup", "call.events.*", "call.events.>", "cdr.raw"):
        assert await refused(guarded.url_of("livestate"), subject, forged)
    assert await refused(guarded.url_of("bridge"), "call.events.lost", forged)
    assert not await refused(guarded.url_of("bridge"), "call.events.setup", forged)
    for login in (b"{}", b'{"user":"bridge"}', b'{"user":"mallory","pass":"pw-of-bridge"}'):
        reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
        writer.write(b"CONNECT " + login + b"\r\nPUB call.events.setup 0\r\n\r\nPING\r\n")
        async with asyncio.timeout(5):
            reply = await reader.read(-1)
        assert b"-ERR 'Authorization Violation'" in reply
        writer.close()
        await writer.wait_closed()


async def test_a_bridge_cannot_listen_to_calls(guarded: Guarded) -> None:
    errors: list[str] = []

    async def heard(error: Exception) -> None:
        errors.append(str(error).lower())

    client = await nats.connect(guarded.url_of("bridge"), error_cb=heard)
    await client.subscribe("call.events.>")
    await client.flush()
    await client.flush()
    await client.close()
    assert any("permissions violation" in error for error in errors)
