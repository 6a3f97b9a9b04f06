"""What the bridge is worth: ``python -m bench.bridge``, real Kamailio and SIP phones.

    python -m bench.bridge latency lists frames kills
    python -m bench.bridge --write     all, into docs/bridge-figures.md

Needs kamailio, its extra modules and sip-tester of Debian; ``make e2e`` installs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import nats
import orjson
import uvloop
from nats.js.errors import NotFoundError

from api.instance import Instance
from bench.machine import cpu_seconds
from bench.sheet import Figure, sheet
from livestate.bridge.netstring import encode
from livestate.client import Parser
from livestate.runtime.cdrs import STREAM
from livestate.runtime.embedded import NatsServer, Valkey
from tests.e2e.calls import GATEWAY_A
from tests.e2e.lab import BridgeProcess, Kamailio, Phones, Planned, rpc
from tests.evapi import Peer
from tests.harness import UNACKED, snapshot

CALLS_A_SECOND: Final = 20
SECONDS: Final = 30
STEADY_FRAMES: Final = 5_000  # a second
FRAMES: Final = 50_000
KILLS: Final = 20
RIGHT_SECONDS: Final = 5.0
KEPT: Final = 500
END_BYTES: Final = 900  # as `make e2e` sees them
_FACTS: Final = ("setup_at", "progress_at", "answered_at")


class Client:
    """One SSE client that notes when it learns what. Times are ms."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.late: list[float] = []  # from what Kamailio saw to its arrival here
        self._reader = reader
        self._known: set[tuple[str, str]] = set()
        self._parser = Parser()

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, service: Instance) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"GET /api/v1/live/calls HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
            % service.token().encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        client = cls(reader)
        task = asyncio.create_task(client._read())
        try:
            yield client
        finally:
            task.cancel()
            writer.transport.abort()

    async def _read(self) -> None:
        while piece := await self._reader.read(65536):
            now = time.time() * 1000
            for event in self._parser.feed(piece):
                if event.name == "diff":
                    self._learn(orjson.loads(event.data), now)

    def _learn(self, diff: dict[str, Any], now: float) -> None:
        for key, record in diff["calls"].items():
            for fact in _FACTS:
                if record and fact in record and (key, fact) not in self._known:
                    self._known.add((key, fact))
                    self.late.append(now - record[fact])
        for over in (diff.get("ended") or {}).values():
            self.late.append(now - over["ended_at"])


@contextlib.asynccontextmanager
async def chain(home: Path, kamailio: Kamailio) -> AsyncIterator[tuple[Any, ...]]:
    """NATS, Redis, the service and a bridge behind a Kamailio."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        server, redis = await enter(NatsServer()), await enter(Valkey())
        await enter(kamailio)
        service = await enter(Instance(home, {"NATS_URL": server.url, "REDIS_URL": redis.url}))
        bridge = await enter(BridgeProcess(kamailio.port, server.url, home / "spool"))
        await service.until_ready()
        phones = await enter(Phones(kamailio))
        await asyncio.sleep(1)  # SIPp binds its ports without telling
        yield server, service, bridge, phones


def calls(count: int, talk_ms: int) -> list[Planned]:
    return [
        Planned(str(39_100_001 + n), "101", GATEWAY_A + "00", "talks", "answered", (), talk_ms)
        for n in range(count)
    ]


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
    """What a list of dialogs takes, asked over evapi with so many calls up."""
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
    return [*rows, "", f"An end of a call of {END_BYTES} bytes that Kamailio keeps for a bridge: "
            f"{each:,.0f} bytes of its shared memory."]  # fmt: skip


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
    told = {
        "v": 1, "ev": kind, "node": peer.name, "epoch": peer.epoch, "seq": peer.seq,
        "ts": f"{now:.6f}", "pid": 4711, "call_id": f"{call}-{peer.epoch}@10.20.30.40",
        "h_entry": call, "h_id": 1, "dlg_state": 4, "from_uri": f"sip:3902{call}@acme.example",
        "to_uri": "sip:4420700000@acme.example", "from_tag": f"c4711x{call}",
        "to_tag": f"u4712x{call}", "ruri_user": "4420700000", "company_id": "101",
        "direction": "outbound", "trunk": "gw-a", "attempt": 1, "src": "127.0.0.1:25660",
        "ts_setup": f"{now:.6f}", "ts_progress": f"{now:.6f}", "ts_answer": f"{now:.6f}",
        "start_ts": int(now), "dflags": 0, "sip_code": 200, "sip_reason": "OK",
    }  # fmt: skip
    return encode(orjson.dumps(told))


async def frames() -> list[str]:
    """Frames through the bridge: its own process, a real NATS, every fifth frame a CDR."""
    rows = [
        "| frames told | a second | reached NATS | dropped | CDRs stored | CPU a frame |",
        "|---|---|---|---|---|---|",
    ]
    paces = (("steadily", STEADY_FRAMES), ("at twice that", 2 * STEADY_FRAMES), ("flat out", 1e9))
    for what, pace in paces:
        told, came, cdrs, seconds, spent = await _through(pace)
        rows.append(f"| {told:,} {what} | {told / seconds:,.0f} | {came:,} | {told - came} | "
                    f"{cdrs:,} of {told // 5:,} | {spent / told * 1e6:.0f} µs |")  # fmt: skip
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

                    await client.subscribe("call.events.>", cb=take, pending_bytes_limit=10**9,
                                           pending_msgs_limit=10**7)  # fmt: skip
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
    ]  # fmt: skip


async def _until_right(service: Instance, bridge: BridgeProcess) -> float:
    began = time.monotonic()
    while True:
        told = (await snapshot(service, service.token()))["calls"].values()
        listed = await rpc(bridge.evapi, "dlg.list")
        ours = {call["call_id"] for call in told}
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
    reader = await streams.pull_subscribe("cdr.raw", stream=STREAM, config=UNACKED)
    left = (await reader.consumer_info()).num_pending or 0
    found: list[str] = []
    while left:
        for message in await reader.fetch(min(left, 500), timeout=5):
            left = message.metadata.num_pending
            found.append(orjson.loads(message.data)["from"])
    return found


FIGURES: Final[dict[str, Figure]] = {
    "latency": latency, "lists": lists, "frames": frames, "kills": kills,
}  # fmt: skip


def version() -> str:
    said = subprocess.run([Kamailio().program, "-v"], capture_output=True, text=True, check=True)
    return ", " + said.stdout.split("(")[0].removeprefix("version: ").strip()


def main() -> None:
    sheet(FIGURES, module="bench.bridge", command="python -m bench.bridge --write",
          title="Figures of the bridge", page="bridge-figures.md", versions=version,
          among="SIP phones, Kamailio, NATS, Redis, service, bridge, clients")  # fmt: skip


if __name__ == "__main__":
    main()
