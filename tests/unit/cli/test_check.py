"""``livestate bridge --check`` and ``livestate doctor`` see what cannot be published, and say what
mends it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import nats
import orjson

from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import create_at
from tests.evapi import Peer
from tests.harness import now_ms
from tests.unit.bridge.bridge_rig import LIVESTATE, check
from tests.unit.bridge.test_fitting import LONG, long_calls, small
from tests.unit.bridge.test_translation import dialog


async def test_a_check_says_that_a_nodes_name_cannot_be_used(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Peer("sbc 1") as peer:
        status, output = await check(peer, nats_server.url, tmp_path)
    assert status == 1
    assert "the node's name 'sbc 1' is not" in output
    assert "LIVESTATE_NODE" in output
    assert "'sbc-1'" in output


async def test_a_check_names_the_dialogs_that_are_refused(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await create_at(nats_server.url)
    async with Peer() as peer:
        peer.call(1)
        peer.dialogs[2] = dialog(2, state="up")
        peer.kept["7"] = "{"
        status, output = await check(peer, nats_server.url, tmp_path)
    assert status == 0
    assert "(1 live)" in output
    assert "rejected, each alone: dialog h_entry='2'" in output


async def test_a_check_says_how_many_ends_kamailio_gave_up(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await create_at(nats_server.url)
    async with Peer() as peer:
        peer.counts = {"dropped_ends": 0, "dropped_failed": "0", "dropped_refused": None}
        status, output = await check(peer, nats_server.url, tmp_path)
        assert (status, "given up" in output) == (0, False)
        peer.counts = {"dropped_ends": 12, "dropped_failed": "x", "dropped_refused": 9000}
        status, output = await check(peer, nats_server.url, tmp_path)
        assert status == 0
        assert "they have no CDR: 12 ends, 9000 refused" in output
        assert "LIVESTATE_KEEP" in output


async def test_a_check_names_dialog_variables_that_were_renamed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The new livestate.cfg under routes that were not changed: it sets its own, they set none."""
    await create_at(nats_server.url)
    async with Peer() as peer:
        peer.call(1, 2)
        plain = {"ls_setup_at": "1795480001.5", "co": "101", "gw": "a", "ls_direction": "inbound"}
        peer.dialogs[1]["variables"] = [plain | {"dir": "x"}]
        peer.dialogs[2]["variables"] = [{"ls_company": "101"}, {"co": "of my own"}, {"t0": "7"}]
        status, output = await check(peer, nats_server.url, tmp_path)
        assert status == 0
        assert "old names: co, gw" in output
        assert "$dlg_var(co) to $dlg_var(ls_company), $dlg_var(gw) to $dlg_var(ls_trunk)" in output
        del peer.dialogs[1]
        status, output = await check(peer, nats_server.url, tmp_path)
        assert (status, "names of before" in output) == (0, False)


async def test_a_check_says_whether_the_list_fits(tmp_path: Path) -> None:
    async with Peer() as peer:
        long_calls(peer, *range(1, 206), says=False)
        async with small(tmp_path, "max_payload: 65536\n") as server:
            await create_at(server.url)
            status, output = await check(peer, server.url, tmp_path)
            assert status == 0, output
            assert "accepts messages of 65536 bytes: the list has" in output
            await server.kill()
            server.configure("max_payload: 2048\n")
            await server.start()
            status, output = await check(peer, server.url, tmp_path)
            assert (status, "set max_payload to 4096 or more" in output) == (1, True), output


async def test_a_check_finds_the_limit_of_an_account(tmp_path: Path) -> None:
    """nats-server tells it nowhere."""
    limited = (
        "accounts { A { users: [{user: a, password: a}], jetstream: enabled, "
        "limits { max_payload: 8192 } } }\nno_auth_user: a\n"
    )
    async with small(tmp_path, limited) as server, Peer() as peer:
        long_calls(peer, *range(1, 206), says=False)
        status, output = await check(peer, server.url, tmp_path)
    assert status == 1
    assert "this account accepts less than max_payload" in output, output


async def doctor(url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "doctor", env=os.environ | {"LIVESTATE_NATS_URL": url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


async def said_meanwhile(url: str, subject: str, message: dict[str, object]) -> str:
    """The output of doctor while a node sends this again and again."""
    client = await nats.connect(url)
    looking = asyncio.create_task(doctor(url))
    while not looking.done():
        await client.publish(subject, orjson.dumps(message))
        await client.flush()
        await asyncio.sleep(0.1)
    await client.close()
    return looking.result()


async def test_doctor_says_that_a_nodes_name_cannot_be_used(nats_server: NatsServer) -> None:
    beat = {"v": 1, "phase": "heartbeat", "node": "sbc 1", "epoch": 1, "seq": 1, "ts": now_ms()}
    output = await said_meanwhile(nats_server.url, "call.events.heartbeat", beat)
    assert "the node's name 'sbc 1' is not" in output
    assert "'sbc-1'" in output


async def test_doctor_names_calls_of_lists_that_are_refused(nats_server: NatsServer) -> None:
    calls = [{"call_id": "x" * 600, "dialog": "1.1", "state": "answered", "from": LONG}]
    listed = {"v": 1, "phase": "sync", "node": "kam-1", "epoch": 1, "seq": 1, "ts": now_ms(),
              "sync_id": "1", "part": 1, "parts": 1, "calls": calls}  # fmt: skip
    output = await said_meanwhile(nats_server.url, "call.events.sync", listed)
    assert "rejected, each alone: kam-1: call_id" in output
