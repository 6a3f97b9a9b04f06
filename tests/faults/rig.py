"""Everything real between a network whose truth is known and the walls that must show it.

    load → nats-server → line → service → line → Redis or Valkey
                                   └→ Caddy → walls

and the promises that hold whatever was done to any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final, Self, cast

import httpx
from redis.asyncio import Redis as RedisClient

from api.cli.child_service import Instance
from livestate.devtools import servers
from livestate.devtools.disturbance import Disturbance
from livestate.devtools.publisher import Publisher
from livestate.devtools.simulator import Traffic
from livestate.fanout.patch import record
from livestate.nats.connection import connect
from livestate.nats.jetstream import create_at
from livestate.process.tasks import cancel_and_wait
from livestate.store.keys import UNPREFIXED
from livestate.store.loader import load as load_redis
from tests.faults.caddy import Caddy
from tests.faults.cluster import Cluster
from tests.faults.fault_proxy import FaultProxy
from tests.faults.fleet import Fleet, Wall
from tests.faults.load import Load, Shown
from tests.faults.roles import ROLES, Roles
from tests.harness import Node, metrics, now_ms, snapshot

WALLS: Final = int(os.environ.get("WALLS", "100"))
DIRECT: Final = os.environ.get("DIRECT", "yes")  # no: every stream by a task of its own
HEAL_SECONDS: Final = 5.0  # promise V, after a fault is over
BLIND_SECONDS: Final = 10.0  # promise S
REDIS_SECONDS: Final = 30.0  # promise R
CALM: Final = Traffic(cps=6, talk_seconds=12, ring_seconds=1.5)


class Rig:
    """One world. ``settings`` are the service's, see :class:`~api.cli.child_service.Instance`."""

    def __init__(
        self,
        keys: Path,
        *,
        redis: type[servers.Redis] = servers.Valkey,
        traffic: Traffic = CALM,
        disturbance: Disturbance | None = None,
        walls: int = WALLS,
        cdrs: bool = True,
        nats: servers.NatsServer | None = None,
        nats_login: str = "",
        cluster: Cluster | None = None,
        environment: Mapping[str, str] | None = None,
        instances: int = 1,
        **settings: str,
    ) -> None:
        self.cluster = cluster  # up already, instead of one server behind a line
        self.nats = nats or (cluster.servers[0] if cluster else servers.NatsServer())
        self.redis = redis()
        self.nats_line = FaultProxy(self.nats.port)
        self.redis_line = FaultProxy(self.redis.port)
        self.load = Load(traffic, now_ms())
        self.publisher = Publisher(
            self.nats_url, self.load, clock=now_ms, disturbance=disturbance, cdrs=cdrs
        )
        self.fleet = Fleet()
        self.keys = keys
        self.settings = settings
        self.services: list[Instance] = []
        self._instances = instances
        self._nats_login = nats_login
        self._environment = environment or {}
        self._walls = walls
        self._names = count()
        self._publishing: asyncio.Task[None] | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            enter = self._stack.enter_async_context
            await enter(self.redis)
            if self.cluster is None:
                await enter(self.nats)
                await create_at(self.nats.url)
            await enter(self.nats_line)
            await enter(self.redis_line)
            self._publishing = asyncio.create_task(self.publisher.run())
            self.services += [self.instance() for _ in range(self._instances)]
            for service in self.services:
                await enter(service)
                await service.until_ready(60)
                if self._instances > 1:  # who comes later takes the secret of the keys from Redis
                    await self._first_flush()
            self.caddy = await enter(Caddy(*(service.port for service in self.services)))
            self.join(self._walls)
            if self._walls:
                await self.until(lambda: all(w.says_live for w in self.walls), 60, self._not_live)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        held = await self._held() if kind is None else []
        if self._publishing is not None:
            await cancel_and_wait(self._publishing)
        await self.fleet.close()
        await self._stack.aclose()
        assert not held, f"promise K: {held}"

    async def _held(self) -> list[str]:
        """Callbacks of our services that held their loop for more than the budget of promise K."""
        found = []
        for service in self.services:
            for url in getattr(service, "admin_urls", (service.admin_url,)):
                with contextlib.suppress(httpx.HTTPError):  # one that this row has killed
                    async with httpx.AsyncClient() as client:
                        status = (await client.get(f"{url}/statusz")).json()
                    found += [f"{hold['callback']:.3f} s in {hold['function']}"
                              for hold in status["loop_holds"]["last"]]  # fmt: skip
        return found

    async def _first_flush(self) -> None:
        async with asyncio.timeout(20), RedisClient.from_url(self.redis.url) as redis:
            while not await redis.exists(UNPREFIXED.meta):
                await asyncio.sleep(0.05)

    @property
    def nats_url(self) -> str:
        return self.cluster.url if self.cluster else self.nats.url

    def instance(self) -> Instance:
        """The service, behind lines to its servers."""
        settings = {
            "NATS_URL": self.nats_url if self.cluster else
            f"nats://{self._nats_login}127.0.0.1:{self.nats_line.port}",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_line.port}/0",
            "HEARTBEAT_SECONDS": "1", "DIRECT": DIRECT, **self.settings,
        }  # fmt: skip
        made = (
            cast("Instance", Roles(self.keys, settings)) if ROLES else Instance(self.keys, settings)
        )
        made.environment = {**(made.environment or {}), **self._environment}
        return made

    @property
    def service(self) -> Instance:
        return self.services[0]

    @property
    def walls(self) -> list[Wall]:
        return self.fleet.walls

    def join(self, number: int, **options: Any) -> list[Wall]:
        """More walls: of each five, one that sees all, and four of companies, great and small."""
        return self.fleet.join([self.wall(**options) for _ in range(number)])

    def wall(self, **options: Any) -> Wall:
        n = next(self._names)
        company = None if n % 5 == 0 else str(101 + n % self.load.network.traffic.companies)
        login = {"role": "noc"} if company is None else {"role": "user", "company_id": company}
        token = self.service.token(**login, subject=f"wall-{n}")
        return Wall(options.pop("url", self.caddy.url), token, company, seed=n, **options)

    async def node(self) -> Node:
        """A node beside the load's, for what must be said by hand. Close it, and the truth is
        no longer the load's alone."""
        return await Node.connect(self.nats_url.partition(",")[0])

    def beating(self, node: Node) -> None:
        """A node that is to beat for as long as this rig lives, or the view would be stale."""
        self._stack.push_async_exit(node.__aexit__)

    # -- what must hold ----------------------------------------------------------------------

    async def until(
        self, wanted: Callable[[], Any], seconds: float, why: Callable[[], object]
    ) -> float:
        """How long it took until ``wanted()``. Fails with ``why()`` after ``seconds``."""
        started = time.monotonic()
        while not wanted():
            self.fleet.look()
            if self._publishing is not None and self._publishing.done():
                self._publishing.result()  # what the load died of
            if time.monotonic() - started > seconds:
                raise AssertionError(f"not within {seconds:g} s: {why()}")
            await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def seen_blind(self, seconds: float = BLIND_SECONDS) -> float:
        """Promise S: how long it took until no wall said that it is live."""
        return await self.until(
            lambda: not any(wall.says_live for wall in self.walls), seconds,
            lambda: f"{sum(wall.says_live for wall in self.walls)} walls still say live",
        )  # fmt: skip

    async def heals(self, seconds: float = HEAL_SECONDS) -> float:
        """Promise V: how long it takes, now that the fault is over, until every wall is live and
        shows the truth, and nothing is in doubt. The truth stands still meanwhile."""
        self.load.hold()
        try:
            return await self.until(self.right, seconds, self._difference)
        finally:
            self.load.go_on()

    async def holds(self, *, alone: bool = True, revived: bool = False) -> float:
        """All that must be true at the end of every row; how long Redis took."""
        await asyncio.sleep(1)  # under load once more
        self.load.hold()
        await self.until(self.right, HEAL_SECONDS, self._difference)
        for wall in self.walls:
            assert not wall.wrong, wall.wrong[:5]
            assert revived or not wall.revived, wall.revived[:5]
            assert not set(wall.statuses) - {200}, f"an EventSource died of {wall.statuses}"
            assert wall.dashboard.diverged == 0
        for service in self.services:
            if service.running:
                counted(await metrics(service))
                await self._wall_is_snapshot(service)
        took = await self.redis_is_memory()
        self.load.go_on()
        return took

    def right(self) -> bool:
        """Whether every wall says live, doubts nothing and shows the truth."""
        truths: dict[str | None, Counter[Shown]] = {}
        for wall in self.walls:
            truth = truths.get(wall.company)
            if truth is None:
                truth = truths[wall.company] = self.load.truth(wall.company)
            if not wall.says_live or not wall.sure or wall.shows() != truth:
                return False
        return True

    def _not_live(self) -> str:
        dumb = [wall for wall in self.walls if not wall.says_live]
        some = [(w.connected, w.dashboard.source, dict(w.statuses)) for w in dumb[:3]]
        return f"{len(dumb)} of {len(self.walls)} walls are not live: {some}"

    def _difference(self) -> str:
        troubles = [self._not_live()]
        unsure = sum(not wall.sure for wall in self.walls)
        troubles.append(f"{unsure} show calls in doubt")
        for wall in self.walls:
            shown, truth = wall.shows(), self.load.truth(wall.company)
            if shown != truth:
                extra, missing = list((shown - truth).items()), list((truth - shown).items())
                troubles.append(f"company {wall.company}: {extra[:3]} extra, {missing[:3]} missing")
        return "\n".join(troubles[:6])

    async def _wall_is_snapshot(self, service: Instance) -> None:
        """Field for field: what a wall that sees all has folded is what the service tells."""
        shown = (await snapshot(service, service.token()))["calls"]
        same_epoch = [w for w in self.walls if w.company is None and w.dashboard.calls == shown]
        assert same_epoch or len(self.services) > 1 or not self.walls, "no wall has its snapshot"

    async def redis_is_memory(self, seconds: float = REDIS_SECONDS) -> float:
        """Promise R: how long until Redis holds, call for call and field for field, what the
        writing instance has. Nothing may change meanwhile."""
        started = time.monotonic()
        while (difference := await self._redis_difference()) is not None:
            assert time.monotonic() - started < seconds, difference
            await asyncio.sleep(0.1)
        return time.monotonic() - started

    async def _redis_difference(self) -> str | None:
        writers = [one for one in self.services if one.running
                   and (await metrics(one))["livestate_redis_writer"]]  # fmt: skip
        if len(writers) != 1:
            return f"{len(writers)} instances write"
        shown = (await snapshot(writers[0], writers[0].token()))["calls"]
        try:
            async with RedisClient.from_url(self.redis.url, socket_timeout=2) as redis:
                stored = await load_redis(redis)
                members = dict(await redis.zrange("active_calls", 0, -1, withscores=True))
        except Exception as error:  # noqa: BLE001  # whatever it is, Redis is not right yet
            return repr(error)
        if stored is None:
            return "Redis holds nothing that can be used"
        calls = {call.key: record(call) | {"v": versions[""]}
                 for call, versions in stored.calls if call.live}  # fmt: skip
        if calls.keys() != shown.keys():
            return f"Redis holds {len(calls)} live calls, the writer {len(shown)}"
        if {key.decode() for key in members} != calls.keys():
            return f"active_calls has {len(members)} members for {len(calls)} calls"
        wrong = [(calls[key], shown[key]) for key in calls if calls[key] != shown[key]]
        return f"Redis: {wrong[0][0]}, memory: {wrong[0][1]}" if wrong else None

    async def letters(self, subject: str, number: int) -> list[bytes]:
        """The first messages of a JetStream subject."""
        client = await connect(self.nats.url, "test")
        aside = await client.jetstream().pull_subscribe(subject)
        messages = await aside.fetch(number, timeout=5)
        await client.close()
        return [message.data for message in messages]

    async def status(self) -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            status: dict[str, Any] = (await client.get(f"{self.service.admin_url}/statusz")).json()
            return status

    async def risen(self, name: str, before: dict[str, float], seconds: float = 10) -> float:
        """By how much a counter has grown, once it has."""
        deadline = time.monotonic() + seconds
        while (grown := (await metrics(self.service))[name] - before[name]) <= 0:
            assert time.monotonic() < deadline, f"{name} did not rise within {seconds:g} s"
            await asyncio.sleep(0.1)
        return grown


def counted(values: dict[str, float]) -> None:
    """Promise C: received = applied + duplicate + stale + rejected + dropped; a drop, a resync."""
    received = sum(n for name, n in values.items() if "events_received_total" in name)
    became = sum(n for name, n in values.items() if name.startswith("livestate_events_total"))
    assert received == became
    if values['livestate_events_total{result="dropped"}']:
        assert values["livestate_node_lists_total"]
