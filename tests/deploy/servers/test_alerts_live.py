"""Each alert fires and is over again: a real Prometheus scrapes real services to which the fault is
done. Waits and windows of the alerts are short here; ``test_alerts.py`` tries the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx
from redis.asyncio import Redis as RedisClient

from api.auth import demo_key
from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.jetstream import create_at
from livestate.process.tasks import cancel_and_wait
from tests.deploy.servers.prometheus import Prometheus
from tests.deploy.servers.test_alerts import CASES
from tests.harness import Node, Stream, metrics, now_ms

FIRES_WITHIN: Final = 45.0
OVER_WITHIN: Final = 120.0
SMALL: Final = "livestate-small"  # a job of its own: the sums of the other one are not disturbed
OUTDATED: Final = 2  # a version of the contract that is none

RULES = "[live_calls]\nwarning = 2\nalarm = 3\nraise_after_seconds = 0\nclear_after_seconds = 0\n"

PLANT = """
import os.path
from livestate.store.history import KeptHistory

real = KeptHistory.sample

def sample(self):
    if os.path.exists({fault!r}):
        raise KeyError("planted")
    real(self)

KeptHistory.sample = sample
"""


class World:
    """Servers, two services, and the Prometheus that watches them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.nats, self.small_nats = NatsServer(), NatsServer()
        self.redis, self.small_redis = Valkey(), Valkey()
        self.revoked, self.jwks = home / "revoked", home / "jwks.json"
        self.revoked.write_text("")
        alarms = home / "alarms.toml"
        alarms.write_text(RULES)
        self.service = self._service(self.nats, self.redis)
        self.small = self._service(
            self.small_nats, self.small_redis, MAX_CALLS="3", MAX_STREAMS="2",
            JWT_JWKS=str(self.jwks), REVOKED=str(self.revoked), ALARMS=str(alarms),
        )  # fmt: skip
        self.fault = home / "fault"
        (home / "sitecustomize.py").write_text(PLANT.format(fault=str(self.fault)))
        self.small.environment = {**(self.small.environment or {}), "PYTHONPATH": str(home)}
        self.rival = self._service(self.small_nats, self.small_redis)  # not scraped
        self.prometheus = Prometheus({
            "livestate": [self.service.admin_port], SMALL: [self.small.admin_port]
        })  # fmt: skip
        self.tried: set[str] = set()

    def _service(self, nats: NatsServer, redis: Valkey, **settings: str) -> Instance:
        own = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
               "NODE_STALE_SECONDS": "3", "REAP_SECONDS": "1"}  # fmt: skip
        return Instance(self.home / "keys", own | settings)

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        for server in (self.nats, self.small_nats, self.redis, self.small_redis):
            await stack.enter_async_context(server)
        for nats in (self.nats, self.small_nats):
            await create_at(nats.url)
        for service in (self.service, self.small):
            await stack.enter_async_context(service)
        await stack.enter_async_context(self.prometheus)
        stack.push_async_callback(self.rival.close)

    async def fires(self, *alerts: str) -> None:
        """Wait until all of these fire."""
        await self._until(set(alerts), FIRES_WITHIN, firing=True)
        self.tried.update(alerts)

    async def is_over(self, *alerts: str) -> None:
        """Wait until none of these fires."""
        await self._until(set(alerts), OVER_WITHIN, firing=False)

    async def _until(self, alerts: set[str], seconds: float, *, firing: bool) -> None:
        deadline = time.monotonic() + seconds
        seen: set[str] = set()
        while True:
            found = await self.prometheus.firing()
            seen |= found.keys()
            wrong = alerts - seen if firing else alerts & found.keys()
            if not wrong:
                break
            if time.monotonic() > deadline:
                state = await _status(self.service)
                raise AssertionError(f"{'silent' if firing else 'firing'}: {wrong}; {state}")
            await asyncio.sleep(0.3)
        for alert in (one for name in alerts & found.keys() for one in found[name]):
            for text in alert["annotations"].values():
                assert "no value" not in text
                assert "error" not in text.lower()


