"""Measures the bridge with a real Kamailio and SIP phones: ``python -m bench.bridge``.

    python -m bench.bridge latency lists frames kills old
    python -m bench.bridge --write     all, into docs/bridge-figures.md

Needs kamailio, its extra modules and sip-tester of Debian; ``make e2e`` installs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nats
import orjson
import uvloop
from nats.js.errors import NotFoundError

from bench.bridge_chain import CALLS_A_SECOND, Client, calls, chain
from bench.bridge_recovery import END_BYTES, kills, old
from bench.machine import cpu_seconds
from bench.report import Figure, sheet
from livestate.bridge.kamailio.netstring import encode
from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import STREAM
from tests.e2e.lab import BridgeProcess, Kamailio, Phones, rpc
from tests.evapi import Peer

SECONDS: Final = 30
STEADY_FRAMES: Final = 5_000  # a second
FRAMES: Final = 50_000
KEPT: Final = 500


async def latency() -> list[str]:
    """Kamailio sees it → an SSE client has it, at 20 calls a second."""
    with tempfile.TemporaryDirectory() as home:
        kamailio = Kamailio()
        async with chain(Path(home), kamailio) as (_, service, bridge, phones):
            async with Client.on(service) as client:
                before = cpu_seconds(bridge.pid), cpu_seconds(kamailio.pid)
                phones.call(calls(CALLS_A_SECOND * SECONDS, 5_000), per_second=CALLS_A_SECOND)
                statuses = await phones.done(SECONDS + 60)
                await asyncio.sleep(1)
                bridges = (cpu_seconds(bridge.pid) - before[0]) / (CALLS_A_SECOND * SECONDS)
                kamailios = (cpu_seconds(kamailio.pid) - before[1]) / (CALLS_A_SECOND * SECONDS)
                late = sorted(client.late)
    assert statuses == [0]
    cuts = statistics.quantiles(late, n=1000)
    cpu = f"{bridges * 1e3:.1f} ms | {kamailios * 1e3:.1f} ms"
    return [
        "| calls | events seen | p50 | p95 | p99 | the latest | CPU a call: the bridge | all of "
        "Kamailio, SIP included |",
        "|---|---|---|---|---|---|---|---|",
        f"| {CALLS_A_SECOND * SECONDS} | {len(late):,} | {cuts[499]:.1f} ms | {cuts[949]:.1f} ms | "
        f"{cuts[989]:.1f} ms | {late[-1]:.1f} ms | {cpu} |",
        "",
        f"Promised: p99 ≤ 100 ms; {'reached' if cuts[989] <= 100 else '**not reached**'}.",
    ]


async def lists() -> list[str]:
    """Time and bytes of a list of dialogs over evapi, by the number of calls."""
    rows = ["| dialogs | size | from question to answer: median of ten |", "|---|---|---|"]
    async with Kamailio() as kamailio, Phones(kamailio) as phones:
        await asyncio.sleep(1)
        for wanted in (100, 500):
            up = len(await rpc(kamailio.port, "dlg.list"))
            phones.call(calls(wanted - up, 60_000), per_second=50)
            while len(listed := await rpc(kamailio.port, "dlg.list")) < wanted:
                await asyncio.sleep(0.2)
            took = []
            for _ in range(10):
                began = time.perf_counter()
                listed = await rpc(kamailio.port, "dlg.list")
                took.append(time.perf_counter() - began)
            size = len(orjson.dumps(listed)) // 1000
            rows.append(f"| {len(listed)} | {size} kB | {statistics.median(took) * 1e3:.0f} ms |")
        phones.kill()
        before = await rpc(kamailio.port, "core.shmmem")
        for kept in range(KEPT):
            await rpc(kamailio.port, "htable.sets", "livestate_ends", str(kept), "x" * END_BYTES)
        after = await rpc(kamailio.port, "core.shmmem")
    each = (after["real_used"] - before["real_used"]) / KEPT
    return [
        *rows,
        "",
        f"An end of a call of {END_BYTES} bytes that Kamailio keeps for a bridge: "
        f"{each:,.0f} bytes of its shared memory.",
    ]


def play(pipe: Any, frames: int, a_second: float) -> None:
    """A child process: a Kamailio that has all frames ready, and tells them at this pace."""
    uvloop.run(_play(pipe, frames, a_second))


async def _play(pipe: Any, frames: int, a_second: float) -> None:
    async with Peer() as peer:
        peer.beats = False
        wire = []
        for number in range(frames // 5):  # five events a call, the last of them its end
            for kind in ("setup", "ringing", "answered", "hold"):
                wire.append(frame(peer, kind, number))
            wire.append(frame(peer, "ended", number))
        pipe.send(peer.port)
        await asyncio.to_thread(pipe.recv)
        began, batch = time.perf_counter(), 50
        for at in range(0, len(wire), batch):
            peer.send_raw(b"".join(wire[at : at + batch]))
            ahead = began + (at + batch) / a_second - time.perf_counter()
            await asyncio.sleep(max(0.0, ahead))
            while any(w.transport.get_write_buffer_size() > 1_000_000 for w in peer._bridges):
                await asyncio.sleep(0.001)
        pipe.send(time.perf_counter() - began)
        await asyncio.to_thread(pipe.recv)


def frame(peer: Peer, kind: str, call: int) -> bytes:
    """As big as a real one."""
    peer.seq += 1
    now = time.time()
    frame_fields = {
        "v": 1, "ev": kind, "node": peer.name, "epoch": peer.epoch, "seq": peer.seq,
        "ts": f"{now:.6f}", "pid": 4711, "call_id": f"{call}-{peer.epoch}@10.20.30.40",
        "h_entry": call, "h_id": 1, "dlg_state": 4, "from_uri": f"sip:3902{call}@acme.example",
        "to_uri": "sip:4420700000@acme.example", "from_tag": f"c4711x{call}",
        "to_tag": f"u4712x{call}", "ruri_user": "4420700000", "company_id": "101",
        "direction": "outbound", "trunk": "gw-a", "attempt": 1, "src": "127.0.0.1:25660",
        "ts_setup": f"{now:.6f}", "ts_progress": f"{now:.6f}", "ts_answer": f"{now:.6f}",
        "start_ts": int(now), "dflags": 0, "sip_code": 200, "sip_reason": "OK",
    }  # fmt: skip
    return encode(orjson.dumps(frame_fields))


async def frames() -> list[str]:
    """Frames through the bridge: its own process, a real NATS, every fifth frame a CDR."""
    rows = [
        "| frames written | a second | reached NATS | dropped | CDRs stored | CPU a frame |",
        "|---|---|---|---|---|---|",
    ]
    paces = (("steadily", STEADY_FRAMES), ("at twice that", 2 * STEADY_FRAMES), ("flat out", 1e9))
    for what, pace in paces:
        sent, came, cdrs, seconds, spent = await _through(pace)
        rows.append(
            f"| {sent:,} {what} | {sent / seconds:,.0f} | {came:,} | {sent - came} | "
            f"{cdrs:,} of {sent // 5:,} | {spent / sent * 1e6:.0f} µs |"
        )
    wanted = (
        f"Wanted: {STEADY_FRAMES:,} a second without a loss. What is more than it can pass on is "
    )
    return [*rows, "", wanted + "dropped and counted, the ends of calls last, and lists mend it."]


async def _through(a_second: float) -> tuple[int, int, int, float, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    player = context.Process(target=play, args=(theirs, FRAMES, a_second))
    player.start()
    try:
        with tempfile.TemporaryDirectory() as home:
            port = await asyncio.to_thread(ours.recv)
            async with NatsServer() as server:
                async with BridgeProcess(port, server.url, Path(home) / "spool") as bridge:
                    client, came, last = await nats.connect(server.url), 0, 0.0

                    async def take(message: Any) -> None:
                        nonlocal came, last
                        if not message.subject.endswith(("sync", "heartbeat")):
                            came += 1
                            last = time.perf_counter()

                    await client.subscribe(
                        "call.events.>",
                        cb=take,
                        pending_bytes_limit=10**9,
                        pending_msgs_limit=10**7,
                    )
                    await client.flush()
                    before, began = cpu_seconds(bridge.pid), time.perf_counter()
                    ours.send("go")
                    await asyncio.to_thread(ours.recv)
                    cdrs = await _settled(client, lambda: came)
                    spent = cpu_seconds(bridge.pid) - before
                    await client.close()
            return FRAMES, came, cdrs, last - began, spent
    finally:
        ours.send("over")
        player.join()


async def _settled(client: Any, came: Callable[[], int]) -> int:
    """The CDRs stored, once nothing more comes."""
    before, now, deadline = (-1, -1), (0, 0), time.monotonic() + 60
    while time.monotonic() < deadline and not (now == before and now[1] >= FRAMES // 5):
        before = now
        await asyncio.sleep(0.5)
        with contextlib.suppress(NotFoundError):  # the bridge makes it with the first CDR
            now = (came(), (await client.jetstream().stream_info(STREAM)).state.messages)
    return now[1]


FIGURES: Final[dict[str, Figure]] = {
    "latency": latency,
    "lists": lists,
    "frames": frames,
    "kills": kills,
    "old": old,
}


def version() -> str:
    kamailio = subprocess.run(
        [Kamailio().program, "-v"], capture_output=True, text=True, check=True
    )
    return ", " + kamailio.stdout.split("(")[0].removeprefix("version: ").strip()


def main() -> None:
    sheet(
        FIGURES,
        module="bench.bridge",
        command="python -m bench.bridge --write",
        title="Figures of the bridge",
        page="bridge-figures.md",
        versions=version,
        among="SIP phones, Kamailio, NATS, Redis, service, bridge, clients",
    )


if __name__ == "__main__":
    main()
