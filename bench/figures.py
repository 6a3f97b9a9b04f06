"""The figures that livestate promises, each with the command that makes it: ``make figures``.

    python -m bench.figures                     all, in the pure and in the compiled build
    python -m bench.figures memory start        only these
    python -m bench.figures --here memory       only in the build that this Python imports
    python -m bench.figures --write             all, into docs/figures.md

Real nats-server and Valkey, the service as it ships. A noisy machine changes every number here;
what stays are the ratios, which is why a floor is measured in the same run, and both builds in
turns (:mod:`bench.figures_sides`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import uvloop
from nats.aio.client import Client

from api.cli.child_service import Instance
from bench import figures_sides, proc
from bench.figures_memory import CALLS, diffs, memory
from bench.figures_peers import busy, crowd
from bench.figures_throughput import throughput
from bench.report import DOCS, Figure, made
from livestate.contract.messages import Outgoing, sync
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.clock import now_ms

CLIENTS: Final = 100
RATE: Final = 200
STARTS: Final = 10


# -- publish → bytes at a client -----------------------------------------------------------


class Wall(asyncio.Protocol):
    """A raw SSE client that only looks when bytes with a mark came."""

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = latencies

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        at = data.find(b'"detail":"t')
        while at >= 0:
            end = data.find(b'"', at + 11)
            if end > 0:
                self.latencies.append((now - int(data[at + 11 : end])) / 1e6)
            at = data.find(b'"detail":"t', at + 11)


async def latency() -> list[str]:
    """Publish → bytes at 100 raw SSE clients, at 200 events a second, by both ways out."""
    rows = [
        "| way out | events/s | deliveries | p50 | p95 | p99 | p99.9 | service CPU a delivery |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, direct in (("direct", "yes"), ("through ASGI", "no")):
        latencies, sent, cpu = await _watched(direct)
        cuts = statistics.quantiles(latencies, n=1000)
        rows.append(
            f"| {way} | {sent / 10:.0f} | {len(latencies):,} | {cuts[499]:.1f} ms | "
            f"{cuts[949]:.1f} ms | {cuts[989]:.1f} ms | {cuts[998]:.1f} ms | "
            f"{cpu / len(latencies) * 1e6:.0f} µs |"
        )
    return rows


async def _watched(direct: str) -> tuple[list[float], int, float]:
    """Latencies (ms), events sent, and the service's CPU seconds meanwhile."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        keys = stack.enter_context(tempfile.TemporaryDirectory())
        nats = await stack.enter_async_context(NatsServer())
        redis = await stack.enter_async_context(Valkey())
        settings = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "DIRECT": direct}
        service = await stack.enter_async_context(Instance(Path(keys), settings))
        await service.until_ready()
        for number in range(CLIENTS):
            transport, _ = await loop.create_connection(
                lambda: Wall(latencies), "127.0.0.1", service.port
            )
            stack.callback(transport.abort)
            token = service.token(subject=f"wall-{number}")
            transport.write(
                b"GET /api/v1/live/calls HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: Bearer %b\r\n\r\n" % token.encode()
            )
        await asyncio.sleep(1)
        await _steadily(nats.url, seconds=2)  # warm
        latencies.clear()
        before = await _cpu(service)
        sent = await _steadily(nats.url, seconds=10)
        await asyncio.sleep(0.5)
        return latencies, sent, await _cpu(service) - before


async def _cpu(service: Instance) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.admin_url}/metrics")).text
    (line,) = (x for x in text.splitlines() if x.startswith("livestate_cpu_seconds_total "))
    return float(line.split()[1])


async def _steadily(url: str, seconds: float) -> int:
    """Changes of a few hundred calls at a steady rate, each marked with when it was published."""
    client = Client()
    await client.connect(url)
    began, sent, epoch = time.perf_counter(), 0, now_ms()
    while sent < seconds * RATE:
        call = sent % 300
        message = {
            "v": 1, "phase": "hold" if sent // 300 % 2 else "resume", "node": "bench",
            "epoch": epoch, "seq": sent + 1, "ts": now_ms(), "call_id": f"c{call}",
            "dialog": f"{call}.1", "company_id": "101", "detail": f"t{time.perf_counter_ns()}",
        }  # fmt: skip
        await client.publish(f"call.events.{message['phase']}", orjson.dumps(message))
        await client.flush()
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / RATE - time.perf_counter()))
    await client.close()
    return sent


# -- start to ready ------------------------------------------------------------------------


