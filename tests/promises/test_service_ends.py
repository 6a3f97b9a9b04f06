"""Promise E: drains, refusals, starts without servers, and what the admin address says of them."""

from __future__ import annotations

import asyncio
import os
import signal

import httpx
import pytest

from tests.conftest import World
from tests.harness import Node, Stream, bearer, snapshot
from tests.promises.test_service import until_flushed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_drain_says_goodbye_to_all_and_takes_seconds(
    world: World, number: signal.Signals
) -> None:
    service = world.service()
    async with service:
        logins = [service.token(subject=f"wall-{n}") for n in range(30)]
        streams = [await Stream.open(service.url, login) for login in logins]
        for stream in streams:
            await stream.until(lambda s: s.named("heartbeat"))
        started = asyncio.get_running_loop().time()
        service._signal(number)
        for stream in streams:
            await asyncio.wait_for(stream.over.wait(), 5)
            assert stream.dashboard.goodbye == "drain"
            assert stream.body.endswith(b'event: goodbye\ndata: {"reason":"drain"}\n\n')
            await stream.close()
        await service._wait_for_end()
        assert asyncio.get_running_loop().time() - started < 5


async def test_refusals_that_may_pass_keep_an_event_source_alive(world: World) -> None:
    service = world.service(MAX_STREAMS="1")
    async with service:
        async with await Stream.open(service.url, service.token()) as first:
            await first.until(lambda s: s.named("heartbeat"))
            async with await Stream.open(service.url, service.token(subject="two")) as second:
                await asyncio.wait_for(second.over.wait(), 3)
                assert second.status == 200
                assert second.dashboard.goodbye == "overload"
                assert second._parser.retry is not None


async def test_the_admin_address_has_health_and_metrics(world: World) -> None:
    service = world.service()
    async with service, httpx.AsyncClient(base_url=service.admin_url) as admin:
        await service.until_ready()
        assert (await admin.get("/healthz")).text == "alive\n"
        text = (await admin.get("/metrics")).text
        for name in ("livestate_events_received_total", "livestate_events_total",
                     "livestate_active_calls", "livestate_sse_subscribers",
                     "livestate_sse_resumes_total"):  # fmt: skip
            assert f"# TYPE {name.removesuffix('_total')}" in text
            assert f"\n{name}" in text
        async with httpx.AsyncClient(headers=bearer(service.token())) as public:
            for path in ("/metrics", "/healthz", "/statusz"):
                assert (await public.get(service.url + path)).status_code == 404


async def test_the_service_starts_without_nats_and_redis_and_finds_them_later(
    world: World,
) -> None:
    await world.nats.kill()
    await world.redis.kill()
    service = world.service()
    async with service:
        await world.nats.start()
        await world.redis.start()
        async with await Node.connect(world.nats.url) as node:
            await node.call("1.1")
            async with await Stream.open(service.url, service.token()) as stream:
                await stream.until(lambda s: s.over.is_set() or s.named("heartbeat"))
            async with asyncio.timeout(10):
                while not (await snapshot(service, service.token()))["calls"]:
                    await node.say("hold", "1.1")
                    await asyncio.sleep(0.1)
            await until_flushed(world, service, 1)


async def test_a_redis_that_hangs_delays_no_stop(world: World) -> None:
    """Promise E: a supervisor waits a few seconds after SIGTERM, then kills."""
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        world.redis.pause()
        await node.call("2.2")
        os.kill(service.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            while service.running:
                await asyncio.sleep(0.05)
        world.redis.resume()
