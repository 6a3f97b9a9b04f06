"""What is done to NATS, and what happens on the way to it."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import os

from tests.faults.conftest import Rigs, Row
from tests.harness import metrics

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "300"))


async def test_V_S_nats_killed_and_back_after_1s_with_the_bridge_before_us(
    rigs: Rigs, row: Row
) -> None:
    async with rigs() as rig:
        await asyncio.sleep(2)
        before = await metrics(rig.service)
        row.inject("SIGKILL nats-server, back after 1 s; we are let in 2 s after the bridge")
        rig.nats_line.refusing = True
        await rig.nats.kill()
        await asyncio.sleep(1)
        await rig.nats.start()
        await rig.until(lambda: rig.publisher.connected, 10, lambda: "the bridge stays away")
        await asyncio.sleep(2)  # what it says now, nobody hears
        assert not rig.right()
        rig.nats_line.refusing = False
        row.heals(await rig.heals())
        assert await rig.risen("livestate_nats_reconnects_total", before) == 1
        assert await rig.risen("livestate_node_lists_total", before) >= 2  # one of each node
        await rig.holds()
