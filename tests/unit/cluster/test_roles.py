"""One engine and two edges as processes, with real servers and the shipped rights between them.

Each test speaks of companies of its own; those at the end of the file kill what all of them use.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.cli.child_service import Instance
from api.settings import PREFIX
from livestate.client.paths import (
    ALARMS_PATH,
    COMPANIES_PATH,
    ENDED_PATH,
    NODES_PATH,
    TRUNKS_PATH,
)
from livestate.devtools import servers
from tests.harness import STREAM, Node, Stream, agrees, bearer, metrics, now_ms, snapshot
from tests.unit.cli.test_cli import run
from tests.unit.nats.test_rights import Guarded, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
_companies = itertools.count(1)


class Cluster:
    """Servers, an engine, and edges ``a`` and ``b``, which take the same logins."""

    def __init__(self, stack: AsyncExitStack, home: Path) -> None:
        self.nats, self.redis = Guarded(home), servers.Valkey()
        self.rules = home / "alarms.toml"
        self.rules.write_text(
            "[live_calls]\nalarm = 3\nraise_after_seconds = 0\ncompanies = true\n"
        )
        self._stack, self._home = stack, home

    async def start(self) -> None:
        enter = self._stack.enter_async_context
        await asyncio.gather(enter(self.nats), enter(self.redis))
        self.node = await enter(await Node.connect(self.nats.url_of("bridge"), "n1"))
        self.engine, self.a, self.b = await asyncio.gather(
            enter(self.instance("engine", "livestate")),
            enter(self.instance("edge", "edge")),
            enter(self.instance("edge", "edge")),
        )
        await self.node.list()
        await self.until_ready()

    async def until_ready(self) -> None:
        for each in (self.engine, self.a, self.b):
            await each.until_ready(30)

    def instance(self, role: str, user: str) -> Instance:
        return Instance(self._home, {
            "ROLE": role, "NATS_URL": self.nats.url_of(user), "NATS_INBOX": f"_INBOX.{user}",
            "REDIS_URL": self.redis.url, "READY_SECONDS": "1", "HEARTBEAT_SECONDS": "1",
            "ALARMS": str(self.rules),
        })  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        made = Cluster(stack, tmp_path_factory.mktemp("cluster"))
        await made.start()
        yield made


async def until_written(engine: Instance) -> None:
    """Wait until Redis has all that the engine knows."""
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while (await client.get(f"{engine.admin_url}/statusz")).json()["redis"]["dirty"]:
            await asyncio.sleep(0.05)


@pytest.fixture
def company() -> str:
    return f"cluster-{next(_companies)}"


async def test_a_client_sees_calls_begin_change_and_end(cluster: Cluster, company: str) -> None:
    node, query, token = cluster.node, {"company_id": company}, cluster.a.token()
    await node.call("1.1", company_id=company, trunk="gw-a")
    async with await Stream.open(cluster.a.url, token, query=query) as stream:
        await stream.until(lambda s: s.states == {"1.1@n1": "answered"})
        await node.say("hold", "1.1", company_id=company)
        await node.call("2.2", state="ringing", company_id=company)
        await stream.until(lambda s: s.states == {"1.1@n1": "held", "2.2@n1": "ringing"})
        await agrees(cluster.a, stream, token, query)
        await node.say("ended", "1.1", company_id=company, outcome="busy", sip_code=486)
        await stream.until(lambda s: s.states == {"2.2@n1": "ringing"})
        (ended,) = stream.named("diff")[-1]["ended"].values()
        assert (ended["outcome"], ended["sip_code"]) == ("busy", 486)
    assert (await metrics(cluster.a))["livestate_edge_diverged_total"] == 0


async def test_an_edge_has_kpis_snapshot_and_timeline(cluster: Cluster, company: str) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    await cluster.node.call("3.1", company_id=company)
    async with await Stream.open(cluster.a.url, token, query=query) as stream:
        await stream.until(lambda s: s.states and any(s.named("kpi")), 10)
        assert stream.named("heartbeat")[-1]["source"] == "live"
        (key,) = (await snapshot(cluster.a, token, query))["calls"]
        async with httpx.AsyncClient(headers=bearer(token)) as client:
            found = (await client.get(f"{cluster.a.url}{STREAM}/{key}")).json()
            strange = await client.get(f"{cluster.a.url}{STREAM}/nothing")
    assert [one["phase"] for one in found["timeline"]] == ["setup", "ringing", "answered"]
    assert found["call_id"] == "3.1@n1"
    assert strange.status_code == 404


async def test_an_edge_has_the_panels_of_its_engine(cluster: Cluster, company: str) -> None:
    token = cluster.a.token("user", company_id=company)
    async with httpx.AsyncClient(headers=bearer(token)) as client, asyncio.timeout(30):

        async def panel(path: str, filled: str, **query: str) -> httpx.Response:
            """A document may have been made before the call."""
            while True:
                found = await client.get(f"{cluster.a.url}{path}", params=query)
                if found.status_code == 200 and found.json()[filled]:
                    return found
                await asyncio.sleep(0.2)

        for dialog, whose in (("91.1", company), ("91.2", "secret-other")):
            await cluster.node.call(dialog, company_id=whose, trunk=f"gw-{whose}")
        trunks = await panel(TRUNKS_PATH, "trunks")
        for dialog, whose in (("91.1", company), ("91.2", "secret-other")):
            await cluster.node.say("ended", dialog, company_id=whose, ended_at=now_ms())
        ended = await panel(ENDED_PATH, "calls", code="answered")
    assert [(one["trunk"], one["live"]) for one in trunks.json()["trunks"]] == [
        (f"gw-{company}", 1)
    ]
    assert trunks.headers["Content-Encoding"] == "gzip"
    assert [one["call_id"] for one in ended.json()["calls"]] == ["91.1@n1"]
    assert b"secret" not in trunks.content + ended.content


async def test_an_alarm_that_is_acknowledged_at_an_edge_is_so_at_every_other(
    cluster: Cluster, company: str
) -> None:
    for number in range(3):
        await cluster.node.call(f"{number}.{company}", company_id=company)

    async def alarm(edge: Instance) -> dict[str, Any] | None:
        token = edge.token("user", company_id=company)
        found = await client.get(f"{edge.url}{ALARMS_PATH}", headers=bearer(token))
        alarms = found.json()["alarms"] if found.status_code == 200 else []
        return alarms[0] if alarms else None

    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while (raised := await alarm(cluster.a)) is None:
            await asyncio.sleep(0.2)
        where = f"{cluster.a.url}{ALARMS_PATH}/{raised['id']}"
        other = cluster.a.token("user", company_id="404")
        assert (await client.post(where, headers=bearer(other))).status_code == 404
        mine = cluster.a.token("operator", subject="anna")
        query = {"company_id": company}
        answer = await client.post(where, params=query, headers=bearer(mine))
        assert answer.status_code == 204
        assert ((await alarm(cluster.a)) or {})["acknowledged_by"] == "anna"
        while ((await alarm(cluster.b)) or {}).get("acknowledged_by") != "anna":
            await asyncio.sleep(0.2)


async def test_an_edge_has_the_companies_and_nodes_of_its_engine(
    cluster: Cluster, company: str
) -> None:
    await cluster.node.call("92.1", company_id=company)
    async with httpx.AsyncClient(headers=bearer(cluster.a.token())) as client:
        async with asyncio.timeout(30):
            live: dict[str, int] = {}
            while live.get(company) != 1:
                await asyncio.sleep(0.2)
                found = (await client.get(f"{cluster.a.url}{COMPANIES_PATH}")).json()
                live = {one["company_id"]: one["live"] for one in found.get("companies", ())}
            nodes = (await client.get(f"{cluster.a.url}{NODES_PATH}")).json()["nodes"]
    assert cluster.node.name in {one["node"] for one in nodes}


async def test_a_tenant_gets_no_byte_of_others(cluster: Cluster, company: str) -> None:
    token = cluster.a.token("user", company_id=company)
    await cluster.node.call("4.1", company_id=company)
    await cluster.node.call("4.2", company_id="secret-other")
    async with await Stream.open(cluster.a.url, token) as stream:
        await stream.until(lambda s: s.states == {"4.1@n1": "answered"})
        await cluster.node.say("hold", "4.2", company_id="secret-other")
        await cluster.node.say("hold", "4.1", company_id=company)
        await stream.until(lambda s: s.states == {"4.1@n1": "held"})
        assert b"4.2@n1" not in stream.body
        assert b"secret-other" not in stream.body


async def test_an_edge_may_hear_no_event_and_publish_no_frame(cluster: Cluster) -> None:
    url = cluster.nats.url_of("edge")
    for subject in ("call.events.setup", "livestate.frames.all", "livestate.engine", "cdr.raw"):
        assert await refused(url, subject), subject


@pytest.mark.parametrize("state", [None, "answered"])
async def test_a_client_moves_to_another_edge_with_one_diff(
    cluster: Cluster, company: str, state: str | None
) -> None:
    node, token = cluster.node, cluster.a.token()
    query = {"company_id": company} | ({"state": state} if state else {})
    names = [f"{number}.{company}" for number in range(6)]
    for name in names[:5]:
        await node.call(name, company_id=company)
    async with await Stream.open(cluster.a.url, token, query=query) as first:
        await first.until(lambda s: len(s.states) == 5)
    await node.say("ended", names[0], company_id=company)
    await node.call(names[5], company_id=company)
    other = await Stream.open(
        cluster.b.url, token, query=query, dashboard=first.dashboard,
        headers={"Last-Event-ID": first.dashboard.last_id},
    )  # fmt: skip
    async with other:
        await other.until(lambda s: sorted(s.states) == [f"{name}@n1" for name in names[1:]])
        assert not other.named("snapshot")
        await agrees(cluster.b, other, token, query)


async def test_doctor_beside_an_engine_and_an_edge(cluster: Cluster, company: str) -> None:
    async def doctor(beside: Instance) -> str:
        environment = beside.environment or {}
        own = {n.removeprefix(PREFIX): it for n, it in environment.items() if n.startswith(PREFIX)}
        code, out = await run("doctor", **own)
        assert code in (0, 1)  # its BIND is taken: the service runs
        return out

    await cluster.node.call(f"95.{company}", company_id=company)
    token = cluster.a.token("user", company_id=company)
    async with await Stream.open(cluster.a.url, token) as stream:
        await stream.until(lambda s: len(s.dashboard.calls) == 1, 10)
        edge, engine = await asyncio.gather(doctor(cluster.a), doctor(cluster.engine))
    assert "✓ NATS at" in edge
    assert "an engine publishes, with fence" in edge
    assert "an edge that follows" in edge
    assert "an engine that publishes" in engine


async def test_streams_go_on_after_nats_was_away(cluster: Cluster, company: str) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    async with await Stream.open(cluster.a.url, token, query=query) as stream:
        await stream.until(lambda s: s.dashboard.source == "live", 10)
        await cluster.nats.kill()
        await stream.until(lambda s: s.dashboard.source == "stale", 10)
        await cluster.nats.start()
        await stream.until(lambda s: s.dashboard.source == "live", 20)
        await cluster.node.call("5.1", company_id=company)
        await stream.until(lambda s: s.states == {"5.1@n1": "answered"})
        await agrees(cluster.a, stream, token, query)
        assert not stream.over.is_set()


async def test_a_killed_engine_is_said_and_the_next_one_goes_on_with_a_diff(
    cluster: Cluster, company: str
) -> None:
    query, token = {"company_id": company}, cluster.a.token()
    await cluster.node.call("6.1", company_id=company)
    async with await Stream.open(cluster.a.url, token, query=query) as stream:
        await stream.until(lambda s: s.states and s.dashboard.source == "live", 20)
        await until_written(cluster.engine)
        await cluster.engine.kill()
        await stream.until(lambda s: s.dashboard.source == "stale", 20)
        assert stream.states == {"6.1@n1": "answered"}, "what was last known, and said to be old"
        await cluster.engine.start()
        dialog = {"dialog": "6.1", "call_id": "6.1@n1", "state": "answered", "company_id": company}
        await cluster.node.list(dialog)
        await stream.until(lambda s: s.dashboard.source == "live", 20)
        await cluster.node.say("hold", "6.1", company_id=company)
        await stream.until(lambda s: s.states == {"6.1@n1": "held"}, 20)
        await agrees(cluster.a, stream, token, query)
        assert not stream.over.is_set()
        assert len(stream.named("snapshot")) == 1
