"""Promise K's own guard: a callback that holds the loop breaks every row, by its name."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestate.devtools.simulator import Traffic
from tests.faults.conftest import Rigs, Row

PLANT = """
import time
from livestate.ingest.pipeline import Pipeline

handle, last = Pipeline.handle, [0.0]

def planted(self, subject, data, waited_ms):
    if time.monotonic() - last[0] > 0.5:
        last[0] = time.monotonic()
        over = time.thread_time() + {seconds}
        while time.thread_time() < over:
            sum(range(100))
    handle(self, subject, data, waited_ms)

Pipeline.handle = planted
"""


async def hold(rigs: Rigs, home: Path, seconds: float) -> None:
    """A row like any other, whose service computes for so long twice a second."""
    home.mkdir()
    (home / "sitecustomize.py").write_text(PLANT.format(seconds=seconds))
    quiet = Traffic(cps=5, talk_seconds=3, ring_seconds=0.5)
    async with rigs(traffic=quiet, walls=2, environment={"PYTHONPATH": str(home)}) as rig:
        await asyncio.sleep(8)
        assert await rig.holds() < 60


async def test_K_a_callback_of_80_ms_breaks_its_row_and_is_named(
    rigs: Rigs, row: Row, tmp_path: Path
) -> None:
    row.inject("a callback of 80 ms is planted in the service")
    with pytest.raises(AssertionError, match=r"promise K: .*planted") as broken:
        await hold(rigs, tmp_path / "plant", 0.08)
    row.note(str(broken.value)[:120])


async def test_K_a_callback_of_10_ms_breaks_nothing(rigs: Rigs, row: Row, tmp_path: Path) -> None:
    row.inject("a callback of 10 ms is planted in the service")
    await hold(rigs, tmp_path / "plant", 0.01)
