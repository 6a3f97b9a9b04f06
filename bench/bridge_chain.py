"""A Kamailio with SIP phones, its bridge, NATS and a service, for bench.bridge to measure."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson

from api.cli.child_service import Instance
from livestate.client import Parser
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.jetstream import create_at
from tests.e2e.calls import GATEWAY_A
from tests.e2e.lab import BridgeProcess, Kamailio, Phones, Planned

CALLS_A_SECOND: Final = 20
_FACTS: Final = ("setup_at", "progress_at", "answered_at")


class Client:
    """One SSE client that notes when it learns what. Times are ms."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.late: list[float] = []  # from what Kamailio saw to its arrival here
        self._reader = reader
        self._known: set[tuple[str, str]] = set()
        self._parser = Parser()

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, service: Instance) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"GET /api/v1/live/calls HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
            % service.token().encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        client = cls(reader)
        task = asyncio.create_task(client._read())
        try:
            yield client
        finally:
            task.cancel()
            writer.transport.abort()

    async def _read(self) -> None:
        while piece := await self._reader.read(65536):
            now = time.time() * 1000
            for event in self._parser.feed(piece):
                if event.name == "diff":
                    self._learn(orjson.loads(event.data), now)

    def _learn(self, diff: dict[str, Any], now: float) -> None:
        for key, record in diff["calls"].items():
            for fact in _FACTS:
                if record and fact in record and (key, fact) not in self._known:
                    self._known.add((key, fact))
                    self.late.append(now - record[fact])
        for over in (diff.get("ended") or {}).values():
            self.late.append(now - over["ended_at"])


@contextlib.asynccontextmanager
async def chain(home: Path, kamailio: Kamailio) -> AsyncIterator[tuple[Any, ...]]:
    """NATS, Redis, the service and a bridge behind a Kamailio."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        server, redis = await enter(NatsServer()), await enter(Valkey())
        await create_at(server.url)
        await enter(kamailio)
        service = await enter(Instance(home, {"NATS_URL": server.url, "REDIS_URL": redis.url}))
        bridge = await enter(BridgeProcess(kamailio.port, server.url, home / "spool"))
        await service.until_ready()
        phones = await enter(Phones(kamailio))
        await asyncio.sleep(1)  # SIPp binds its ports without telling
        yield server, service, bridge, phones


def calls(count: int, talk_ms: int) -> list[Planned]:
    return [
        Planned(str(39_100_001 + n), "101", GATEWAY_A + "00", "talks", "answered", (), talk_ms)
        for n in range(count)
    ]
