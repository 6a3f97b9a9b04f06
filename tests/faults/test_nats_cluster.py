"""Faults of the servers of a NATS cluster."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.faults.cluster import Cluster
from tests.faults.conftest import Rigs, Row
from tests.faults.rig import Rig
from tests.harness import metrics

LAME_DUCK_SECONDS = 45  # nats-server takes 30 s at least to close its connections one by one
ELECTION_SECONDS = 30  # until the stream has another leader, on a slow machine


async def _nats(rig: Rig) -> dict[str, Any]:
    nats: dict[str, Any] = (await rig.status())["nats"]
    return nats


async def _moved_from(server: str, rig: Rig) -> dict[str, Any]:
    """The service's connection as soon as it is to another server of the cluster."""
    async with asyncio.timeout(LAME_DUCK_SECONDS):
        while not (nats := await _nats(rig))["connected"] or nats["server"] == server:
            await asyncio.sleep(0.1)
    return nats


async def test_V_S_a_server_of_the_cluster_in_lame_duck_mode(
    rigs: Rigs, row: Row, tmp_path: Path
) -> None:
    async with Cluster(tmp_path) as cluster, rigs(cluster=cluster, walls=20) as rig:
        served = (await _nats(rig))["server"]
        row.inject("`nats-server --signal ldm` to the server of a cluster of three that serves us")
        cluster.serving(served).lame_duck()
        moved = await _moved_from(served, rig)
        row.heals(await rig.heals())
        assert moved["last_trouble"]["kind"] == "shutdown", moved
        await rig.holds()


async def test_V_S_a_server_of_the_cluster_is_killed(rigs: Rigs, row: Row, tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster, rigs(cluster=cluster, walls=20) as rig:
        served = (await _nats(rig))["server"]
        row.inject("SIGKILL the server of a cluster of three that serves us, for good")
        await cluster.serving(served).kill()
        row.heals(await rig.heals(8))  # the killed one may have been the publisher's too
        await _moved_from(served, rig)  # the walls may be right before the service has noticed
        await rig.holds()


async def test_G_the_leader_of_the_stream_of_cdrs_is_killed(
    rigs: Rigs, row: Row, tmp_path: Path
) -> None:
    async with Cluster(tmp_path) as cluster, rigs(cluster=cluster, walls=20) as rig:
        before = await metrics(rig.service)
        await rig.risen("livestate_cdrs_received_total", before, 30)
        row.inject("SIGKILL the leader of CDR, a stream of three replicas; back some seconds later")
        leader = await cluster.leader()
        await leader.kill()
        row.heals(await rig.heals(8))
        at = await metrics(rig.service)
        await rig.risen("livestate_cdrs_received_total", at, ELECTION_SECONDS)
        await asyncio.sleep(3)
        await leader.start()
        await asyncio.sleep(3)
        at = await metrics(rig.service)
        await rig.risen("livestate_cdrs_received_total", at, ELECTION_SECONDS)
        assert (await rig.status())["cdrs"]["trouble"] is None
        assert rig.publisher.cdrs is not None
        assert rig.publisher.cdrs.lost == 0
        await rig.holds()
