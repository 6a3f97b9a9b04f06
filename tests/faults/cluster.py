"""Three real nats-servers that are one cluster, with JetStream on each."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Self

from livestate.devtools.child_process import free_port
from livestate.nats.connection import connect
from livestate.nats.jetstream import STREAM, create
from tests.nats_world import Configured

_FORM = """
cluster {{ name: faults, listen: "127.0.0.1:{port}", routes: [{routes}], no_advertise: true }}
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
"""


class Cluster:
    """``async with Cluster(…)``: up, with the streams of livestate in three replicas."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = [Configured(directory, _FORM.format(port=port, routes=routes))
                        for port in ports]  # fmt: skip
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            enter = self._stack.enter_async_context
            await asyncio.gather(*(enter(server) for server in self.servers))
            await self._make_streams()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers)

    async def _make_streams(self) -> None:
        """As soon as the cluster has a leader for them."""
        client = await connect(self.url, "operator")
        try:
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(Exception):
                        await create(client, replicas=3)
                        return
                    await asyncio.sleep(0.2)
        finally:
            await client.leave()

    async def leader(self) -> Configured:
        """The server that leads the stream of cdr.raw."""
        client = await connect(self.url, "operator")
        try:
            info = await client.jetstream().stream_info(STREAM)
        finally:
            await client.leave()
        assert info.cluster is not None
        return next(one for one in self.servers if one._tag == info.cluster.leader)

    def serving(self, url: str) -> Configured:
        return next(server for server in self.servers if server.url == url)
