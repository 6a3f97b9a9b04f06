"""The service stopped, killed, drained, replaced; Caddy reloaded and restarted in front of it."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable
from random import Random

import pytest
from redis.asyncio import Redis as RedisClient

from livestate.devtools.simulator import Traffic
from livestate.store.keys import UNPREFIXED
from tests.faults.conftest import Rigs, Row
from tests.faults.rig import HEAL_SECONDS, WALLS, Rig
from tests.faults.screen import screen
from tests.harness import metrics

STOPPED_SECONDS = float(os.environ.get("APP_STOPPED_SECONDS", "30"))
SEEDS = int(os.environ.get("SEEDS", "20"))
CLIENTS = int(os.environ.get("CLIENTS", "1000"))
QUIET = Traffic(cps=4, talk_seconds=60, ring_seconds=2)


@pytest.mark.parametrize("seconds", [9, pytest.param(STOPPED_SECONDS, marks=pytest.mark.slow)])
async def test_V_R_S_the_writer_is_stopped_and_fenced_off(
    rigs: Rigs, row: Row, seconds: float
) -> None:
    async with rigs(instances=2) as rig:
        old, new = rig.services
        assert (await metrics(old))["livestate_redis_writer"] == 1
        row.inject(f"SIGSTOP of the writing instance for {seconds:g} s under load; a standby")
        old.pause()
        stopped = time.monotonic()
        while not (await metrics(new))["livestate_redis_writer"]:
            assert time.monotonic() - stopped < 15, "the standby does not take over"
            await asyncio.sleep(0.1)
        row.note(f"the standby writes after {time.monotonic() - stopped:.1f} s")
        await asyncio.sleep(max(seconds - (time.monotonic() - stopped), 0))
        old.resume()
        row.heals(await rig.heals())
        while not (await metrics(old))["livestate_redis_fenced_total"]:
            assert time.monotonic() - stopped < seconds + 20, "the old writer was not fenced off"
            await asyncio.sleep(0.1)
        assert (await metrics(new))["livestate_redis_writer"] == 1
        await rig.holds(revived=True)


@pytest.mark.timeout(240)
async def test_R_twins_with_one_name_and_address_do_not_take_turns(rigs: Rigs, row: Row) -> None:
    """As two machines from one image: the same host name, and the same ``LIVESTATE_BIND``."""
    async with rigs(walls=0) as rig, contextlib.AsyncExitStack() as stack:
        row.inject("two instances of one name and address, for 20 s under load")
        await rig.service.stop()
        rig.services = [rig.instance() for _ in range(2)]
        for service in rig.services:
            service.port = service.admin_port  # each gets some port for its page
            service.environment = {**(service.environment or {}), "LIVESTATE_BIND": "127.0.0.1:0"}
            await stack.enter_async_context(service)
            await service.until_ready()
        async with asyncio.timeout(10):
            while not any([(await metrics(each))["livestate_redis_writer"]
                           for each in rig.services]):  # fmt: skip
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        before = [await metrics(service) for service in rig.services]
        await asyncio.sleep(20)
        after = [await metrics(service) for service in rig.services]
        assert sorted(each["livestate_redis_writer"] for each in after) == [0, 1]
        for name in ("livestate_redis_fenced_total", "livestate_redis_rewrites_total"):
            grown = sum(each[name] for each in after) - sum(each[name] for each in before)
            row.note(f"{name} {grown:.0f}")
            assert grown == 0, name
        writer = (await rig.status())["redis"]["writer"]
        assert writer.startswith(socket.gethostname() + " 127.0.0.1:0 "), "people can read it"


async def test_V_E_a_rolling_restart_with_two_that_overlap(
    rigs: Rigs, row: Row, program: Callable[[str], str]
) -> None:
    async with rigs(instances=2) as rig, screen(program("chromium"), rig) as page:
        old = rig.service
        async with RedisClient.from_url(rig.redis.url) as redis:
            fence = int(await redis.hget(UNPREFIXED.meta, "fence") or 0)
            row.inject("a second instance beside the first, then SIGTERM to the first")
            began = time.monotonic()
            await old.stop()
            row.note(f"drained and gone in {time.monotonic() - began:.1f} s")
            rig.services.remove(old)
            row.heals(await rig.heals(10))
            await page.right()
            await rig.holds(revived=True)
            assert int(await redis.hget(UNPREFIXED.meta, "fence") or 0) > fence
        rig.services.insert(0, old)


async def test_V_E_the_service_is_killed_and_back(
    rigs: Rigs, row: Row, program: Callable[[str], str]
) -> None:
    async with rigs() as rig, screen(program("chromium"), rig) as page:
        row.inject("SIGKILL of the service, started again 2 s later")
        await rig.service.kill()
        await asyncio.sleep(2)
        await rig.service.start()
        row.heals(await rig.heals(10))  # promise E: live again 10 s after the service
        await page.right()
        await rig.holds()


async def test_V_E_caddy_is_reloaded_and_restarted(
    rigs: Rigs, row: Row, program: Callable[[str], str]
) -> None:
    async with rigs() as rig, screen(program("chromium"), rig) as page:
        row.inject("caddy reload")
        await rig.caddy.reload()
        row.heals(await rig.heals())
        row.inject("SIGKILL of Caddy, back after 1 s")
        await rig.caddy.kill()
        await asyncio.sleep(1)
        await rig.caddy.start()
        row.heals(await rig.heals(10))
        await page.right()
        await rig.holds()


@pytest.mark.timeout(240)
async def test_V_E_a_thousand_clients_come_back_at_once(rigs: Rigs, row: Row) -> None:
    """Half of them without a position, as a page whose EventSource had died."""
    async with rigs(traffic=QUIET, walls=10) as rig:
        await rig.until(lambda: rig.load.live > 15, 60, lambda: "no calls")
        walls = [rig.wall(url=rig.caddy.url) for _ in range(CLIENTS)]
        for n, wall in enumerate(walls):
            wall.fresh_start = n % 2 == 0
        rig.fleet.join(walls)
        await rig.until(lambda: all(w.says_live for w in walls), 60, rig._not_live)
        before = await metrics(rig.service)
        for wall in walls:
            wall.first_state_seconds = 0
        row.inject(f"SIGKILL of Caddy with {CLIENTS} clients, back at once")
        await rig.caddy.kill()
        await rig.caddy.start()
        rig.load.hold()
        # Each waits up to 3 s, as ``retry:`` said, lest all of them come in the same instant.
        row.heals(await rig.until(rig.right, 3 + HEAL_SECONDS, rig._difference))
        after = await metrics(rig.service)
        waits = sorted(wall.first_state_seconds for wall in walls)
        p99 = waits[int(0.99 * len(waits))]
        built = "livestate_sse_snapshots_built_total"
        row.note(f"first state p99 {p99:.2f} s, {after[built] - before[built]:.0f} snapshots built")
        assert p99 < 2
        assert after[built] - before[built] <= CLIENTS / 20
        await rig.holds()


@pytest.mark.timeout(240)
async def test_E_a_drain_of_a_thousand_streams_takes_2s(rigs: Rigs, row: Row) -> None:
    async with rigs(traffic=QUIET, walls=10) as rig:
        walls = [rig.wall(url=rig.service.url) for _ in range(CLIENTS)]
        rig.fleet.join(walls)
        await rig.until(lambda: all(w.says_live for w in walls), 60, rig._not_live)
        row.inject(f"SIGTERM with {CLIENTS} streams")
        began = time.monotonic()
        await rig.service.stop()
        took = time.monotonic() - began
        row.note(f"gone in {took:.2f} s")
        await rig.until(lambda: not any(w.connected for w in walls), 5, rig._not_live)
        assert all(wall.goodbyes["drain"] for wall in walls)  # twice who was back too soon
        assert took < 2
        await rig.service.start()
        row.heals(await rig.heals(10))
        await rig.holds()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, SEEDS + 1))]
)
async def test_V_L_S_several_faults_at_once_in_random_order(
    rigs: Rigs, row: Row, seed: int
) -> None:
    chance = Random(seed)
    busy = Traffic(cps=12, talk_seconds=6, ring_seconds=1, seed=seed)
    async with rigs(traffic=busy, walls=min(WALLS, 40)) as rig:
        faults = chance.sample(sorted(SCHEDULE), 4)
        row.inject(", ".join(faults))

        async def inject(name: str) -> None:
            await asyncio.sleep(chance.uniform(0, 2))
            await SCHEDULE[name](rig, chance.uniform(0.5, 4))

        async with asyncio.TaskGroup() as group:
            for name in faults:
                group.create_task(inject(name))
        # The service may have been away: its walls come back after ``retry:``.
        row.heals(await rig.heals(10))
        await rig.holds(revived=True)


async def _nats_dies(rig: Rig, seconds: float) -> None:
    await rig.nats.kill()
    await asyncio.sleep(seconds)
    await rig.nats.start()


async def _nats_hangs(rig: Rig, seconds: float) -> None:
    rig.nats_line.freeze()
    await asyncio.sleep(seconds)
    rig.nats_line.thaw()


async def _redis_dies_and_forgets(rig: Rig, seconds: float) -> None:
    await rig.redis.kill()
    await asyncio.sleep(seconds)
    shutil.rmtree(rig.redis.data)
    await rig.redis.start()


async def _redis_hangs(rig: Rig, seconds: float) -> None:
    rig.redis_line.freeze()
    await asyncio.sleep(seconds)
    rig.redis_line.thaw()


async def _service_dies(rig: Rig, seconds: float) -> None:
    await rig.service.kill()
    await asyncio.sleep(seconds / 4)
    await rig.service.start()


async def _service_hangs(rig: Rig, seconds: float) -> None:
    rig.service.pause()
    await asyncio.sleep(seconds)
    rig.service.resume()


async def _caddy_dies(rig: Rig, seconds: float) -> None:
    await rig.caddy.kill()
    await asyncio.sleep(seconds / 4)
    await rig.caddy.start()


async def _node_restarts(rig: Rig, seconds: float) -> None:
    await asyncio.sleep(seconds)
    rig.load.restart("sim-2", time.time_ns() // 1_000_000)


async def _events_vanish(rig: Rig, seconds: float) -> None:
    for phase in ("setup", "answered", "ended", "hold"):
        rig.load.drop(phase)
    await asyncio.sleep(seconds)


SCHEDULE = {
    "NATS killed": _nats_dies, "NATS half-open": _nats_hangs,
    "Redis killed, back empty": _redis_dies_and_forgets, "Redis half-open": _redis_hangs,
    "service killed": _service_dies, "service stopped": _service_hangs,
    "Caddy killed": _caddy_dies, "node restarted": _node_restarts,
    "events lost": _events_vanish,
}  # fmt: skip
