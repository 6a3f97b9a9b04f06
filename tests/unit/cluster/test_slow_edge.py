"""An edge that reads its frames too slowly: NATS cuts it off, it asks anew, nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.child_service import Instance
from api.cli.running import running
from api.environment import from_environment
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.jetstream import create_at
from tests.harness import Node, Stream, agrees, metrics

LONG = "x" * 200  # frames fill the buffers of the kernel sooner
AT_ONCE = 50  # calls
MOST_CALLS = 20_000


async def status(instance: Instance) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{instance.admin_url}/statusz")).json()
        return found


async def slow_consumers(nats: NatsServer) -> int:
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{nats.monitor_url}/varz")).json()["slow_consumers"])


async def call_until_cut(node: Node, nats: NatsServer) -> int:
    """New calls until NATS has cut somebody off; how many there are."""
    began = time.monotonic()
    for number in range(0, MOST_CALLS, AT_ONCE):
        for each in range(number, number + AT_ONCE):
            await node.say("setup", f"{each}", from_=LONG, to=LONG, from_uri=LONG, to_uri=LONG,
                           detail=LONG)  # fmt: skip
        await node.client.flush()
        if await slow_consumers(nats):
            return number + AT_ONCE
        assert time.monotonic() - began < 200
    raise AssertionError("no slow consumer after all these calls")


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_an_edge_that_is_too_slow_is_cut_off_and_asks_anew(tmp_path: Path) -> None:
    limits = tmp_path / "nats.conf"
    limits.write_text("max_pending: 1MB\nwrite_deadline: 1s\n")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats = NatsServer(monitor=True, arguments=("-c", str(limits)))
        redis = Valkey()
        await asyncio.gather(enter(nats), enter(redis))
        await create_at(nats.url)
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1"}  # fmt: skip
        engine, slow, other = [
            Instance(tmp_path, addresses | {"ROLE": role}) for role in ("engine", "edge", "edge")
        ]
        await asyncio.gather(enter(engine), enter(slow), enter(other))
        for each in (engine, slow, other):
            await each.until_ready(60)
        node = await enter(await Node.connect(nats.url, "n1"))
        node.hurried = True
        token = slow.token()
        at_slow = await enter(await Stream.open(slow.url, token))
        at_other = await enter(await Stream.open(other.url, token))
        for stream in (at_slow, at_other):
            await stream.until(lambda s: s.dashboard.complete, 30)

        slow.pause()
        try:
            calls = await call_until_cut(node, nats)
            await at_other.until(lambda s: len(s.dashboard.calls) == calls, 60)
        finally:
            slow.resume()
        await at_slow.until(lambda s: len(s.dashboard.calls) == calls, 60)
        await agrees(other, at_slow, token)
        counted = await metrics(slow)
        assert counted["livestate_edge_nats_connects_total"] >= 2
        assert counted["livestate_edge_diverged_total"] == 0
        assert counted["livestate_edge_states_total"] >= 2
        assert (await metrics(engine))["livestate_engine_dropped_total"] == 0

        async with asyncio.timeout(30):  # reports come every 2 s
            while True:
                edges = (await status(engine))["edges"]["edges"]
                if len(edges) == 2 and max(one["states"] for one in edges.values()) >= 2:
                    break
                await asyncio.sleep(0.1)
        said = [
            finding.what
            for each in (engine, slow)
            for finding in await running(
                from_environment({"LIVESTATE_ADMIN_BIND": each.admin_url.removeprefix("http://")})[
                    0
                ]
            )
        ]
        assert any("an engine that publishes" in what and "to 2 edges" in what for what in said)
        assert any("an edge that follows 1 views" in what for what in said)
