"""Two engines and two edges as processes: the engine that leads dies, leaves, or stands still.

Events go on all the while, and streams on both edges must neither end nor take a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.cli.child_service import Instance
from livestate.process.tasks import cancel_and_wait
from tests.harness import Node, Stream, agrees
from tests.unit.cluster.test_roles import Cluster, until_written

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
EVENTS_A_SECOND = 200
_companies = itertools.count(1)


class Pair(Cluster):
    """The cluster with a second engine; ``engines`` are both."""

    async def start(self) -> None:
        await super().start()
        await self.until_leads(self.engine)
        self.second = await self._stack.enter_async_context(self.instance("engine", "livestate"))
        self.engines = [self.engine, self.second]
        await self.second.until_connected()
        await self.node.list()
        await self.second.until_ready(30)
        said = await status(self.second)
        assert said["following"]["at_hand"] or said["ready"] is not True, "ready to take over"

    async def until_leads(self, engine: Instance, seconds: float = 30) -> None:
        """Wait until both edges follow ``engine`` and may show what it knows."""

        async def follow() -> bool:
            leads = (await status(engine))["edges"]
            heard = [(await status(edge))["engine"] for edge in (self.a, self.b)]
            return (
                leads["publishes"]
                and leads["fence"] > 0
                and all(
                    one and one["fence"] == leads["fence"] and one["silent_ms"] < 1_500
                    for one in heard
                )
            )

        async with asyncio.timeout(seconds):
            while not await follow():
                await asyncio.sleep(0.05)

    async def leader(self) -> tuple[Instance, Instance]:
        """The engine that leads, and the other one."""
        first, second = self.engines
        leads = (await status(first))["edges"]["publishes"]
        return (first, second) if leads else (second, first)


async def status(service: Instance) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{service.admin_url}/statusz")).json()
        return found


async def until_at_hand(engine: Instance) -> dict[str, Any]:
    """Wait until a warm engine has what Redis holds; what it says of that."""
    async with asyncio.timeout(60):
        while not (found := (await status(engine))["following"])["at_hand"]:
            await asyncio.sleep(0.1)
    return dict(found)


class Traffic:
    """Calls of one company that begin, change and end; ``states`` are those that are up."""

    def __init__(self, node: Node, company: str) -> None:
        self.states: dict[str, str] = {}
        self._node, self._company = node, company
        self._numbers = itertools.count()

    async def run(self) -> None:
        phases = {"setup": "trying", "ringing": "ringing", "answered": "answered", "hold": "held"}
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            dialog = f"{next(self._numbers)}.{self._company}"
            for phase, state in phases.items():
                await self._node.say(phase, dialog, company_id=self._company)
                self.states[f"{dialog}@{self._node.name}"] = state
            if len(self.states) > 60:
                oldest = next(iter(self.states))
                await self._node.say("ended", oldest.partition("@")[0], company_id=self._company,
                                     outcome="answered")  # fmt: skip
                del self.states[oldest]
            due += 5 / EVENTS_A_SECOND
            await asyncio.sleep(max(due - loop.time(), 0))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            await cancel_and_wait(task)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        made = Pair(stack, tmp_path_factory.mktemp("cluster"))
        await made.start()
        yield made


@pytest.fixture
def company() -> str:
    return f"takeover-{next(_companies)}"


@pytest.mark.parametrize("death", ["kill", "stop", "pause"])
async def test_streams_go_on_with_the_other_engine(cluster: Pair, company: str, death: str) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    traffic, (leader, other) = Traffic(cluster.node, company), await cluster.leader()
    before_death = await until_at_hand(other)
    cluster.node.hurried = True
    async with AsyncExitStack() as stack:
        streams = []
        async with traffic.running():
            for edge in (cluster.a, cluster.b):
                for each in (query, query | {"state": "held"}):
                    opened = await Stream.open(edge.url, token, query=each)
                    streams.append(await stack.enter_async_context(opened))
            for stream in streams:
                await stream.until(lambda s: len(s.states) > 40, 30)
            before = [len(stream.named("snapshot")) for stream in streams]
            if death == "pause":
                leader.pause()
            else:
                await getattr(leader, death)()
            await cluster.until_leads(other)
            after_death = (await status(other))["following"]
            assert after_death["taken_over"] == before_death["taken_over"] + 1, "at hand"
            assert not after_death["at_hand"]
            if death == "pause":
                leader.resume()  # it finds that another one leads
            else:
                await leader.start()
            await asyncio.sleep(0.5)  # events for both
        await cluster.node.client.flush()
        for stream in streams:
            held = stream in streams[1::2]
            wanted = {
                call: state for call, state in traffic.states.items()
                if state == "held" or not held
            }  # fmt: skip
            await stream.until(lambda s, wanted=wanted: s.states == wanted, 30)  # type: ignore[misc]
            await stream.until(lambda s: s.dashboard.source == "live", 30)
        for number, stream in enumerate(streams):
            edge = cluster.a if number < 2 else cluster.b
            await agrees(edge, stream, token, query | ({"state": "held"} if number % 2 else {}))
            assert not stream.over.is_set()
            assert len(stream.named("snapshot")) == before[number]
            assert stream.dashboard.diverged == 0
        dialog = [
            {"dialog": call.partition("@")[0], "call_id": call, "state": state,
             "company_id": company}
            for call, state in traffic.states.items()
        ]  # fmt: skip
    await cluster.node.list(*dialog)
    await leader.until_ready(30)


async def test_a_client_moves_to_another_edge_after_a_takeover(cluster: Pair, company: str) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    for number in range(5):
        await cluster.node.call(f"{number}.{company}", company_id=company)
    async with await Stream.open(cluster.a.url, token, query=query) as first:
        await first.until(lambda s: len(s.states) == 5)
    leader, other = await cluster.leader()
    await until_written(leader)  # of a company that Redis has never heard of, nothing resumes
    await leader.kill()
    await cluster.until_leads(other)
    await cluster.node.say("ended", f"0.{company}", company_id=company)
    moved = await Stream.open(
        cluster.b.url, token, query=query, dashboard=first.dashboard,
        headers={"Last-Event-ID": first.dashboard.last_id},
    )  # fmt: skip
    async with moved:
        await moved.until(lambda s: len(s.states) == 4, 10)
        assert not moved.named("snapshot")
        await agrees(cluster.b, moved, token, query)
    await leader.start()


async def test_without_redis_nobody_takes_over_and_edges_say_stale(
    cluster: Pair, company: str
) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    await cluster.node.call(f"1.{company}", company_id=company)
    async with await Stream.open(cluster.a.url, token, query=query) as stream:
        await stream.until(lambda s: len(s.states) == 1 and s.dashboard.source == "live", 20)
        leader, other = await cluster.leader()
        cluster.redis.pause()
        await leader.kill()
        await stream.until(lambda s: s.dashboard.source == "stale", 20)
        assert len(stream.states) == 1
        cluster.redis.resume()
        await cluster.until_leads(other)
        await stream.until(lambda s: s.dashboard.source == "live", 20)
        assert not stream.over.is_set()
        assert len(stream.named("snapshot")) == 1
        await agrees(cluster.a, stream, token, query)
