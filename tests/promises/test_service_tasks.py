"""A background task of a service that fails with an unexpected error is started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis as RedisClient

from api.cli.running import running
from api.environment import from_environment
from livestate.store.keys import UNPREFIXED
from tests.conftest import World
from tests.harness import Node, Stream, metrics

PLANT = """
from api.panels.alarm_watch import AlarmWatch
from api.stream.registry import StreamRegistry
from livestate.cluster.outbox import Outbox
from livestate.ingest.consumer import Consumer
from livestate.ingest.monitor import FeedMonitor
from livestate.store.history import KeptHistory
from livestate.store.projection import Projection

def fails_after(cls, name, times):
    real, calls = getattr(cls, name), [0]

    def planted(self, *given, **more):
        calls[0] += 1
        if calls[0] == times:
            raise KeyError("planted")
        return real(self, *given, **more)

    setattr(cls, name, planted)

fails_after(Projection, "flush", 4)
fails_after(FeedMonitor, "tick", 4)
fails_after(StreamRegistry, "sweep", 4)
fails_after(AlarmWatch, "turn", 2)
fails_after(KeptHistory, "load", 1)
fails_after(Consumer, "_begin", 1)
"""
FAILED = {"projection", "watch", "streams", "alarms", "history", "feed"}


async def failures(url: str) -> dict[str, int]:
    async with httpx.AsyncClient() as client:
        status = (await client.get(f"{url}/statusz")).json()
    found: dict[str, int] = status["task_failures"]
    return found


async def test_each_task_that_fails_once_begins_again_and_all_is_right(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    service = world.service(HEARTBEAT_SECONDS="1")
    async with (
        service,
        await Node.connect(world.nats.url, "n1") as node,
        await Stream.open(service.url, service.token()) as stream,
        RedisClient.from_url(world.redis.url) as redis,
    ):
        await node.list()

        async with asyncio.timeout(20):
            while not set(await failures(service.admin_url)) >= FAILED:
                await node.call(f"{node.seq}.1")
                await asyncio.sleep(0.2)
        await node.call("last.1")
        calls = stream.dashboard.calls
        await stream.until(
            lambda s: (
                any(call["call_id"].startswith("last.1") for call in calls.values())
                and s.dashboard.source == "live"
            ),
            10,
        )
        async with asyncio.timeout(10):
            while {key.decode() for key in await redis.hkeys(UNPREFIXED.calls)} != set(calls):
                await asyncio.sleep(0.1)
        counted = await metrics(service)
        settings, _ = from_environment(
            {"LIVESTATE_ADMIN_BIND": service.admin_url.removeprefix("http://")}
        )
        said = [finding.what for finding in await running(settings) if finding.verdict == "odd"]
    for name in FAILED:
        assert counted[f'livestate_task_failures_total{{task="{name}"}}'] == 1
        assert any(
            f"the task '{name}' failed and was started again, 1 times in all" in what
            for what in said
        )