async def _status(service: Instance) -> dict[str, Any]:
    """What of ``/statusz`` explains a stale page."""
    async with httpx.AsyncClient() as client:
        status = (await client.get(f"{service.admin_url}/statusz")).json()
    return {name: status[name] for name in ("source_stale_reason", "troubles", "nodes")}


@contextlib.asynccontextmanager
async def again_and_again(do: Callable[[], Awaitable[Any]], seconds: float) -> AsyncIterator[None]:
    """Do it now and every so many seconds, until the end of the block."""

    async def run() -> None:
        while True:
            await do()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def answered(node: Node, trunk: str, count: int) -> None:
    for number in range(count):
        dialog = f"{trunk}-{number}-{now_ms()}"
        await node.call(dialog, trunk=trunk, answered_at=now_ms())
        await node.say("ended", dialog, trunk=trunk, answered_at=now_ms(), ended_at=now_ms())


async def failed(node: Node, trunk: str, count: int, code: int = 503) -> None:
    for number in range(count):
        dialog = f"{trunk}-{number}-{now_ms()}"
        await node.say("setup", dialog, trunk=trunk, setup_at=now_ms())
        await node.say("failed", dialog, trunk=trunk, sip_code=code, ended_at=now_ms())


async def test_every_alert_fires_and_is_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await world.start(stack)
        await stack.enter_async_context(await Node.connect(world.small_nats.url, "small"))
        await a_start_without_keys(world)
        await limits(world)
        await another_writer(world)
        await faults_of_nodes(world)
        await faults_of_trunks(world)
        await redis_and_nats_away(world)
        await task_fails(world)
        await service_away(world)
    assert world.tried == CASES.keys()


async def a_start_without_keys(world: World) -> None:
    both = ("LivestateNoLoginKeys", "LivestateLoginKeysUnreadable")
    await world.fires(*both)
    world.jwks.write_bytes(demo_key.jwks(world.home / "keys").read_bytes())
    await world.is_over(*both)
    world.revoked.write_bytes(b"\xff\xfe")
    await world.fires("LivestateRevocationsUnreadable")
    world.revoked.write_text("")
    await world.is_over("LivestateRevocationsUnreadable")


async def limits(world: World) -> None:
    async with await Node.connect(world.small_nats.url) as node, contextlib.AsyncExitStack() as two:
        for dialog in ("1", "2"):
            await node.call(dialog)
        await world.fires("LivestateWarningRaised")
        await node.call("3")
        for _ in range(2):
            stream = await Stream.open(world.small.url, world.small.token())
            await two.enter_async_context(stream)
        all_three = ("LivestateCallsNearLimit", "LivestateStreamsNearLimit", "LivestateAlarmRaised")
        await world.fires(*all_three)
        for dialog in ("1", "2", "3"):
            await node.say("ended", dialog, ended_at=now_ms())
        await two.aclose()
        await world.is_over(*all_three, "LivestateWarningRaised")


async def another_writer(world: World) -> None:
    """The scraped instance is stopped for longer than its lease, and finds another one writing."""
    await world.is_over("LivestateNoWriter")
    await world.rival.start()
    world.small.pause()
    async with asyncio.timeout(30):
        while (await metrics(world.rival)).get("livestate_redis_writer") != 1:
            await asyncio.sleep(0.2)
    world.small.resume()
    await world.fires("LivestateNoWriter")
    await world.rival.stop()
    await world.is_over("LivestateNoWriter")


