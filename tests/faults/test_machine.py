"""Faults of the machine: a clock that jumps, no file descriptors, 100,000 waiting CDRs."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from bench import proc
from livestate.devtools.servers import NatsServer
from livestate.nats.connection import connect
from livestate.nats.jetstream import DEAD_SUBJECT, create
from tests.faults.clock import Clock
from tests.faults.conftest import Rigs, Row
from tests.faults.probe import Probe
from tests.harness import metrics, now_ms, publish_cdrs

BACKLOG = int(os.environ.get("CDR_BACKLOG", "100000"))


async def test_V_S_the_clock_jumps_by_an_hour_there_and_back(
    rigs: Rigs, row: Row, program: Callable[[str], str], tmp_path: Path
) -> None:
    program("faketime")
    clock = Clock(tmp_path / "offset")
    async with rigs(environment=clock.environment) as rig:
        connects = [wall.connects for wall in rig.walls]
        for jump in (3600, -3600):
            row.inject(f"the service's clock {jump:+d} s")
            clock.set(jump)
            await asyncio.sleep(4)
            row.heals(await rig.heals())
            at = rig.walls[0].as_of
            assert abs(at - now_ms() - jump * 1000) < 60_000, "the clock was not moved"
            assert [wall.connects for wall in rig.walls] == connects, "a stream ended"
        clock.set(0)
        await asyncio.sleep(2)
        await rig.holds()
        assert (await metrics(rig.service))["livestate_calls_given_up_total"] == 0


async def test_E_no_file_descriptor_left_and_open_streams_are_fine(rigs: Rigs, row: Row) -> None:
    async with rigs(walls=40) as rig:
        pid = rig.service.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = proc.open_files(pid)
        row.inject("the service may open 3 more files; 40 clients want in")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, hard))
        late = [rig.wall(url=rig.service.url) for _ in range(40)]
        rig.fleet.join(late)
        await asyncio.sleep(4)
        early = [wall for wall in rig.walls if wall not in late]
        assert all(wall.says_live for wall in early), "an open stream suffered"
        assert not all(wall.says_live for wall in late), "the limit was none"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        row.heals(await rig.heals(20))  # who waited in vain tries again after 9 s, as the page
        await rig.holds()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cdrs", [10_000, pytest.param(BACKLOG, marks=pytest.mark.slow)])
async def test_G_waiting_and_poison_cdrs_delay_no_event(rigs: Rigs, row: Row, cdrs: int) -> None:
    async with NatsServer() as nats:
        await _fill(nats, cdrs)
        row.inject(f"{cdrs} CDRs waiting at the start, 5 of them poison")
        async with rigs(nats=nats, walls=20) as rig, Probe(rig) as probe:
            values = await metrics(rig.service)
            delays = await probe.delays(3)
            while (values := await metrics(rig.service))["livestate_cdrs_waiting"] > 0:
                delays += await probe.delays(1)
            delays.sort()
            p99 = delays[int(0.99 * len(delays))]
            row.note(f"p99 {p99:.3f} s meanwhile")
            assert p99 < 1
            assert values["livestate_cdrs_received_total"] >= cdrs
            assert values["livestate_cdr_dead_letters_total"] == 5
            aside = await rig.letters(DEAD_SUBJECT, 5)
            assert aside == [b"poison"] * 5
            await probe.end()
            row.heals(await rig.heals())
            await rig.holds()


async def _fill(nats: NatsServer, cdrs: int) -> None:
    client = await connect(nats.url, "test")
    await create(client)
    old = {"v": 1, "phase": "failed", "node": "long-gone", "epoch": 1, "outcome": "busy"}
    await publish_cdrs(client, *(
        b"poison" if n % (cdrs // 5) == 7 else orjson.dumps(old | {
            "seq": n, "ts": now_ms(), "ended_at": now_ms(), "call_id": f"{n}@old",
            "dialog": f"9.{n}"})
        for n in range(cdrs)
    ))  # fmt: skip
    await client.close()
