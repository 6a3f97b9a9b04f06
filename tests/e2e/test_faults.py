"""Each part between SIP and the page is killed; the page is right again when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from tests.e2e.calls import talking
from tests.e2e.conftest import Rigs
from tests.e2e.lab import Kamailio
from tests.e2e.rig import RIGHT_SECONDS

pytestmark = pytest.mark.timeout(180)


async def test_calls_of_a_dead_kamailio_end_as_lost(
    rigs: Rigs, tell: Callable[[str], None]
) -> None:
    before = talking(5, 39_050_001, talk_ms=60_000, outcome="lost")
    after = talking(3, 39_050_011, talk_ms=1_500)
    async with rigs() as rig:
        rig.phones.call(before)
        await rig.until(lambda: rig.are_live(before), 10)
        await rig.kamailio.kill()
        await rig.kamailio.start()
        right = await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.page_tells(before), RIGHT_SECONDS)
        rig.phones.call(after)
        await rig.until(lambda: rig.are_live(after), 10)
        await rig.until(rig.quiet, 10)
        # Kamailio forgot the others, and tells of none that it has ended.
        await rig.until(lambda: rig.each_has_one_cdr(after), RIGHT_SECONDS)
        tell(f"Kamailio killed: the live view right {right:.1f} s after its return")


async def test_the_calls_of_a_kamailio_with_a_database_outlive_it(
    rigs: Rigs, tell: Callable[[str], None]
) -> None:
    calls = talking(5, 39_060_001, talk_ms=9_000)
    async with rigs(Kamailio(database=True)) as rig:
        rig.phones.call(calls)
        await rig.until(lambda: rig.are_live(calls), 10)
        await rig.kamailio.restart()
        right = await rig.until(rig.restart_was_noticed, RIGHT_SECONDS)
        await rig.are_live(calls)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)
        await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
        tell(f"Kamailio with a database restarted: right {right:.1f} s after its return")


async def test_a_bridge_killed_while_calls_begin_and_end_loses_and_doubles_no_cdr(
    rigs: Rigs, tell: Callable[[str], None]
) -> None:
    chance = Random(7)
    staying = talking(4, 39_070_001, talk_ms=40_000)
    coming = talking(60, 39_070_011, talk_ms=1_000)
    rights = []
    async with rigs() as rig:
        rig.phones.call(staying)
        await rig.until(lambda: rig.are_live(staying), 10)
        rig.phones.call(coming, per_second=5)
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.5, 2.5))
            await rig.bridge.kill()
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            await rig.bridge.start()
        assert await rig.phones.ended(1) == [0], rig.phones.log()
        await rig.bridge.kill()
        await rig.bridge.start()
        rights.append(await rig.until(lambda: rig.are_live(staying), RIGHT_SECONDS))
        await rig.until(lambda: rig.each_has_one_cdr(coming), RIGHT_SECONDS)
        tell(f"bridge killed 4 times during 64 calls: right {max(rights):.1f} s after its return, "
             f"60 ended, 60 CDRs")  # fmt: skip


async def test_calls_that_ended_while_nats_was_away_have_their_cdrs_when_it_is_back(
    rigs: Rigs, tell: Callable[[str], None]
) -> None:
    calls = talking(20, 39_080_001, talk_ms=1_000)
    async with rigs() as rig:
        rig.phones.call(calls[:10])
        await rig.phones.done()
        await rig.nats.kill()
        rig.phones.call(calls[10:])
        assert await rig.phones.done() == [0], rig.phones.log()
        await rig.nats.start()
        right = await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.each_has_one_cdr(calls), 10)
        tell(f"NATS away during 10 of 20 calls: right {right:.1f} s after its return, 20 CDRs")
