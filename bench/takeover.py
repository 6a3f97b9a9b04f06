"""``make bench-takeover``: what dashboards notice when engines, edges and NATS servers die or are
replaced.

    python -m bench.takeover                       both tables, printed; seven minutes
    python -m bench.takeover --calls 60            one of them
    python -m bench.takeover --write               also into docs/scale.md

Two engines and two edges on a NATS cluster of three serve ``--clients`` streams of one company that
has 200 events/s, four of all calls, and those of :data:`~bench.takeover_walls.FOLDING`, which fold
what they are sent: of all calls, of four companies, filtered, compressed, slow. ``--calls`` of
other companies are up and stand still. Each row waits until everything is well again, and until
the walls that fold show what was published; a call of another company ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from nats.aio.client import Client

from api.cli.child_service import Instance
from bench import proc
from bench.machine import many_files
from bench.roles import Row, table
from bench.takeover_rows import PATIENCE_SECONDS, Bench
from bench.takeover_traffic import TooLate, Traffic, say
from livestate.contract.events import RESYNC_PREFIX
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.tasks import cancel_and_wait

PAGE: Final = Path(__file__).parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- begin bench-takeover -->", "<!-- end bench-takeover -->"
CALLS: Final = (60, 50_000)
SECONDS: Final = 480  # of the whole command
SETTLE_SECONDS: Final = 2.0
SERVERS: Final = 3
LOSES: Final = ", and kill -9 of one NATS server of three"


def cluster() -> list[NatsServer]:
    """Three servers that know each other; without JetStream's quorum, for no CDRs are sent."""
    ports = [free_port() for _ in range(SERVERS)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    return [
        NatsServer(arguments=("--cluster_name", "bench", "--cluster", f"nats://127.0.0.1:{port}",
                              "--routes", routes, "--no_advertise"))
        for port in ports
    ]  # fmt: skip


async def _expected(_: Exception) -> None:
    """The node's connection is lost with its server; the client goes to another one."""


@contextlib.asynccontextmanager
async def started(clients: int, calls: int) -> AsyncIterator[Bench]:
    """Everything is up, and every client shows what was published."""
    many_files()
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats, redis = cluster(), Valkey()
        await asyncio.gather(*map(enter, (*nats, redis)))
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = [server.url for server in nats]
        settings = {"NATS_URL": ",".join(urls), "REDIS_URL": redis.url, "READY_SECONDS": "1",
                    "STREAM_SECONDS": "86400", "HEARTBEAT_SECONDS": "1", "DRAIN_SECONDS": "2",
                    "MAX_STREAMS_PER_USER": "100000",
                    "MAX_STREAMS_PER_ADDRESS": "100000"}  # fmt: skip
        client = Client()
        await client.connect(
            urls, reconnect_time_wait=0, max_reconnect_attempts=-1, error_cb=_expected
        )
        stack.push_async_callback(client.close)
        traffic = Traffic(client)
        traffic.begin(calls)
        await client.subscribe(RESYNC_PREFIX + ">", cb=traffic.asked)
        bench = Bench(
            lambda role: Instance(keys, settings | {"ROLE": role}), nats, clients, traffic
        )
        for instance in bench.instances:
            await enter(instance)
        say("servers are up")
        speaking = [asyncio.create_task(it) for it in (traffic.beat(), traffic.send_lists())]
        stack.push_async_callback(cancel_and_wait, *speaking)
        for instance in bench.instances:
            await instance.until_ready(PATIENCE_SECONDS)
        await bench.until_folded()
        say(f"engines have {len(traffic.truth):,} calls, after {traffic.lists} lists")
        bench.connect()
        bench.tasks.append(asyncio.create_task(bench.watch()))
        stack.push_async_callback(lambda: cancel_and_wait(*bench.tasks))
        await bench.until_right()
        say(f"{len(bench.walls):,} clients are right")
        await asyncio.sleep(SETTLE_SECONDS)
        yield bench


async def measure(rows: list[Row], clients: int, calls: int) -> None:
    """Add all rows with so many calls up."""
    say(f"with {calls:,} calls that stand still")
    try:
        async with started(clients, calls) as bench:
            parts: tuple[tuple[str, Callable[[], Awaitable[Row]]], ...] = (
                ("", partial(bench.engine_dies, "kill", 3.0, nats=False)),
                ("", partial(bench.engine_dies, "stop", 0.5, nats=False)),
                ("", partial(bench.edge_dies, nats=False)),
                ("", partial(bench.deploy, nats=False)),
                (LOSES, partial(bench.engine_dies, "kill", 5.0, nats=True)),
                (LOSES, partial(bench.edge_dies, nats=True)),
                (LOSES, partial(bench.deploy, nats=True)),
            )
            for more, part in parts:
                row = await part()
                rows.append(row._replace(what=row.what + more))
                say("   " + " │ ".join(map(str, rows[-1])))
                await asyncio.sleep(SETTLE_SECONDS)
    except TooLate as error:
        rows.append(Row("the next row", str(error), "", "", "it ends", kept=False))
        say(f"   {error}")


def busy_seconds() -> float:
    """CPU that all programs of the machine have used."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, interrupts, soft = map(int, fields[:7])
    return (user + nice + system + interrupts + soft) / proc.TICK


def own_seconds() -> float:
    """CPU of this process and of all that it started and waited for."""
    return sum(map(int, proc.stat("self")[proc.CPU_WITH_ENDED_CHILDREN])) / proc.TICK


async def both(clients: int, calls: list[int]) -> list[str]:
    """A table for each number of calls."""
    texts: list[str] = []
    deadline = asyncio.get_running_loop().time() + SECONDS
    for number in calls:
        began, busy, own = time.monotonic(), busy_seconds(), own_seconds()
        rows: list[Row] = []
        try:
            async with asyncio.timeout_at(deadline):
                await measure(rows, clients, number)
        except TimeoutError:
            late = f"what was not over after the {SECONDS} s of the whole command"
            rows.append(Row(late, "", "", "", "it ends", kept=False))
        busy, own = busy_seconds() - busy, own_seconds() - own
        others = max(busy - own, 0) / (time.monotonic() - began)
        command = f"python -m bench.takeover --clients {clients} --calls {number}"
        head, *lines = table(rows, command).split("\n")
        texts.append("\n".join([f"{head} Other programs used {others:.1f} cores.", *lines]))
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    options = parser.parse_args()
    gc.disable()  # it would walk the calls of all walls, and hold them for a second
    text = "\n\n".join(asyncio.run(both(options.clients, options.calls)))
    print(text)
    if options.write:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
