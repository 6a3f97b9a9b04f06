"""Somebody dies every few seconds, for minutes, in an order that a seed gives.

DEATH_SEED=7 DEATH_MINUTES=30 make deaths
"""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Row
from tests.faults.deaths import World
from tests.faults.screen import screen

SEED = int(os.environ.get("DEATH_SEED", "1"))
MINUTES = float(os.environ.get("DEATH_MINUTES", "2"))
HEAL_SECONDS = float(os.environ.get("DEATH_HEAL_SECONDS", "60"))  # a busy machine is slow


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 600)
async def test_V_J_L_R_E_whoever_dies_walls_show_what_nodes_said(
    row: Row, program: Callable[[str], str], tmp_path: Path
) -> None:
    async with (
        World(tmp_path, seed=SEED, heal_seconds=HEAL_SECONDS) as world,
        screen(program("chromium"), world) as page,
    ):
        counted: Counter[str] = Counter()
        until = time.monotonic() + MINUTES * 60
        deck: list[str] = []
        while time.monotonic() < until or len(counted) < len(world.deaths):
            if not deck:  # each kind once before any of them again
                deck = sorted(world.deaths)
                world.chance.shuffle(deck)
            name = deck.pop()
            counted[name] += 1
            whom = await world.deaths[name](world.chance.uniform(0.5, 4))
            print(f"{name}: {whom}", flush=True)
            began = time.monotonic()
            await world.heals(HEAL_SECONDS)
            row.heals(time.monotonic() - began)
            await page.right(HEAL_SECONDS)  # the same page as in the beginning
            assert not world.violations(), (name, whom, world.violations()[:5])
        await world.heals(HEAL_SECONDS)
        world.fleet.walls[1].dashboard.calls.popitem()
        assert not world.right(), "the judge sees a call that is missing"
        row.inject(", ".join(f"{name} × {number}" for name, number in sorted(counted.items())))
        row.note(f"seed {SEED}, {counted.total()} deaths, 0 violations")
