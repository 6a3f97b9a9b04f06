"""The bridge as a command: killed at any instant, stopped, and run with --check."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from livestate.devtools.servers import NatsServer
from livestate.process.tasks import cancel_and_wait
from tests.evapi import Peer
from tests.harness import until
from tests.unit.bridge.bridge_rig import LIVESTATE, Received, bridging, check
from tests.unit.nats.test_rights import Guarded


async def test_bridges_that_die_at_any_instant_lose_and_double_no_cdr(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    chance = Random(11)
    begun = 0

    async def traffic() -> None:
        nonlocal begun
        while True:
            begun += 1
            peer.call(begun)
            peer.hang_up(begun)
            await asyncio.sleep(0.005)

    calling = asyncio.create_task(traffic())
    for _ in range(6):
        async with bridging(peer, nats_server.url, tmp_path):
            await asyncio.sleep(chance.uniform(0.05, 1.5))
        await asyncio.sleep(chance.uniform(0, 0.3))
    await cancel_and_wait(calling)
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: not peer.kept and not len(bridge.spool), 30)
    counted = Counter(await received.cdrs())
    assert counted == Counter(f"{n}.1" for n in range(1, begun + 1))


async def test_a_stopped_bridge_logs_counts_and_keeps_its_spool(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "bridge", "--evapi", f"127.0.0.1:{peer.port}", "--nats-url", nats_server.url,
        "--spool", str(tmp_path), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await until(lambda: received.lists)
    await nats_server.kill()
    peer.call(1)
    peer.hang_up(1)
    await until(lambda: not peer.kept)
    process.terminate()
    _, output = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"1 CDRs, 0 delivered" in output
    assert b"1 waiting" in output
    await nats_server.start()
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: bridge.cdr_publisher.delivered == 1)


async def test_a_check_finds_nothing_to_mend_where_all_is_there(peer: Peer, tmp_path: Path) -> None:
    peer.call(1, 2)
    async with Guarded(tmp_path) as server:
        status, output = await check(peer, server.url_of("bridge"), tmp_path / "spool")
    assert (status, "no problems found" in output) == (0, True), output
    assert "kam-test-1 sends heartbeats" in output
    assert "(2 live)" in output
    assert "pw-of-bridge" not in output
    assert not (tmp_path / "spool").exists()


@pytest.mark.slow
async def test_a_check_says_what_is_missing(tmp_path: Path) -> None:
    nowhere = "nats://127.0.0.1:1"
    (tmp_path / "file").write_text("")
    async with Guarded(tmp_path) as server, Peer() as deaf, Peer() as mute, Peer() as down:
        deaf.keeps = deaf.lists = False
        mute.beats = False
        down.stop()
        results = await asyncio.gather(
            check(deaf, server.url_of("livestate"), tmp_path),
            check(mute, nowhere, tmp_path),
            check(down, nowhere, tmp_path / "file" / "spool"),
        )
    for (status, output), missing in zip(results, (
        ("no list of dialogs", "livestate_ends", "publish call.events.*"),
        ("no heartbeat", f"NATS at {nowhere}"),
        ("is Kamailio running", "create it for the bridge's user"),
    ), strict=True):  # fmt: skip
        assert status == 1
        for what in missing:
            assert what in output, output
