"""``make bench-takeover``: what dashboards notice when an engine or an edge dies or is replaced.

    python -m bench.takeover                       the table, printed
    python -m bench.takeover --calls 50000         with many calls up
    python -m bench.takeover --write               also into docs/scale.md

Two engines and two edges serve ``--clients`` streams of one company, and four of all calls, while
that company has 200 events a second. ``--calls`` of other companies are up and stand still. Each
row waits until everything is well again. Four walls fold what they are sent; at the end of each row
they must show what was published.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from api.cli.child_service import Instance
from bench import proc
from bench.machine import many_files
from bench.roles import Row, table
from bench.takeover_walls import Wall
from livestate.client import Fold
from livestate.contract.events import RESYNC_PREFIX
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait

PAGE: Final = Path(__file__).parent.parent / "docs" / "scale.md"
RATE: Final = 200  # events/s
CHANGING: Final = 60  # calls that change in turn
PATIENCE_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 3.0
LIST_SECONDS: Final = 2.0  # no list is sent sooner after the one before
LISTED_AT_ONCE: Final = 200  # calls in a part of a list


class Traffic:
    """One node: calls that stand still, and some that change; ``states`` are the latter's."""

    def __init__(self, client: Client) -> None:
        self.states: dict[str, str] = {}
        self._client, self._seq, self._epoch, self._lists = client, 0, now_ms(), 0
        self._listed_at = -LIST_SECONDS
        self._facts: dict[int, dict[str, Any]] = {}

    async def _publish(self, phase: str, **more: Any) -> None:
        event = {"v": 1, "node": "bench", "epoch": self._epoch, "seq": self._seq, "ts": now_ms()}
        subject = f"call.events.{phase}"
        await self._client.publish(subject, orjson.dumps(event | {"phase": phase} | more))

    async def _say(self, phase: str, call: int, company: str) -> None:
        facts = self._facts.setdefault(call, {
            "call_id": f"c{call}", "dialog": f"{call}.1", "company_id": company,
            "direction": "inbound", "from": f"+39021{call:06}", "to": f"+39022{call:06}",
            "trunk": f"gw-{call % 20}", "setup_at": now_ms(), "answered_at": now_ms(),
        })  # fmt: skip
        self._seq += 1
        await self._publish(phase, **facts)

    async def answer(self, message: Msg) -> None:
        """The list of all dialogs, for an engine that asks for it. Events go on between its parts;
        it is true at one number."""
        if time.monotonic() - self._listed_at < LIST_SECONDS:
            return
        self._lists, self._listed_at = self._lists + 1, time.monotonic()
        items = [
            facts | {"state": state, "held": state == "held"}
            for facts in self._facts.values()
            for state in (self.states.get(facts["call_id"], "answered"),)
        ]
        parts = [items[at : at + LISTED_AT_ONCE] for at in range(0, len(items), LISTED_AT_ONCE)]
        head = {"sync_id": str(self._lists), "parts": len(parts), "seq": self._seq}
        for number, calls in enumerate(parts, 1):
            await self._publish("sync", **head, part=number, calls=calls)
            await asyncio.sleep(0)

    async def begin(self, standing: int) -> None:
        """All calls are up."""
        for call in range(standing):
            await self._say("answered", 1_000 + call, f"still-{call % 200}")
            if call % 500 == 499:
                await self._client.flush()
                await asyncio.sleep(0.1)
        for call in range(CHANGING):
            await self._change(call, "answered")

    async def _change(self, call: int, phase: str) -> None:
        await self._say(phase, call, "101")
        self.states[f"c{call}"] = "held" if phase == "hold" else "answered"

    async def run(self) -> None:
        """Changes at a rate, for ever."""
        began, loop = time.monotonic(), asyncio.get_running_loop()
        for number in itertools.count():
            phase = "hold" if (number // CHANGING) % 2 == 0 else "resume"
            await self._change(number % CHANGING, phase)
            due = began + number / RATE
            await asyncio.sleep(max(due - loop.time(), 0))

    async def beat(self) -> None:
        while True:
            await self._publish("heartbeat")
            await asyncio.sleep(1)


class Bench:
    """All servers and all walls."""

    def __init__(self, make: Callable[[str], Instance], clients: int, traffic: Traffic) -> None:
        self.engines = [make("engine"), make("engine")]
        self.edges = [make("edge"), make("edge")]
        self.walls: list[Wall] = []
        self.traffic, self._clients = traffic, clients
        self._down: set[Instance] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def status(self, one: Instance) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=60) as client:
            found: dict[str, Any] = (await client.get(f"{one.admin_url}/statusz")).json()
            return found

    async def leader(self) -> tuple[Instance, Instance]:
        first, second = self.engines
        leads = (await self.status(first))["edges"]["publishes"]
        return (first, second) if leads else (second, first)

    async def until_warm(self) -> None:
        """The engine that does not lead could take over at once."""
        _, warm = await self.leader()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await self.status(warm))["following"]["at_hand"]:
                await asyncio.sleep(0.2)

    # -- walls -----------------------------------------------------------------------------

    def connect(self) -> None:
        """The walls, spread evenly; each comes back to its edge, or to the one that is up."""
        edge = self.edges[0]
        own, every = edge.token("user", company_id="101"), edge.token()
        for number in range(self._clients + 4):
            folds, sees_all = number < 4, number >= self._clients
            fold = Fold() if folds else None
            wall = Wall(self._choice(number % 2), every if sees_all else own, fold, number)
            self.walls.append(wall)
            self._tasks.append(asyncio.create_task(wall.run()))

    def _choice(self, wanted: int) -> Callable[[], tuple[str, int]]:
        def choose() -> tuple[str, int]:
            edge = self.edges[wanted]
            if edge in self._down:
                edge = self.edges[1 - wanted]
            return "127.0.0.1", edge.port

        return choose

    async def until(self, said: Callable[[Wall], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(map(said, self.walls)):
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        await cancel_and_wait(*self._tasks)

    # -- rows ------------------------------------------------------------------------------

    async def _during(self, happens: Awaitable[None], well: Callable[[Wall], bool]) -> float:
        """When an event began; it returns when all walls are well again, and right."""
        for wall in self.walls:
            wall.forget()
        running = asyncio.create_task(self.traffic.run())
        try:
            await asyncio.sleep(1)
            for wall in self.walls:
                wall.forget()
            began = time.monotonic()
            await happens
            await self.until(well)
            await asyncio.sleep(1)
        finally:
            await cancel_and_wait(running)
        now = time.monotonic()
        for wall in self.walls:
            wall.live(now)
        await self.until_right()
        return began

    async def until_right(self) -> None:
        """The walls that fold show what was published, and their digests never differed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(wall.shows() != self.traffic.states for wall in self.walls[:4]):
                await asyncio.sleep(0.05)
        for wall in self.walls[:4]:
            assert wall.fold is not None
            if wall.fold.diverged:
                raise SystemExit("a digest differed: a wall was wrong")

    def _resumed(self, walls: list[Wall]) -> tuple[str, float]:
        """How many went on by a diff, and what they said meanwhile; and the share as a number."""
        resumed = sum(not wall.snapshots for wall in walls) / len(walls)
        stale = max(wall.stale_seconds for wall in walls)
        said = f"*stale* for {stale:.1f} s" if stale else "*stale* never said"
        return f"{resumed:.1%} by a diff, {said}", resumed

    async def engine_dies(self, how: str, most: float) -> Row:
        leader, other = await self.leader()
        numbering = {id(wall): wall.numbering for wall in self.walls}

        async def die() -> None:
            await (leader.kill() if how == "kill" else leader.stop())

        spent = proc.cpu_seconds(other.pid)
        began = await self._during(die(), lambda wall: wall.numbering != numbering[id(wall)])
        spent = proc.cpu_seconds(other.pid) - spent
        seconds = [wall.named_at - began for wall in self.walls]
        found, share = self._resumed(self.walls)
        await leader.start()
        await self.until_warm()
        name = "kill -9" if how == "kill" else "SIGTERM"
        return Row(
            f"{name} of the engine that leads, {len(self.walls):,} clients on two edges",
            f"live after {min(seconds):.2f} to {max(seconds):.2f} s",
            found,
            f"{spent:.1f} s of CPU",
            f"≤ {most:g} s, ≥ 99 % by a diff",
            max(seconds) <= most and share >= 0.99,
        )

    async def edge_dies(self) -> Row:
        edge, walls = self.edges[0], self.walls[::2]

        async def die() -> None:
            self._down.add(edge)
            await edge.kill()

        moving = set(map(id, walls))
        began = await self._during(
            die(), lambda wall: id(wall) not in moving or (wall.connects > 0 and wall.back_at > 0)
        )
        seconds = [wall.back_at - began for wall in walls]
        found, share = self._resumed(walls)
        await edge.start()
        await edge.until_ready(60)
        self._down.clear()
        return Row(
            f"kill -9 of an edge, {len(walls):,} clients go to the other one",
            f"live after {min(seconds):.2f} to {max(seconds):.2f} s",
            found,
            "",
            "≤ 5 s, all by a diff",
            max(seconds) <= 5 and share == 1,
        )

    async def deploy(self) -> Row:
        """Both engines and both edges, each replaced when the one before is ready."""

        async def replace() -> None:
            _, warm = await self.leader()
            for engine in (warm, next(one for one in self.engines if one is not warm)):
                await engine.stop()
                await engine.start()
                await engine.until_ready(PATIENCE_SECONDS)
                await self.until_warm()
            for edge in self.edges:
                self._down = {edge}
                await edge.stop()
                await edge.start()
                await edge.until_ready(60)
                self._down = set()

        await self._during(replace(), lambda wall: wall.back_at > 0)
        found, share = self._resumed(self.walls)
        stale = max(wall.stale_seconds for wall in self.walls)
        silence = max(wall.silence for wall in self.walls)
        return Row(
            "rolling deploy of both engines and both edges",
            f"at most {silence:.2f} s without a frame",
            found,
            "",
            "*stale* ≤ 2 s, all by a diff",
            stale <= 2 and share == 1,
        )


@contextlib.asynccontextmanager
async def started(clients: int, calls: int) -> AsyncIterator[Bench]:
    many_files()
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats, redis = NatsServer(), Valkey()
        await asyncio.gather(enter(nats), enter(redis))
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
                    "STREAM_SECONDS": "86400", "HEARTBEAT_SECONDS": "1", "DRAIN_SECONDS": "2",
                    "MAX_STREAMS_PER_USER": "100000",
                    "MAX_STREAMS_PER_ADDRESS": "100000"}  # fmt: skip
        client = Client()
        await client.connect(nats.url)
        stack.push_async_callback(client.close)
        traffic = Traffic(client)
        await client.subscribe(RESYNC_PREFIX + ">", cb=traffic.answer)
        bench = Bench(lambda role: Instance(keys, settings | {"ROLE": role}), clients, traffic)
        for instance in (*bench.engines, *bench.edges):
            await enter(instance)
        for instance in (*bench.engines, *bench.edges):
            await instance.until_connected(60)
        beating = asyncio.create_task(traffic.beat())
        stack.push_async_callback(cancel_and_wait, beating)
        await traffic.begin(calls)
        for instance in (*bench.engines, *bench.edges):
            await instance.until_ready(60)
        bench.connect()
        stack.push_async_callback(bench.close)
        await bench.until(lambda wall: bool(wall.last_id))
        await bench.until_warm()
        await bench.until_right()
        await asyncio.sleep(SETTLE_SECONDS)
        yield bench


async def measured(clients: int, calls: int) -> list[Row]:
    async with started(clients, calls) as bench:
        rows = []
        parts: tuple[Callable[[], Awaitable[Row]], ...] = (
            partial(bench.engine_dies, "kill", 3.0),
            partial(bench.engine_dies, "stop", 0.5),
            bench.edge_dies,
            bench.deploy,
        )
        for part in parts:
            rows.append(await part())
            print(*rows[-1], sep=" │ ", flush=True)
            await asyncio.sleep(SETTLE_SECONDS)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    options = parser.parse_args()
    rows = asyncio.run(measured(options.clients, options.calls))
    command = f"python -m bench.takeover --clients {options.clients} --calls {options.calls}"
    text = table(rows, command)
    print(text)
    if options.write:
        begin, end = "<!-- begin bench-takeover -->", "<!-- end bench-takeover -->"
        page = PAGE.read_text()
        before, after = page.split(begin)[0], page.split(end)[1]
        PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    main()
