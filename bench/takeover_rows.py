"""The rows of :mod:`bench.takeover`: what dies or is replaced, and what clients noticed of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from api.cli.child_service import Instance
from bench import proc
from bench.roles import Row
from bench.takeover_traffic import NODE, Shown, TooLate, Traffic, say
from bench.takeover_walls import FOLDING, LIGHT, LIGHT_ALL, Kind, Wall
from livestate.devtools.servers import NatsServer
from livestate.process.clock import now_ms

PATIENCE_SECONDS: Final = 90.0
LOOKS_SECONDS: Final = 0.25
LATE_SECONDS: Final = 0.5
STALE_SECONDS: Final = 2.0  # an edge says stale after so long without its engine
UNTIL_LIST: Final = ", *stale* until the node has listed its calls: events were lost"
LISTS: Final = 3  # one that was under way, the one that helps, and the time to read it
CLAIM_MS: Final = 2_500  # the same, and until its next look


class Bench:
    """All servers and all walls. ``light`` clients only count, those of :data:`FOLDING` fold."""

    def __init__(
        self, make: Callable[[str], Instance], nats: list[NatsServer], light: int, traffic: Traffic
    ) -> None:
        self.engines = [make("engine"), make("engine")]
        self.edges = [make("edge"), make("edge")]
        self.nats, self.traffic, self.light = nats, traffic, light
        self.walls: list[Wall] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.late = 0.0  # how late this process itself was, at most, in the row of now
        self._down: set[Instance] = set()

    @property
    def instances(self) -> list[Instance]:
        return [*self.engines, *self.edges]

    @property
    def folding(self) -> list[Wall]:
        return [wall for wall in self.walls if wall.kind.folds]

    @property
    def quick(self) -> list[Wall]:
        """Those that read at once: when a slow one has something is its own doing."""
        return [wall for wall in self.walls if not wall.kind.pause]

    async def status(self, one: Instance) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=60) as client:
            found: dict[str, Any] = (await client.get(f"{one.admin_url}/statusz")).json()
            return found

    async def leader(self) -> tuple[Instance, Instance]:
        first, second = self.engines
        leads = (await self.status(first))["edges"]["publishes"]
        return (first, second) if leads else (second, first)

    async def watch(self) -> None:
        """Measure how late this process is: what it saw, it saw that much too late."""
        while True:
            due = time.monotonic() + LOOKS_SECONDS
            await asyncio.sleep(LOOKS_SECONDS)
            self.late = max(self.late, time.monotonic() - due)

    def row(self, what: str, seen: str, found: str, cpu: str, wanted: str, kept: bool) -> Row:
        """A line; where it is not kept and we were late ourselves, it says so."""
        if not kept and self.late > LATE_SECONDS:
            wanted += f"; INVALID: no free core, this command was late by {self.late:.1f} s itself"
        return Row(what, seen, found, cpu, wanted, kept)

    async def until(self, what: str, missing: Callable[[], Awaitable[str]]) -> None:
        """Wait until nothing is ``missing``. Raises TooLate."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while lacks := await missing():
            if time.monotonic() > deadline:
                raise TooLate(f"{what}, after {PATIENCE_SECONDS:.0f} s: {lacks}")
            await asyncio.sleep(LOOKS_SECONDS)

    async def until_folded(self) -> None:
        """Both engines have all that was published, and the warm one could take over at once."""

        async def behind() -> str:
            return "; ".join(filter(None, [await self._behind(one) for one in self.engines]))

        await self.until("both engines have every call", behind)
        _, warm = await self.leader()

        async def differs() -> str:
            following = (await self.status(warm))["following"]
            return "" if following["at_hand"] else f"following: {following}"

        await self.until("the warm engine is ready to lead", differs)

    async def _behind(self, engine: Instance) -> str:
        node = (await self.status(engine))["nodes"].get(NODE, {})
        has = {name: node.get(name) for name in ("calls", "waiting_for_list", "missing")}
        wanted = {"calls": len(self.traffic.truth), "waiting_for_list": False, "missing": 0}
        return "" if has == wanted else f"{has}, not {wanted}"

    # -- walls -----------------------------------------------------------------------------

    def connect(self) -> None:
        """The walls, spread evenly; each comes back to its edge, or to the one that is up."""
        edge = self.edges[0]
        tokens: dict[str | None, str] = {None: edge.token()}
        kinds: list[Kind] = [*FOLDING, *[LIGHT_ALL] * 4, *[LIGHT] * self.light]
        for number, kind in enumerate(kinds):
            if kind.company not in tokens:
                tokens[kind.company] = edge.token("user", company_id=kind.company)
            wall = Wall(self._choice(number % 2), tokens[kind.company], kind, number)
            self.walls.append(wall)
            self.tasks.append(asyncio.create_task(wall.run()))

    def _choice(self, wanted: int) -> Callable[[], tuple[str, int]]:
        def choose() -> tuple[str, int]:
            edge = self.edges[wanted]
            if edge in self._down:
                edge = self.edges[1 - wanted]
            return "127.0.0.1", edge.port

        return choose

    async def until_right(self) -> None:
        """All say live, and the walls that fold show what was published. Raises TooLate, and
        SystemExit if one of them was ever wrong."""

        async def missing() -> str:
            for task in self.tasks:
                if task.done():
                    task.result()
            silent = sum(not wall.last_id or wall.stale_at is not None for wall in self.walls)
            wrong = [wall for wall in self.folding if wall.shows() != self._expected(wall)]
            if not silent and not wrong:
                return ""
            return f"{silent} have nothing or say stale, {len(wrong)} lag: {self._lag(wrong[:1])}"

        self._truth: dict[tuple[str | None, str], dict[str, Shown]] = {}
        await self.until("every wall is right", missing)
        for wall in self.folding:
            if wall.fold.diverged or wall.wrong:
                raise SystemExit(f"wrong: {wall.kind}, {wall.fold.diverged} digests, {wall.wrong}")

    def _expected(self, wall: Wall) -> dict[str, Shown]:
        kind = wall.kind.company, wall.kind.query
        if kind not in self._truth:  # nothing is published meanwhile
            self._truth[kind] = self.traffic.expected(*kind)
        return self._truth[kind]

    def _lag(self, walls: list[Wall]) -> str:
        return "; ".join(
            f"{wall.kind}: {len(wall.shows())} of {len(self._expected(wall))} calls, "
            f"{list(dict(self._expected(wall).items() - wall.shows().items()).items())[:2]}"
            for wall in walls
        )

    # -- rows ------------------------------------------------------------------------------

    async def _during(self, happens: Callable[[], Awaitable[None]],
                      lacks: Callable[[Wall], bool]) -> float:  # fmt: skip
        """When an event began; it returns when no wall lacks anything, and all are right."""
        running = asyncio.create_task(self.traffic.run())
        try:
            await asyncio.sleep(1)
            for wall in self.walls:
                wall.forget()
            self.late = 0.0
            began = time.monotonic()
            await happens()

            async def missing() -> str:
                late = sum(map(lacks, self.walls))
                return f"{late} walls" if late else ""

            await self.until("every wall goes on", missing)
            await asyncio.sleep(1)
        finally:
            self.traffic.stop()
            await running
        over = time.monotonic()
        await self.until_right()
        say(f"   right {time.monotonic() - over:.1f} s after the last event")
        return began

    def _noticed(self, walls: list[Wall]) -> tuple[str, float, float]:
        """How many went on by a diff, and what they said meanwhile; the share, and the longest
        time in which they said stale."""
        resumed = sum(not wall.snapshots for wall in walls) / len(walls)
        stale = max(wall.stale_seconds for wall in self.quick)
        said = f"*stale* for {stale:.1f} s" if stale else "*stale* never said"
        return f"{resumed:.1%} by a diff, {said}", resumed, stale

    async def lose_nats(self, survivor: Instance) -> NatsServer:
        """kill -9 of the NATS server that ``survivor`` is connected to."""
        url = (await self.status(survivor))["nats"]["server"]
        server = next(one for one in self.nats if url.endswith(f":{one.port}"))
        await server.kill()
        return server

    async def gaps(self, *engines: Instance) -> int:
        """How often these engines have found events missing."""
        said = [await self.status(one) for one in engines]
        return sum(one["nodes"].get(NODE, {}).get("gaps", 0) for one in said)

    def blind_seconds(self, most: float, lost: int) -> float:
        """For how long *stale* may be said. A server that dies takes events with it; engines say
        stale then until the node's next list is here, after one that was under way."""
        return most + (LISTS * self.traffic.list_seconds if lost else 0)

    async def engine_dies(self, how: str, most: float, nats: bool) -> Row:
        leader, other = await self.leader()
        # A filtered view gets a position of the new engine with its next change only.
        walls = [wall for wall in self.quick if not wall.kind.query]
        numbering = {id(wall): wall.numbering for wall in walls}
        dead: list[NatsServer] = []
        at_ms = 0

        async def die() -> None:
            nonlocal at_ms
            if nats:
                dead.append(await self.lose_nats(other))
            at_ms = now_ms()
            await (leader.kill() if how == "kill" else leader.stop())

        before, spent = await self.gaps(other), proc.cpu_seconds(other.pid)
        began = await self._during(die, lambda wall: wall.numbering == numbering.get(id(wall)))
        spent = proc.cpu_seconds(other.pid) - spent
        lost = await self.gaps(other) - before
        seconds = [wall.named_at - began for wall in walls]
        found, share, stale = self._noticed(self.walls)
        blind = self._claimed_live(at_ms) if how == "kill" else 0
        found += f", {blind} said *live* while blind" if blind else ""
        await self._again(dead, leader)
        name = "kill -9" if how == "kill" else "SIGTERM"
        return self.row(
            f"{name} of the engine that leads, {len(self.walls):,} clients on two edges",
            f"live after {min(seconds):.2f} to {max(seconds):.2f} s",
            found,
            f"{spent:.1f} s of CPU",
            f"≤ {most:g} s, ≥ 99 % by a diff{UNTIL_LIST if lost else ''}",
            max(seconds) <= most
            and share >= 0.99
            and not blind
            and stale <= self.blind_seconds(most, lost),
        )

    def _claimed_live(self, at_ms: int) -> int:
        """Walls that were told *live* by a heartbeat that was made when its edge had heard no
        engine for longer than it may."""
        return sum(wall.claimed_as_of - at_ms > CLAIM_MS for wall in self.walls)

    async def edge_dies(self, nats: bool) -> Row:
        edge = self.edges[0]
        walls = [wall for wall in self.walls if wall.address()[1] == edge.port]
        moving = set(map(id, walls))
        dead: list[NatsServer] = []

        async def die() -> None:
            self._down.add(edge)
            if nats:
                dead.append(await self.lose_nats(self.edges[1]))
            await edge.kill()

        before = await self.gaps(*self.engines)
        began = await self._during(
            die, lambda wall: id(wall) in moving and not (wall.connects and wall.back_at)
        )
        lost = await self.gaps(*self.engines) - before
        seconds = [wall.back_at - began for wall in walls if not wall.kind.pause]
        found, share, stale = self._noticed(self.walls)
        await self._again(dead, edge)
        self._down.clear()
        return self.row(
            f"kill -9 of an edge, {len(walls):,} clients go to the other one",
            f"live after {min(seconds):.2f} to {max(seconds):.2f} s",
            found,
            "",
            f"≤ 5 s, all by a diff{UNTIL_LIST if lost else ''}",
            max(seconds) <= 5 and share == 1 and stale <= self.blind_seconds(5, lost),
        )

    async def deploy(self, nats: bool) -> Row:
        """Both engines and both edges, each replaced when the one before is ready."""
        dead: list[NatsServer] = []

        gaps = [-await self.gaps(*self.engines)]  # a new engine counts from 0

        async def replace() -> None:
            leader, warm = await self.leader()
            if nats:
                dead.append(await self.lose_nats(leader))
            for one in (warm, leader, *self.edges):
                if one in self.engines:
                    gaps[0] += await self.gaps(one)
                self._down = {one}
                await one.stop()
                await one.start()
                await one.until_ready(PATIENCE_SECONDS)
                self._down = set()
                if one in self.engines:
                    await self.until_folded_of(one)
                say("   replaced:", "an engine" if one in self.engines else "an edge")

        await self._during(replace, lambda wall: not wall.back_at)
        lost = gaps[0] + await self.gaps(*self.engines)
        found, share, stale = self._noticed(self.walls)
        quietest = max(self.quick, key=lambda wall: wall.silence)
        say(f"   {quietest.silence:.2f} s without a frame: {quietest.silence_was}, {quietest.kind}")
        await self._again(dead)
        return self.row(
            "rolling deploy of both engines and both edges",
            f"at most {quietest.silence:.2f} s without a frame",
            found,
            "",
            f"≤ 5 s, all by a diff{UNTIL_LIST}"
            if lost
            else f"≤ 5 s, *stale* ≤ {STALE_SECONDS:g} s, all by a diff",
            quietest.silence <= 5
            and stale <= self.blind_seconds(STALE_SECONDS, lost)
            and share == 1,
        )

    async def until_folded_of(self, engine: Instance) -> None:
        """An engine that was started while calls change could take over at once."""

        async def differs() -> str:
            status = await self.status(engine)
            node = status["nodes"].get(NODE, {"waiting_for_list": True})
            ready = status["following"]["at_hand"] or status["edges"]["publishes"]
            return "" if ready and not node["waiting_for_list"] else f"{status['following']} {node}"

        await self.until("the new engine is ready to lead", differs)

    async def _again(self, servers: list[NatsServer], *dead: Instance) -> None:
        """Start what died."""
        for server in servers:
            await server.start()
        for one in dead:
            await one.start()
        for one in dead:
            await one.until_ready(PATIENCE_SECONDS)
        await self.until_folded()
        await self.until_right()
