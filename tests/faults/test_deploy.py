"""A rolling deploy of everything under load, as docs/scale.md describes it: walls notice nothing.

``make faults`` runs it. The last row really has two versions beside each other: the older one comes
out of git's history, and the row is skipped where there is none.
"""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.child_service import Instance
from livestate.process.tasks import cancel_and_wait
from tests.faults.conftest import Row
from tests.faults.deaths import Member, World
from tests.faults.screen import Screen, screen
from tests.older_version import older_version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The last landed version whose handover is as good as this one's.
FORMER = "0119850a"
READY_SECONDS = 90.0
HEAL_SECONDS = 60.0
STALE_SECONDS = 2.0  # the longest time in which a page may say another word than live
LOOKS_SECONDS = 0.05
SLACK_SECONDS = 1.0  # a look may be late on a busy machine


class StaleTimes:
    """For how long each wall has said that it is stale, at most."""

    def __init__(self, world: World) -> None:
        self.longest = 0.0
        self._world = world

    async def run(self) -> None:
        since: dict[int, float] = {}
        while True:
            now = time.monotonic()
            for number, wall in enumerate(self._world.fleet.walls):
                if wall.dashboard.source != "stale":
                    since.pop(number, None)
                    continue
                self.longest = max(self.longest, now - since.setdefault(number, now))
            await asyncio.sleep(LOOKS_SECONDS)


async def status(instance: Instance) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=60) as client:
        found: dict[str, Any] = (await client.get(f"{instance.admin_url}/statusz")).json()
        return found


async def until_warm(world: World) -> None:
    """One engine leads, and the other one could take over at once."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            said = [await status(one.instance) for one in world.engines]
            leads = [one["edges"]["publishes"] for one in said]
            if sum(leads) == 1 and said[leads.index(False)]["following"]["at_hand"]:
                return
            await asyncio.sleep(0.1)


async def is_this_version(engine: Instance) -> bool:
    return "gaps" in (await status(engine))["following"]


async def replaced(world: World, environment: dict[str, str]) -> None:
    """The warm engine, the other one, then the edges, each when the one before is ready."""
    leads = [(await status(one.instance))["edges"]["publishes"] for one in world.engines]
    warm, leading = sorted(world.engines, key=lambda one: leads[world.engines.index(one)])
    for member in (warm, leading, *world.edges):
        await replace(member, environment)
        await until_warm(world)


async def replace(member: Member, environment: dict[str, str]) -> None:
    instance = member.instance
    await instance.stop()
    kept = {name: it for name, it in (instance.environment or {}).items() if name != "PYTHONPATH"}
    instance.environment = kept | environment
    await instance.start()
    await instance.until_ready(READY_SECONDS)


async def deploys(
    world: World,
    row: Row,
    environment: dict[str, str] | None = None,
    page: Screen | None = None,
) -> None:
    """A deploy; then all must be right, and no wall may have taken a snapshot or been wrong."""
    before = [wall.frames["snapshot"] for wall in world.fleet.walls]
    if page is not None:
        await page.begin_to_note()
    stale = StaleTimes(world)
    looking = asyncio.create_task(stale.run())
    try:
        await replaced(world, environment or {})
        await world.heals(HEAL_SECONDS)
    finally:
        await cancel_and_wait(looking)
    assert not world.violations(), world.violations()[:5]
    taken = [wall.frames["snapshot"] for wall in world.fleet.walls]
    assert taken == before, "a client that resumes gets no snapshot"
    assert stale.longest <= STALE_SECONDS + SLACK_SECONDS
    row.note(f"stale for at most {stale.longest:.1f} s, {len(before)} walls, 0 snapshots")
    if page is not None:
        seconds, words = await page.longest_without_live()
        row.note(f"the page showed another word than live for {seconds:.1f} s at most: {words}")
        assert seconds <= STALE_SECONDS + SLACK_SECONDS, words
        await page.right(HEAL_SECONDS)


async def test_V_J_E_a_rolling_deploy_is_not_noticed(
    row: Row, program: Callable[[str], str], tmp_path: Path
) -> None:
    async with World(tmp_path, seed=1) as world, screen(program("chromium"), world) as page:
        await until_warm(world)
        row.inject("both engines and both edges replaced, one after the other")
        await deploys(world, row, page=page)


async def test_V_J_E_a_deploy_while_a_nats_server_is_lost(
    row: Row, program: Callable[[str], str], tmp_path: Path
) -> None:
    async with World(tmp_path, seed=2) as world, screen(program("chromium"), world) as page:
        await until_warm(world)
        row.inject("the same with one of three NATS servers killed")
        await world.cluster.servers[2].kill()
        await world.heals(HEAL_SECONDS)
        await deploys(world, row, page=page)


async def test_V_J_E_a_deploy_from_an_older_version(row: Row, tmp_path: Path) -> None:
    older = older_version(FORMER, tmp_path)
    world = World(tmp_path, seed=3, environment=older)
    async with world:
        assert not await is_this_version(world.engines[0].instance), "the older version runs"
        row.inject(f"from {FORMER} to this version, and back")
        await deploys(world, row)
        assert await is_this_version(world.engines[0].instance)
        await deploys(world, row, older)
