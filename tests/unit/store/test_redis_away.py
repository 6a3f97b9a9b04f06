"""Redis is away, loads, or is half there while the service starts: nothing is lost by that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from api.cli.child_service import Instance
from livestate.store.loader import load
from tests.conftest import World
from tests.faults.fault_proxy import FaultProxy
from tests.harness import Node, Stream, agrees, metrics, snapshot

pytestmark = pytest.mark.slow  # leases, restarts, and a node's silence until it is stale

CALLS = 5  # of each node


class Network:
    """A node that speaks and answers for its calls, and one that is silent from the restart on."""

    def __init__(self, speaks: Node, silent: Node) -> None:
        self.speaks, self.silent = speaks, silent

    async def begin(self) -> None:
        for node in (self.speaks, self.silent):
            await node.list()
            for number in range(CALLS):
                await node.call(f"{number}.1", company_id=str(100 + number % 2))
        for node in (self.speaks,):
            await node.client.subscribe(f"call.resync.{node.name}", cb=self._asked)

    async def _asked(self, _: Any) -> None:
        await self.speaks.list(*({
            "call_id": f"{number}.1@{self.speaks.name}", "dialog": f"{number}.1",
            "state": "answered", "company_id": str(100 + number % 2),
        } for number in range(CALLS)))  # fmt: skip


async def flushed(world: World, calls: int) -> set[str]:
    """The keys of the calls, once Redis has so many and all of their changes."""
    async with asyncio.timeout(10), RedisClient.from_url(world.redis.url) as redis:
        while await redis.zcard("active_calls") != calls:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        return {key.decode() for key in await redis.zrange("active_calls", 0, -1)}


async def shown(service: Instance) -> dict[str, Any]:
    calls: dict[str, Any] = (await snapshot(service, service.token()))["calls"]
    return calls


async def all_back(service: Instance, network: Network, keys: set[str], seconds: float) -> None:
    """Every call of before is shown under its key; those of the silent node are marked."""
    calls: dict[str, Any] = {}
    async with asyncio.timeout(seconds):
        while set(calls) != keys or not all(
            bool(call.get("unconfirmed")) is (call["node"] == network.silent.name)
            for call in calls.values()
        ):
            await asyncio.sleep(0.1)
            calls = await shown(service)
    assert (await metrics(service))["livestate_calls_lost_total"] == 0


@pytest.fixture
async def network(world: World) -> Any:
    async with (
        await Node.connect(world.nats.url) as speaks, await Node.connect(world.nats.url) as silent,
    ):  # fmt: skip
        yield Network(speaks, silent)


def through(line: FaultProxy) -> str:
    return f"redis://127.0.0.1:{line.port}/0"


@contextlib.asynccontextmanager
async def killed(
    world: World, network: Network, **settings: str
) -> AsyncIterator[tuple[Instance, set[str]]]:
    """A service that was killed when Redis held the calls of both nodes, and the calls' keys. One
    of the nodes is silent from then on."""
    async with world.service(**settings) as service:
        await service.until_ready()
        await network.begin()
        keys = await flushed(world, 2 * CALLS)
        await service.kill()
        network.silent.silence()
        yield service, keys


async def test_a_redis_that_refuses_for_a_moment_while_we_start_loses_nothing(
    world: World, network: Network
) -> None:
    service = world.service()
    async with service:
        await service.until_ready()
        await network.begin()
        keys = await flushed(world, 2 * CALLS)
        async with await Stream.open(service.url, service.token()) as before:
            await before.until(lambda s: len(s.dashboard.calls) == 2 * CALLS)
            await service.kill()
            await before.over.wait()
        network.silent.silence()
        await world.redis.kill()
        service.environment = {**(service.environment or {}), "LIVESTATE_READY_SECONDS": "5"}
        await service.start()
        await asyncio.sleep(1.5)
        await world.redis.start()
        await service.until_ready()
        async with await Stream.open(
            service.url, service.token(), headers={"Last-Event-ID": before.dashboard.last_id},
            dashboard=before.dashboard,
        ) as after:  # fmt: skip
            await after.until(lambda s: s.named("heartbeat"))
            assert not after.named("snapshot"), "its position of before the restart is good"
            await all_back(service, network, keys, 5)
            await agrees(service, after, service.token())
            await after.until(lambda s: s.dashboard.source == "stale", 10)
        assert await flushed(world, 2 * CALLS) == keys


async def test_a_redis_that_comes_back_after_we_are_ready_gives_back_calls_and_keys(
    world: World, network: Network
) -> None:
    async with killed(world, network) as (service, keys):
        await world.redis.kill()
        await service.start()
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: len(s.dashboard.calls) == CALLS)
            assert not set(stream.dashboard.calls) & keys, "Redis has their secret"
            await world.redis.start()
            await asyncio.wait_for(stream.over.wait(), 10)
            assert stream.dashboard.goodbye == "rotation"
        async with await Stream.open(
            service.url, service.token(), headers={"Last-Event-ID": stream.dashboard.last_id},
            dashboard=stream.dashboard,
        ) as stream:  # fmt: skip
            await all_back(service, network, keys, 10)
            await network.speaks.say("ended", "0.1", company_id="100", outcome="answered")
            await stream.until(lambda s: len(s.dashboard.calls) == 2 * CALLS - 1)
            await agrees(service, stream, service.token())
            await stream.until(lambda s: s.dashboard.source == "stale", 10)
            kpi = stream.named("kpi")[-1]
            assert kpi["concurrent"] == kpi["answered"] == 2 * CALLS - 1
        assert len(await flushed(world, 2 * CALLS - 1) & keys) == 2 * CALLS - 1


async def test_a_redis_that_still_loads_its_data_is_waited_for(
    world: World, network: Network
) -> None:
    async with killed(world, network, READY_SECONDS="5") as (service, keys):
        async with RedisClient.from_url(world.redis.url) as redis:
            async with redis.pipeline() as pipe:
                for number in range(200):
                    pipe.set(f"neighbour:{number}", "x" * 4000)
                await pipe.execute()
            await redis.bgrewriteaof()
            async with asyncio.timeout(10):
                while (await redis.info("persistence"))["aof_rewrite_in_progress"]:
                    await asyncio.sleep(0.05)
        await world.redis.kill()
        # 200 keys of a neighbour at 20 ms each: -LOADING for four seconds.
        slow = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
        world.redis.arguments = (*world.redis.arguments, *slow)
        starting = asyncio.create_task(world.redis.start())
        await asyncio.sleep(0.3)
        async with RedisClient.from_url(world.redis.url) as redis:
            with pytest.raises(Exception, match=r"(?i)loading"):
                await redis.ping()
        await service.start()
        await starting
        await service.until_ready()
        await all_back(service, network, keys, 10)


async def test_a_replica_that_is_filled_and_promoted_after_our_start_is_not_written_over(
    world: World, network: Network
) -> None:
    line = FaultProxy(world.redis.port)
    async with line, type(world.redis)() as replica:
        async with killed(world, network, REDIS_URL=through(line)) as (service, keys):
            line.target = replica.port
            async with RedisClient.from_url(replica.url) as redis:
                # Empty and read-only, as before its first synchronisation.
                await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
                await service.start()
                await service.until_ready()
                async with asyncio.timeout(5):
                    while len(await shown(service)) != CALLS:
                        await asyncio.sleep(0.05)
                await redis.execute_command("REPLICAOF", "127.0.0.1", str(world.redis.port))
                async with asyncio.timeout(20):
                    while await redis.zcard("active_calls") != 2 * CALLS:
                        await asyncio.sleep(0.05)
                await redis.execute_command("REPLICAOF", "NO", "ONE")
                await all_back(service, network, keys, 15)


async def test_a_login_of_redis_that_is_refused_at_first_loses_nothing(
    world: World, network: Network
) -> None:
    async with (
        killed(world, network, READY_SECONDS="5") as (service, keys),
        RedisClient.from_url(world.redis.url) as redis,
    ):
        await redis.execute_command("ACL", "SETUSER", "livestate", "off")
        await service.start()
        await asyncio.sleep(1)
        await redis.execute_command("ACL", "SETUSER", "livestate", "on")
        await service.until_ready()
        await all_back(service, network, keys, 5)


async def test_a_slow_answer_with_many_calls_is_taken_back_late(
    world: World, network: Network
) -> None:
    """Redis stops in the middle of its answer, for longer than a start waits."""
    line = FaultProxy(world.redis.port)
    async with line:
        async with killed(world, network, REDIS_URL=through(line)) as (service, keys):
            line.freeze()
            await service.start()
            await service.until_ready()
            line.thaw()
            await all_back(service, network, keys, 15)
            async with RedisClient.from_url(world.redis.url) as redis:
                assert await load(redis) is not None


async def test_two_instances_that_began_without_redis_agree_on_the_keys(
    world: World, network: Network
) -> None:
    await world.redis.kill()
    async with world.service() as one, world.service() as other:
        await one.until_ready()
        await other.until_ready()
        await network.begin()
        async with asyncio.timeout(5):
            while not len(await shown(one)) == len(await shown(other)) == 2 * CALLS:
                await asyncio.sleep(0.05)
        assert not set(await shown(one)) & set(await shown(other)), "each has a secret of its own"
        await world.redis.start()
        keys = await flushed(world, 2 * CALLS)
        async with asyncio.timeout(10):
            while not set(await shown(one)) == set(await shown(other)) == keys:
                await asyncio.sleep(0.1)
        for service in (one, other):
            assert not any(call.get("unconfirmed") for call in (await shown(service)).values())
        writer = one if (await metrics(one))["livestate_redis_writer"] else other
        standby = other if writer is one else one
        await writer.kill()
        async with asyncio.timeout(15):
            while not (await metrics(standby))["livestate_redis_writer"]:
                await asyncio.sleep(0.1)
        assert await flushed(world, 2 * CALLS) == keys == set(await shown(standby))
