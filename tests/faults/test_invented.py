"""Faults that are in no table."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from random import Random

import pytest

from livestate.devtools.servers import NatsServer
from livestate.devtools.simulator import Traffic
from livestate.nats.connection import connect
from livestate.nats.jetstream import STREAM, create_at
from tests.faults.conftest import Rigs, Row
from tests.faults.fault_proxy import FaultProxy
from tests.harness import metrics, now_ms

# The server's name again: what came by a flag must stand in a file that is reloaded.
RIGHTS = """
server_name: {name}
authorization {{
  users = [
    {{ user: bridge, password: x }}
    {{ user: service, password: x, permissions: {{ publish: ">", subscribe: {subjects} }} }}
  ]
}}
no_auth_user: bridge
"""
NO_EVENTS = '["_INBOX.>", "livestate.>"]'  # livestate.>: between an engine and its edges
ALL = '["call.events.>", "_INBOX.>", "livestate.>"]'


async def test_V_S_the_right_to_listen_is_taken_away_and_given_back(
    rigs: Rigs, row: Row, tmp_path: Path
) -> None:
    """Connected, authenticated, answering pings, and deaf: only the error callback hears of it."""
    config = tmp_path / "nats.conf"
    nats = NatsServer(arguments=("-c", str(config)))

    def allow(subjects: str) -> None:
        config.write_text(RIGHTS.format(subjects=subjects, name=nats._tag))

    allow(ALL)
    async with rigs(nats=nats, nats_login="service:x@") as rig:
        row.inject("nats-server reloads without our right to call.events.>, then with it")
        allow(NO_EVENTS)
        rig.nats._signal(signal.SIGHUP)
        row.note(f"stale after {await rig.seen_blind():.1f} s")
        await asyncio.sleep(4)
        allow(ALL)
        rig.nats._signal(signal.SIGHUP)
        row.heals(await rig.heals())
        await rig.holds()


async def test_V_J_every_line_is_torn_to_shreds_and_cut_in_the_midst(rigs: Rigs, row: Row) -> None:
    """No reader may rest on a frame, a message or an answer coming in one piece."""
    chance = Random(11)
    async with rigs(traffic=Traffic(cps=15, talk_seconds=3, ring_seconds=0.5), walls=10) as rig:
        async with FaultProxy(rig.caddy.port) as web:
            row.inject("NATS, Redis and streams in pieces of 1 to 3 bytes, cut ten times")
            for line in (rig.nats_line, rig.redis_line, web):
                line.shreds = True
            torn = rig.join(20, url=f"http://127.0.0.1:{web.port}")
            for _ in range(10):
                await asyncio.sleep(chance.uniform(0.2, 0.8))
                chance.choice((rig.nats_line, rig.redis_line, web)).cut()
            row.heals(await rig.heals(10))
            assert sum(wall.connects for wall in torn) > len(torn)
            await rig.holds()
            await rig.fleet.leave(torn)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_S_G_a_node_comes_back_with_its_clock_an_hour_behind(rigs: Rigs, row: Row) -> None:
    """Its new epoch is lower than the old one: what it says now must not be taken for late news of
    before, with the old calls shown as live for ever."""
    async with rigs(REAP_SECONDS="2", ENDED_SECONDS="5") as rig:
        await rig.until(lambda: len(rig.load.nodes["sim-1"].live) > 5, 30, lambda: "no calls")
        row.inject("sim-1 restarts with an epoch that is an hour before its last one")
        rig.load.restart("sim-1", now_ms() - 3_600_000)
        row.note(f"stale after {await rig.seen_blind():.1f} s")
        row.heals(await rig.heals(120))
        await rig.holds(revived=True)


@pytest.mark.slow
async def test_G_a_node_beats_and_never_lists_while_two_ends_are_lost(rigs: Rigs, row: Row) -> None:
    """Unconfirmed calls expire, each after its own time: the second ghost like the first."""
    busy = Traffic(cps=10, talk_seconds=3, ring_seconds=0.5)
    async with rigs(traffic=busy, walls=20, cdrs=False, REAP_SECONDS="2") as rig:

        def ghosts() -> bool:
            return any(wall.shows() - rig.load.truth(wall.company) for wall in rig.walls)

        row.inject("sim-1 answers for no list; twice an end is lost, and no CDR tells it")
        rig.load.mute.add("sim-1")
        for lost in (1, 2):
            rig.load.drop("ended", node="sim-1")
            await rig.until(lambda n=lost: rig.load.dropped == n, 20, lambda: "nothing is lost")  # type: ignore[misc]
            await asyncio.sleep(2)  # its gap is known, by what comes after it
            rig.load.hold()
            assert ghosts()
            gone = await rig.until(lambda: not ghosts(), 25, lambda: "a ghost is shown")
            row.note(f"ghost {lost} gone after {gone:.1f} s")
            rig.load.go_on()
            # Calls that were up at the loss were given up with its ghost: wait until all are over,
            # or the next end that is lost is of one of them, and nothing is left to show.
            await asyncio.sleep(6)
        rig.load.mute.clear()
        row.heals(await rig.heals())
        await rig.holds(revived=True)


@pytest.mark.slow
async def test_G_the_stream_of_cdrs_is_deleted_and_recreated(rigs: Rigs, row: Row) -> None:
    async with rigs(traffic=Traffic(cps=10, talk_seconds=1, ring_seconds=0.3), walls=20) as rig:
        before = await rig.risen("livestate_cdrs_received_total", await metrics(rig.service), 20)
        assert before
        row.inject("`nats stream rm CDR` under load; an operator makes another")
        client = await connect(rig.nats.url, "test")
        await client.jetstream().delete_stream(STREAM)
        await client.close()
        await asyncio.sleep(3)
        await create_at(rig.nats.url)
        row.heals(await rig.heals())
        at = await metrics(rig.service)
        await rig.risen("livestate_cdrs_received_total", at, 30)
        await rig.holds()