async def faults_of_nodes(world: World) -> None:
    url = world.nats.url
    async with contextlib.AsyncExitStack() as all_nodes, contextlib.AsyncExitStack() as faults:

        async def node(name: str) -> Node:
            return await all_nodes.enter_async_context(await Node.connect(url, name))

        async def every(do: Callable[[], Awaitable[Any]], seconds: float = 0.3) -> None:
            await faults.enter_async_context(again_and_again(do, seconds))

        healthy, lossy, late, twin = [await node(one) for one in ("ok", "lossy", "late", "twin")]
        silent, listless = await node("silent"), await node("listless")
        await asyncio.sleep(1.5)  # all are heard
        jetstream = healthy.client.jetstream()
        redis = RedisClient.from_url(world.redis.url)
        all_nodes.push_async_callback(redis.aclose)

        async def lose() -> None:
            lossy.seq += 70
            await lossy.say("notice", "d")

        async def tell_late() -> None:
            late.ahead_ms = 3_600_000

        async def twice() -> None:
            other = await Node.connect(url, "twin")
            other.epoch += 1000
            faults.push_async_callback(other.__aexit__, None, None, None)

        async def unusable() -> None:
            message = healthy.envelope() | {"node": "outdated", "v": OUTDATED}
            await healthy.publish("heartbeat", message)

        async def forged() -> None:
            far = healthy.envelope() | {"seq": 2**45, "call_id": "far", "dialog": "far"}
            await healthy.publish("setup", far)

        async def junk() -> None:
            await healthy.client.publish("call.events.setup", b"{")
            await healthy.client.publish("call.events.setup", b"[]")

        await twice()
        await every(lose)
        await every(unusable)
        await every(forged)
        await every(junk)
        await every(lambda: listless.list(*[{}] * 201), 0.8)
        await every(lambda: jetstream.publish("cdr.raw", b"no CDR"))
        await every(lambda: redis.delete("active_calls", "{active_calls}:meta"), 2)
        await every(lambda: answered(healthy, "gw-ok", 1))  # something to write
        await tell_late()
        silent.silence()
        alerts = (
            "LivestateStale", "LivestateNodeSilent", "LivestateNodeLosesEvents",
            "LivestateNodeClockOff", "LivestateTwoNodesWithOneName", "LivestateNodeUnusable",
            "LivestateNodeWithoutList", "LivestateForgedMessages", "LivestateEventsRejected",
            "LivestateDeadLetters", "LivestateRedisEdited",
        )  # fmt: skip
        await world.fires(*alerts)
        await faults.aclose()
        late.ahead_ms = 0
        await node("silent")
        await twin.list()
        async with again_and_again(listless.list, 2):
            await world.is_over(*alerts)


async def faults_of_trunks(world: World) -> None:
    async with await Node.connect(world.nats.url, "trunks") as node:
        node.hurried = True
        await failed(node, "gw-down", 60)
        async with again_and_again(lambda: failed(node, "gw-down", 2), 0.3):
            for count in (1, 50, 50, 50):
                await failed(node, "gw-quiet", count, code=486)
                await asyncio.sleep(1.5)  # scraped in between: a series grows from its first value
            await world.fires("LivestateTrunkFailing", "LivestateAsrLow", "LivestateTrunkQuiet")
        async with again_and_again(lambda: answered(node, "gw-quiet", 10), 0.3):
            await world.is_over("LivestateTrunkFailing", "LivestateAsrLow", "LivestateTrunkQuiet")


async def redis_and_nats_away(world: World) -> None:
    async with await Node.connect(world.nats.url, "busy") as node:
        async with again_and_again(lambda: answered(node, "gw-ok", 1), 0.3):
            await world.redis.kill()
            await world.fires("LivestateRedisNotWritten")
            await world.redis.start()
            await world.is_over("LivestateRedisNotWritten")
    nats = ("LivestateNatsDisconnected", "LivestateCdrsUnreadable")
    await world.nats.kill()
    await world.fires(*nats)
    await world.nats.start()
    await world.is_over(*nats)


async def task_fails(world: World) -> None:
    world.fault.touch()
    await world.fires("LivestateTaskFailed")
    world.fault.unlink()
    await world.is_over("LivestateTaskFailed")


async def service_away(world: World) -> None:
    world.service.pause()
    await asyncio.sleep(4)
    world.service.resume()
    await world.fires("LivestateLoopLate")
    await world.is_over("LivestateLoopLate")
    await world.service.kill()
    await world.fires("LivestateDown")
    for _ in range(4):
        await world.service.start()
        await world.is_over("LivestateDown")  # so it was scraped
        await world.service.kill()
        await world.fires("LivestateDown")
    await world.service.start()
    await world.fires("LivestateRestarts")
    await world.is_over("LivestateDown", "LivestateRestarts")
