"""Two engines, two edges, three NATS servers and Redis, each of which may die at any moment, and
the clocks of processes and nodes, which may be set.

    load → NATS cluster → lines → engine, engine → lines → Redis
                            └───→ edge, edge → Caddy → walls

Each process has lines of its own to each server, so that one process can be cut off alone. The
judge is the load, which knows what its nodes said: the walls must show that, whoever died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import httpx
from redis.asyncio import Redis as RedisClient
from redis.exceptions import RedisError

from api.cli.child_service import Instance
from livestate.devtools import servers
from livestate.devtools.publisher import Publisher
from livestate.devtools.simulator import Traffic
from livestate.process.tasks import cancel_and_wait
from livestate.store.keys import UNPREFIXED
from livestate.store.loader import load as load_redis
from tests.faults.caddy import Caddy
from tests.faults.clock import Clock
from tests.faults.cluster import Cluster
from tests.faults.fault_proxy import FaultProxy
from tests.faults.fleet import Fleet, Wall
from tests.faults.load import Load, Shown
from tests.harness import now_ms, until
from tests.slow_reader import SlowReader

TRAFFIC: Final = Traffic(cps=4, talk_seconds=8, ring_seconds=1)
START_SECONDS: Final = 90.0
CLOCK_SECONDS: Final = 1.5  # until a process reads that its clock was set
SLOW_BYTES: Final = 2_000  # a second, of a line that is too narrow


@dataclass(eq=False)
class Member:
    """One process of ours, and its lines to the servers."""

    role: str
    instance: Instance
    nats: list[FaultProxy]
    redis: FaultProxy
    clock: Clock

    @property
    def lines(self) -> list[FaultProxy]:
        return [*self.nats, self.redis]


@dataclass(eq=False)
class World:
    """``async with World(keys, seed=…) as world``: up, and every wall says that it is live."""

    home: Path
    seed: int
    walls: int = 20
    heal_seconds: float = 60.0
    environment: dict[str, str] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    fleet: Fleet = field(default_factory=Fleet)

    async def __aenter__(self) -> Self:
        self.chance = Random(self.seed)
        self._stack = contextlib.AsyncExitStack()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.close()
        await self._stack.aclose()

    async def _start(self) -> None:
        enter = self._stack.enter_async_context
        self.cluster = await enter(Cluster(self.home))
        self.redis = servers.Valkey()
        self.clock = Clock(self.home / "clock-redis")
        self.redis.environment = {**os.environ, **self.clock.environment}
        await enter(self.redis)
        self.load = Load(TRAFFIC, now_ms())
        publisher = Publisher(self.cluster.url, self.load, clock=now_ms, cdrs=True)
        self._publishing = asyncio.create_task(publisher.run())
        self._stack.push_async_callback(cancel_and_wait, self._publishing)
        for role in ("engine", "engine", "edge", "edge"):
            self.members.append(await self._member(role))
            if len(self.members) == 1:  # the second one takes the secret of the keys from Redis
                await self._first_flush()
        self.caddy = await enter(Caddy(*(one.instance.port for one in self.edges)))
        names = count()
        self.fleet.join(self._wall(next(names)) for _ in range(self.walls))
        await until(lambda: self.load.live > 10, START_SECONDS)
        await until(self.right, START_SECONDS, self.difference)

    async def _member(self, role: str) -> Member:
        enter = self._stack.enter_async_context
        nats = [await enter(FaultProxy(server.port)) for server in self.cluster.servers]
        redis = await enter(FaultProxy(self.redis.port))
        instance = Instance(self.home / "keys", {
            "NATS_URL": ",".join(f"nats://127.0.0.1:{line.port}" for line in nats),
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "HEARTBEAT_SECONDS": "1", "ROLE": role,
        })  # fmt: skip
        clock = Clock(self.home / f"clock-{len(self.members)}")
        more = {**clock.environment, **self.environment}
        instance.environment = {**(instance.environment or {}), **more}
        await enter(instance)
        await instance.until_ready(START_SECONDS)
        return Member(role, instance, nats, redis, clock)

    async def _first_flush(self) -> None:
        async with asyncio.timeout(START_SECONDS), RedisClient.from_url(self.redis.url) as redis:
            while not await redis.exists(UNPREFIXED.meta):
                await asyncio.sleep(0.05)

    def _wall(self, number: int) -> Wall:
        company = None if number % 2 else str(101 + number % self.load.network.traffic.companies)
        login = {"role": "noc"} if company is None else {"role": "user", "company_id": company}
        token = self.edges[0].instance.token(**login, subject=f"wall-{number}")
        return Wall(self.caddy.url, token, company, seed=number, gzip=number % 3 == 0)

    @property
    def service(self) -> Instance:
        """One that makes logins for a page, see :mod:`tests.faults.screen`."""
        return self.edges[0].instance

    @property
    def edges(self) -> list[Member]:
        return [one for one in self.members if one.role == "edge"]

    @property
    def engines(self) -> list[Member]:
        return [one for one in self.members if one.role == "engine"]

    # -- the judge -------------------------------------------------------------------------

    def right(self) -> bool:
        """Whether every wall says live, doubts nothing and shows what the nodes said."""
        self.fleet.look()
        if self._publishing.done():
            self._publishing.result()
        return all(
            wall.says_live and wall.sure and wall.shows() == self.load.truth(wall.company)
            for wall in self.fleet.walls
        )

    def difference(self) -> str:
        """What is not right yet."""
        said = []
        for wall in self.fleet.walls:
            shown, truth = wall.shows(), self.load.truth(wall.company)
            if shown != truth or not (wall.says_live and wall.sure):
                extra, missing = (
                    list((shown - truth).items())[:2],
                    list((truth - shown).items())[:2],
                )
                said.append(
                    f"company {wall.company}: connected {wall.connected}, "
                    f"{wall.dashboard.source}, sure {wall.sure}, {extra} extra, {missing} missing"
                )
        return "\n".join(said[:6])

    def violations(self) -> list[str]:
        """What a wall was shown that must never be shown."""
        found = []
        for wall in self.fleet.walls:
            found += wall.wrong
            if wall.dashboard.diverged:
                found.append(f"{wall.dashboard.diverged} digests differed, {wall.company}")
            if set(wall.statuses) - {200}:
                found.append(f"an EventSource died of {dict(wall.statuses)}")
        return found

    async def heals(self, seconds: float) -> None:
        """Wait until all is right; nothing changes meanwhile, so that it can be compared."""
        self.load.hold()
        try:
            await until(self.right, seconds, self.difference)
            deadline = asyncio.get_running_loop().time() + seconds
            while (stored := await self._stored()) != self.load.truth():
                if asyncio.get_running_loop().time() > deadline:
                    raise AssertionError(await self._redis_difference(stored))
                await asyncio.sleep(0.1)
        finally:
            self.load.go_on()
        for member in self.members:
            failed = (await self._status(member)).get("task_failures")  # older versions
            assert not failed, f"tasks of an {member.role} met unexpected errors: {failed}"

    async def _status(self, member: Member) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=10) as client:
            found: dict[str, Any] = (
                await client.get(f"{member.instance.admin_url}/statusz")
            ).json()
            return found

    async def _redis_difference(self, stored: Counter[Shown] | None) -> str:
        """What Redis lacks or has too much, and what the engines say of it."""
        truth, held = self.load.truth(), stored or Counter()
        said = [f"Redis: {list(held - truth)[:3]} extra, {list(truth - held)[:3]} missing"]
        for engine in self.engines:
            try:
                status = await self._status(engine)
            except httpx.HTTPError as error:
                said.append(f"an engine: {error!r}")
                continue
            said.append(f"{status.get('task_failures')=}")
            said.append(f"{status['edges']['publishes']=} {status['following']} {status['redis']}")
        return "\n".join(said)

    async def _stored(self) -> Counter[Shown] | None:
        """Promise R: the live calls that Redis holds."""
        async with RedisClient.from_url(self.redis.url, socket_timeout=2) as redis:
            try:
                stored = await load_redis(redis)
            except (RedisError, OSError):
                return None
        if stored is None:
            return None
        live = [call for call, _ in stored.calls if call.live]
        return Counter((call.node, call.call_id, call.state, call.company_id) for call in live)

    # -- eleven kinds of death -------------------------------------------------------------------

    async def engine_is_killed(self, seconds: float) -> str:
        return await self._killed(self.chance.choice(self.engines), seconds)

    async def edge_is_killed(self, seconds: float) -> str:
        return await self._killed(self.chance.choice(self.edges), seconds)

    async def _killed(self, member: Member, seconds: float) -> str:
        await member.instance.kill()
        await asyncio.sleep(seconds)
        await member.instance.start()
        return member.role

    async def server_of_nats_is_killed(self, seconds: float) -> str:
        server = self.chance.choice(self.cluster.servers)
        await server.kill()
        await asyncio.sleep(seconds)
        await server.start()
        return server.url

    async def redis_is_killed(self, seconds: float) -> str:
        await self.redis.kill()
        await asyncio.sleep(seconds)
        await self.redis.start()
        return "with its data"

    async def process_hangs(self, seconds: float) -> str:
        member = self.chance.choice(self.members)
        member.instance.pause()
        await asyncio.sleep(seconds)
        member.instance.resume()
        return member.role

    async def server_hangs(self, seconds: float) -> str:
        server = self.chance.choice([*self.cluster.servers, self.redis])
        server.pause()
        await asyncio.sleep(seconds)
        server.resume()
        return server.name

    async def process_is_replaced(self, seconds: float) -> str:
        """SIGTERM, and another one in its place, as a rolling deploy does."""
        member = self.chance.choice(self.members)
        await member.instance.restart()
        return member.role

    async def network_is_cut(self, seconds: float) -> str:
        """Of one process: its connections are reset, and nothing goes through for a while."""
        member = self.chance.choice(self.members)
        for line in member.lines:
            line.refusing = True
            line.cut()
        await asyncio.sleep(seconds)
        for line in member.lines:
            line.refusing = False
        return member.role

    async def network_is_half_open(self, seconds: float) -> str:
        """Of one process: connected, and nothing comes through, in both directions."""
        member = self.chance.choice(self.members)
        for line in member.lines:
            line.freeze()
        await asyncio.sleep(seconds)
        for line in member.lines:
            line.thaw()
        return member.role

    async def consumers_are_slow(self, seconds: float) -> str:
        """An edge on a line that is too narrow, and clients that read nothing."""
        member = self.chance.choice(self.edges)
        for line in member.nats:
            line.bytes_a_second = SLOW_BYTES
        token = member.instance.token(subject="slow")
        with contextlib.ExitStack() as readers:
            for _ in range(5):
                with contextlib.suppress(OSError):
                    readers.enter_context(await SlowReader.open(member.instance.url, token))
            await asyncio.sleep(seconds)
        for line in member.nats:
            line.bytes_a_second = None
        return "an edge and five clients"

    async def clock_is_set(self, seconds: float) -> str:
        """Of one process, of a node or of Redis, which measures leases with it: all must be right
        while it is wrong, and when it is right again."""
        every: list[Member | str] = [*self.members, *sorted(self.load.nodes), "redis"]
        whose = self.chance.choice(every)
        ahead = self.chance.choice((-1, 1)) * self.chance.randrange(5, 3_600)
        await self._set_clock(whose, ahead, seconds)
        await self.heals(self.heal_seconds)
        await self._set_clock(whose, 0, seconds)
        return f"{whose.role if isinstance(whose, Member) else whose}, {ahead:+d} s"

    async def _set_clock(self, whose: Member | str, ahead: int, seconds: float) -> None:
        if isinstance(whose, Member) or whose == "redis":
            (whose.clock if isinstance(whose, Member) else self.clock).set(ahead)
            seconds += CLOCK_SECONDS
        else:
            self.load.set_clock(whose, ahead)
        await asyncio.sleep(seconds)

    @property
    def deaths(self) -> dict[str, Callable[[float], Awaitable[str]]]:
        made = (
            self.engine_is_killed, self.edge_is_killed, self.server_of_nats_is_killed,
            self.redis_is_killed, self.process_hangs, self.server_hangs, self.process_is_replaced,
            self.network_is_cut, self.network_is_half_open, self.consumers_are_slow,
            self.clock_is_set,
        )  # fmt: skip
        return {one.__name__: one for one in made}
