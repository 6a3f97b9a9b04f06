"""Figures of bench.bridge on losses and delays: a bridge that is killed, and CDRs that waited."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import nats
import orjson

from api.cli.child_service import Instance
from bench.bridge_chain import CALLS_A_SECOND, calls, chain
from livestate.bridge.spool import Spool
from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import STREAM, create_at
from tests.e2e.lab import BridgeProcess, Kamailio, rpc
from tests.evapi import Peer
from tests.harness import snapshot, stored_cdrs

KILLS: Final = 20
RIGHT_SECONDS: Final = 5.0
OLD_CDRS: Final = 100_000
OLD_SECONDS: Final = 60
END_BYTES: Final = 900  # as `make e2e` sees them


async def kills() -> list[str]:
    """A bridge killed (SIGKILL) at random instants, at 20 calls a second of a real Kamailio."""
    chance = random.Random(4)
    right: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        async with chain(Path(home), Kamailio()) as (server, service, bridge, phones):
            made = calls(KILLS * 3 * CALLS_A_SECOND, 4_000)
            phones.call(made, per_second=CALLS_A_SECOND)
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.2, 1.5))
                await bridge.kill()
                await asyncio.sleep(chance.uniform(0, 1))
                await bridge.start()
                right.append(await _until_right(service, bridge))
            assert await phones.done(180) == [0]
            client = await nats.connect(server.url)
            ids = await _delivered(client, len(made))
            await client.close()
    assert len(ids) == len(set(ids)) == len(made), (len(ids), len(set(ids)), len(made))
    return [
        "| kills | calls | right again after its return: median | the longest | CDRs |",
        "|---|---|---|---|---|",
        f"| {KILLS} | {len(made):,} | {statistics.median(right):.2f} s | {max(right):.2f} s | "
        f"{len(set(ids)):,}, each once |",
        "",
        f"Promised: ≤ {RIGHT_SECONDS:.0f} s. Right: Kamailio's own list of dialogs and the "
        "service's table hold the same calls.",
    ]


async def _until_right(service: Instance, bridge: BridgeProcess) -> float:
    began = time.monotonic()
    while True:
        shown = (await snapshot(service, service.token()))["calls"].values()
        listed = await rpc(bridge.evapi, "dlg.list")
        ours = {call["call_id"] for call in shown}
        theirs = {dialog["call-id"] for dialog in listed if dialog["state"] != 5}
        if ours == theirs:
            return time.monotonic() - began
        assert time.monotonic() - began < RIGHT_SECONDS * 3, ours ^ theirs
        await asyncio.sleep(0.01)


async def _delivered(client: Any, wanted: int) -> list[str]:
    """The calls of all CDRs."""
    deadline = time.monotonic() + 15
    streams = client.jetstream()
    while (await streams.stream_info(STREAM)).state.messages < wanted:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    return [orjson.loads(one.data)["from"] for one in await stored_cdrs(client)]


async def old() -> list[str]:
    """CDRs that waited for an hour, so that each is looked for in the stream before it is sent."""
    at = time.time_ns() // 1_000_000 - 3_600_000
    cdr = {
        "v": 1,
        "phase": "ended",
        "node": "kam-1",
        "epoch": 1,
        "ts": at,
        "dialog": "1.1",
        "detail": "x" * 400,
    }
    with tempfile.TemporaryDirectory() as home:
        spool = Spool(Path(home) / "spool", most_bytes=1 << 30)
        for number in range(OLD_CDRS):
            name = f"kam-1-1-{number}"
            spool.append(name, orjson.dumps(cdr | {"seq": number, "call_id": name, "from": name}))
        spool.close()
        async with NatsServer() as server, Peer() as peer:
            await create_at(server.url)
            client = await nats.connect(server.url)
            began = time.monotonic()
            async with BridgeProcess(peer.port, server.url, Path(home) / "spool"):
                streams = client.jetstream()
                while (await streams.stream_info(STREAM)).state.messages < OLD_CDRS:
                    assert time.monotonic() - began < 10 * OLD_SECONDS
                    await asyncio.sleep(0.1)
                took = time.monotonic() - began
            ids = await _delivered(client, OLD_CDRS)
            await client.close()
    assert len(ids) == len(set(ids)) == OLD_CDRS, (len(ids), len(set(ids)))
    return [
        "| CDRs | on disk since | in the stream after the bridge's start | stored |",
        "|---|---|---|---|",
        f"| {OLD_CDRS:,} | 1 h | {took:.1f} s | each once |",
        "",
        f"Promised: ≤ {OLD_SECONDS} s.",
    ]
