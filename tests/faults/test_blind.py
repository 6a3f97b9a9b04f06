"""What clients are told while no engine is left: edges say *stale*, and never *live* again before
an engine is back. Judged by the edge's own clock in the heartbeats, so a busy machine cannot make a
late message look like a wrong one."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from livestate.cluster.heard_engine import SILENT_MS
from tests.faults.conftest import Row
from tests.faults.deaths import World
from tests.harness import now_ms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOOK_MS = 1_000  # until an edge looks at its engine again, on a busy machine
HEAL_SECONDS = 60.0


async def test_S_V_both_engines_are_killed_and_no_edge_says_live(row: Row, tmp_path: Path) -> None:
    async with World(tmp_path, seed=4) as world:
        walls = world.fleet.walls
        connects = [wall.connects for wall in walls]
        row.inject("kill -9 of both engines for 5 s")
        await asyncio.gather(*(one.instance.kill() for one in world.engines))
        at, began, claimed = now_ms(), time.monotonic(), 0
        while (live := [one.as_of for one in walls if one.dashboard.source == "live"]) or (
            time.monotonic() - began < 5
        ):
            assert time.monotonic() - began < HEAL_SECONDS, "a client never heard that it is blind"
            claimed = max(claimed, *live, 0)
            await asyncio.sleep(0.02)
        row.note(f"live was last said {claimed - at:,} ms after")
        assert claimed - at <= SILENT_MS + LOOK_MS, "live was said while no engine was heard"
        assert [wall.connects for wall in walls] == connects, "a stream ended"
        await asyncio.gather(*(one.instance.start() for one in world.engines))
        began = time.monotonic()
        await world.heals(HEAL_SECONDS)
        row.heals(time.monotonic() - began)
        assert not world.violations(), world.violations()[:5]
