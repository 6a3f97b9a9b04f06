"""``make bench-roles``: what an engine with edges costs beside a single process, in one run.

    python -m bench.roles                    the table, printed
    python -m bench.roles --clients 1000     fewer clients, for a small machine
    python -m bench.roles --write            also into docs/scale.md

Each row compares two measurements of the same run, so that the speed of the machine cancels out.
They alternate, :data:`ROUNDS` times, and the medians are compared.
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
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import orjson
from nats.aio.client import Client

from api.cli.child_service import Instance
from bench import proc
from bench.machine import many_files
from bench.receiver import Receiver
from bench.receiver_messages import stamp
from livestate.client.paths import STREAM_PATH
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.clock import now_ms

ROUNDS: Final = 3
PAGE: Final = Path(__file__).parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- begin bench-roles -->", "<!-- end bench-roles -->"
CALLS: Final = 200  # that change in turn
SETTLE_SECONDS: Final = 3.0


class Row(NamedTuple):
    """One line of the table."""

    what: str
    base: str
    found: str
    ratio: str
    wanted: str
    kept: bool


@dataclass
class Bench:
    """All servers, and one who publishes. ``seconds`` of each measurement."""

    single: Instance
    engine: Instance
    edges: tuple[Instance, Instance]
    client: Client
    receiver: Receiver
    seconds: float
    seq: int = 0
    epoch: int = 0

    async def publish(self, rate: float, seconds: float) -> bytes:
        """Changes of calls at a rate; the last stamp."""
        began, number, mark = time.perf_counter(), 0, b""
        while (now := time.perf_counter() - began) < seconds:
            while number < now * rate:
                mark = stamp()
                await self._say("hold" if (number // CALLS) % 2 else "resume", number % CALLS, mark)
                number += 1
            await asyncio.sleep(0.002)
        await self.client.flush()
        return mark

    async def _say(self, phase: str, call: int, detail: bytes = b"") -> None:
        self.seq += 1
        event = {
            "v": 1, "node": "bench", "epoch": self.epoch, "seq": self.seq, "ts": now_ms(),
            "phase": phase, "call_id": f"c{call}@bench", "dialog": f"{call}.1",
            "company_id": "101", "detail": detail.decode(),
        }  # fmt: skip
        await self.client.publish(f"call.events.{phase}", orjson.dumps(event))

    async def beat(self) -> None:
        while True:
            event = {"v": 1, "node": "bench", "epoch": self.epoch, "seq": self.seq, "ts": now_ms(),
                     "phase": "heartbeat"}  # fmt: skip
            await self.client.publish("call.events.heartbeat", orjson.dumps(event))
            await asyncio.sleep(1)

    async def connect(self, instances: Iterable[Instance], clients: int) -> None:
        """So many clients, spread evenly, and no others."""
        await self.receiver.close_all()
        serving = list(instances)
        for one in serving:
            token = one.token()
            request = (
                f"GET {STREAM_PATH} HTTP/1.1\r\nHost: bench\r\n"
                f"Authorization: Bearer {token}\r\n\r\n"
            ).encode()
            share = clients // len(serving)
            _, refused = await self.receiver.connect(("127.0.0.1", one.port), [request] * share)
            if refused:
                raise SystemExit(f"{refused} clients were refused by {one.url}")
        await asyncio.sleep(SETTLE_SECONDS)

    async def cpu(self, instances: Iterable[Instance], rate: float) -> float:
        """CPU seconds of some processes during a measurement."""
        pids = [one.pid for one in instances]
        before = sum(map(proc.cpu_seconds, pids))
        await self.publish(rate, self.seconds)
        return sum(map(proc.cpu_seconds, pids)) - before

    # -- the rows --------------------------------------------------------------------------

    async def engine_cost(self, clients: int) -> Row:
        """CPU of the engine for the same events, without clients and with many."""
        without: list[float] = []
        with_clients: list[float] = []
        for _ in range(ROUNDS):
            await self.connect(self.edges, 2)  # a view is watched: its frames are published
            without.append(await self._an_event())
            await self.connect(self.edges, clients)
            with_clients.append(await self._an_event())
        base, found = statistics.median(without), statistics.median(with_clients)
        share = found / base
        return Row(
            f"engine CPU at 1,000 events/s, 1 client on each edge → {clients:,} on two edges",
            f"{base:.0f} µs an event",
            f"{found:.0f} µs",
            f"{share:.2f}",
            "≤ 1.05",
            share <= 1.05,
        )

    async def _an_event(self) -> float:
        """CPU of the engine for an event that it folded, in µs, at 1,000 events/s. Where the cores
        are taken, fewer arrive in the same time, and more share a frame."""
        before = await self._folded()
        spent = await self.cpu([self.engine], 1_000)
        return spent / max(await self._folded() - before, 1) * 1e6

    async def _folded(self) -> float:
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.engine.admin_url}/metrics")).text
        name = 'livestate_events_total{result="applied"} '
        return next(float(line[len(name) :]) for line in text.split("\n") if line.startswith(name))

    async def latency(self) -> Row:
        """From publishing to the client, 100 clients at 200 events/s."""
        single: list[float] = []
        through: list[float] = []
        for _ in range(ROUNDS):
            for instances, found in (([self.single], single), (list(self.edges), through)):
                await self.connect(instances, 100)
                await self.receiver.reset()
                mark = await self.publish(200, self.seconds)
                await self.receiver.until(mark, 10)
                found.append((await self.receiver.report()).percentile(99))
        base, found_ms = statistics.median(single), statistics.median(through)
        return Row(
            "publish → client p99, 100 clients, 200 events/s: one process → engine and edges",
            f"{base:.1f} ms",
            f"{found_ms:.1f} ms",
            f"{found_ms - base:+.1f} ms",
            "≤ +10 ms",
            found_ms - base <= 10,
        )

    async def deliveries(self, clients: int) -> Row:
        """Changes that reach clients for a second of CPU of whoever serves them."""
        single: list[float] = []
        edge: list[float] = []
        for _ in range(ROUNDS):
            for instance, found in ((self.single, single), (self.edges[0], edge)):
                await self.connect([instance], clients)
                await self.receiver.reset()
                spent = await self.cpu([instance], 200)
                found.append((await self.receiver.report()).deliveries / spent)
        base, there = statistics.median(single), statistics.median(edge)
        return Row(
            f"deliveries per CPU-second, {clients:,} clients, 200 events/s: one process → an edge",
            f"{base:,.0f}",
            f"{there:,.0f}",
            f"{there / base:.2f}",
            "≥ 0.9",
            there / base >= 0.9,
        )


@contextlib.asynccontextmanager
async def started(seconds: float) -> AsyncIterator[Bench]:
    """A single process and an engine with two edges hear the same events."""
    many_files()
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats, redis, other = NatsServer(), Valkey(), Valkey()
        await asyncio.gather(enter(nats), enter(redis), enter(other))
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = {"NATS_URL": nats.url, "READY_SECONDS": "1", "STREAM_SECONDS": "86400",
               "MAX_STREAMS_PER_USER": "100000", "MAX_STREAMS_PER_ADDRESS": "100000"}  # fmt: skip
        single = Instance(keys, own | {"REDIS_URL": redis.url})
        roles = own | {"REDIS_URL": other.url}
        engine, a, b = [Instance(keys, roles | {"ROLE": it}) for it in ("engine", "edge", "edge")]
        for instance in (single, engine, a, b):
            await enter(instance)
        for instance in (single, engine, a, b):
            await instance.until_ready(60)
        client = Client()
        await client.connect(nats.url)
        stack.push_async_callback(client.close)
        receiver = await enter(Receiver())
        bench = Bench(single, engine, (a, b), client, receiver, seconds, epoch=now_ms())
        beating = asyncio.create_task(bench.beat())
        stack.callback(beating.cancel)
        await bench.publish(CALLS * 2, 1)
        yield bench


async def measured(clients: int, seconds: float) -> list[Row]:
    async with started(seconds) as bench:
        rows = []
        for making in (
            bench.engine_cost(clients),
            bench.latency(),
            bench.deliveries(min(clients, 500)),
        ):
            rows.append(await making)
            print(*rows[-1], sep=" │ ", flush=True)
        return rows


def table(rows: list[Row], command: str) -> str:
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, everything on one machine: `{command}`.",
        "",
        "| | | | ratio | wanted | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.base} | {row.found} | {row.ratio} | {row.wanted} | "
        f"{'kept' if row.kept else '**not kept**'} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=4_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    options = parser.parse_args()
    rows = asyncio.run(measured(options.clients, options.seconds))
    command = f"python -m bench.roles --clients {options.clients} --seconds {options.seconds:g}"
    text = table(rows, command)
    print(text)
    if options.write:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
