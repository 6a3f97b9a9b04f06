"""A bridge between a played Kamailio and a real NATS, and what NATS receives from it."""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson

from livestate.bridge.kamailio.source import KamailioSource
from livestate.bridge.relay import Bridge
from livestate.contract.events import BATCH_SUBJECT
from livestate.process.tasks import cancel_and_wait
from tests.evapi import Peer
from tests.harness import now_ms, stored_cdrs

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")


class Received:
    """The messages that a bridge published on call.events.>, in order."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        self.messages: list[dict[str, Any]] = []
        self.batches: list[int] = []  # how many events each had
        self.client = client

    @classmethod
    @asynccontextmanager
    async def on(cls, url: str) -> AsyncIterator[Received]:
        client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1,
                                    error_cb=_quiet)  # fmt: skip
        received = cls(client)

        async def take(message: nats.aio.msg.Msg) -> None:
            payload = orjson.loads(message.data)
            if message.subject == BATCH_SUBJECT:
                received.batches.append(len(payload))
                received.messages += payload
                return
            assert message.subject == f"call.events.{payload['phase']}"
            received.messages.append(payload)

        await client.subscribe("call.events.>", cb=take)
        await client.flush()
        try:
            yield received
        finally:
            await client.close()

    def phases(self, *phases: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["phase"] in phases]

    @property
    def lists(self) -> list[list[str]]:
        """The calls of each list, in the order they came."""
        return [[call["dialog"] for call in part["calls"]] for part in self.phases("sync")]

    async def cdrs(self) -> list[str]:
        """The calls of the CDRs that the stream holds."""
        return [orjson.loads(one.data)["dialog"] for one in await stored_cdrs(self.client)]


async def _quiet(error: Exception) -> None:
    """NATS is killed in some tests."""


@asynccontextmanager
async def bridging(
    peer: Peer,
    url: str,
    spool: Path,
    *,
    spool_bytes: int = 1024 * 1024,
    list_seconds: float = 60,
    batch: int = 1,
) -> AsyncIterator[Bridge]:
    """A bridge that is killed at the end: nothing waits for its last words."""
    bridge = Bridge(KamailioSource("127.0.0.1", peer.port), url, spool, clock=now_ms,
                    spool_bytes=spool_bytes, list_seconds=list_seconds, batch=batch)  # fmt: skip
    task = asyncio.create_task(bridge.run())
    try:
        yield bridge
    finally:
        await cancel_and_wait(task)


async def check(peer: Peer, url: str, spool: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "bridge", "--check", "--evapi", f"127.0.0.1:{peer.port}", "--nats-url", url,
        "--spool", str(spool), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()
