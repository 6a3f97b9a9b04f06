"""A start looks at tens of thousands of calls, and lets the event loop turn meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from api import start
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import NEVER
from tests.unit.ingest.feeding import Fed, raw


async def test_the_latest_position_is_found_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = Fed()
    for seq in range(1, 8):
        fed.take(raw("setup", seq, dialog=f"{seq}.1", call_id=f"c{seq}"))
    table: ActiveCalls = fed.table
    ((_, keys),) = table.nodes.with_calls()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(start, "LOOKED_AT_ONCE", 2)
    other = asyncio.create_task(turn())
    assert {await start.latest_position(table, keys)} == set(table.positions().values())
    other.cancel()
    assert turns >= 3
    assert await start.latest_position(table, ()) == NEVER