class Held:
    """A node whose calls just stay up: it beats and answers for its list."""

    done = False
    name = "held"

    def __init__(self, calls: int) -> None:
        self.nodes = [self.name]
        self.live = calls
        self.epoch = now_ms()
        self.next_beat = 0
        self.calls = [
            {
                "call_id": f"{n:08x}@10.0.0.1",
                "dialog": f"{n}.1",
                "state": "answered",
                "held": False,
                "company_id": str(n % 200),
                "from": f"+3902{n:07d}",
                "to": f"+3906{n:07d}",
                "trunk": "gw-a",
                "direction": "outbound",
                "setup_at": self.epoch - n,
                "answered_at": self.epoch - n + 1,
            }
            for n in range(calls)
        ]

    def next_at(self) -> int:
        return self.next_beat

    def due(self, now: int) -> Iterator[Outgoing]:
        if now >= self.next_beat:
            self.next_beat = now + 2_000
            beat = self._envelope(now) | {"phase": "heartbeat", "dialogs": self.live}
            yield Outgoing("call.events.heartbeat", beat)

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        yield from sync(self._envelope(now), str(now), self.calls)

    def _envelope(self, now: int) -> dict[str, Any]:
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": 1, "ts": now}


async def start() -> list[str]:
    """A killed service with 50,000 calls in Redis: from exec to ready, ten times."""
    with tempfile.TemporaryDirectory() as keys:
        async with NatsServer() as nats, Valkey() as redis:
            addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
            publisher = Publisher(nats.url, Held(CALLS), clock=now_ms)
            publishing = asyncio.create_task(publisher.run())
            spent, cpu = [], []
            instance = Instance(Path(keys), addresses)
            instance.environment = {**(instance.environment or {}), **_installed(keys)}
            async with instance as service:
                await _has(service, CALLS)
                await asyncio.sleep(2)  # and all of it is in Redis
                for _ in range(STARTS):
                    await service.kill()
                    began = time.perf_counter()
                    await service.start()
                    await service.until_ready()
                    spent.append(time.perf_counter() - began)
                    cpu.append(proc.cpu_seconds(service.pid))
                    status = await _has(service, CALLS)
                    assert not any(node["waiting_for_list"] for node in status["nodes"].values())
                    await asyncio.sleep(2)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
    return [
        "| calls in Redis | from start to ready | the slowest | CPU of the service, each |",
        "|---|---|---|---|",
        f"| {CALLS:,} | {', '.join(f'{one:.2f} s' for one in spent)} | {max(spent):.2f} s | "
        f"{min(cpu):.2f} to {max(cpu):.2f} s |",
    ]


def _installed(home: str) -> dict[str, str]:
    """Environment of a service that starts from bytecode, as an installed one does: pip compiles
    what it installs. A checkout has none where ``PYTHONDONTWRITEBYTECODE`` is set, and each start
    of it would compile all modules: half as much CPU again for the imports."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(home) / "bytecode")}


async def _has(service: Instance, calls: int) -> dict[str, Any]:
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        while True:
            status: dict[str, Any] = (await client.get(f"{service.admin_url}/statusz")).json()
            if status["calls"] == calls and status["redis"]["dirty"] == 0:
                return status
            await asyncio.sleep(0.1)


# -- all -----------------------------------------------------------------------------------

FIGURES: Final[dict[str, Figure]] = {
    "throughput": throughput,
    "latency": latency,
    "memory": memory,
    "diffs": diffs,
    "start": start,
    "crowd": crowd,
    "busy": busy,
}


def page(names: Sequence[str]) -> list[str]:
    """The results beside the goals, then each part, in both builds."""
    found = figures_sides.measured(names)
    out = [
        "<!-- made by `make figures` -->",
        "# Figures",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}), Python {platform.python_version()}. Everything (servers, loader, "
        "clients, service) shares these cores. Two figures in a cell are those of the pure and of "
        "the compiled build, measured in turns.",
        "",
        "## Results and goals",
        "`make figures`",
        "",
        *figures_sides.standing(found),
        "",
    ]
    for name, sides in found.items():
        out += [
            f"## {(FIGURES[name].__doc__ or '').rstrip('.')}",
            f"`python -m bench.figures {name}`",
            "",
            *figures_sides.merged(sides),
            "",
        ]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.figures")
    parser.add_argument("which", nargs="*", help=", ".join(FIGURES))
    parser.add_argument("--here", action="store_true", help="only in the build of this Python")
    parser.add_argument("--write", action="store_true", help="all of them, into docs/figures.md")
    options = parser.parse_args()
    if unknown := set(options.which) - set(FIGURES):
        parser.error(f"no figure is called {sorted(unknown)[0]}")
    names = options.which or list(FIGURES)
    if options.here:
        for name in names:
            print("\n".join(uvloop.run(made(FIGURES[name]))), flush=True)
        return
    lines = page(names)
    print("\n".join(lines))
    if options.write:
        (DOCS / "figures.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
