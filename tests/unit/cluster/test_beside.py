"""A single process beside the one that leads: clients go from any to any, and get one diff.

The one that leads is an engine with an edge, or another single process. Real servers, with the
shipped rights; the clients of a day have filters.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.cli.child_service import Instance
from api.cli.running import running
from api.environment import from_environment
from tests.faults.caddy import Caddy
from tests.harness import Node, Stream, metrics
from tests.unit.cluster.test_moves import Client, Day, until_writer
from tests.unit.cluster.test_roles import Cluster, until_written
from tests.unit.cluster.test_takeovers import status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Beside:
    """Servers, a day of calls, and six clients; processes are started by the tests."""

    def __init__(self, stack: AsyncExitStack, home: Path) -> None:
        self.stack, self.world = stack, Cluster(stack, home)

    async def start(self) -> None:
        await asyncio.gather(
            *map(self.stack.enter_async_context, (self.world.nats, self.world.redis))
        )
        bridge = self.world.nats.url_of("bridge")
        node = await self.stack.enter_async_context(await Node.connect(bridge, "n1"))
        self.day = Day(node)
        self.clients = [Client(role, state) for role in ("noc", "user")
                        for state in (None, "answered", "ringing")]  # fmt: skip

    def process(self, role: str, **settings: str) -> Instance:
        made = self.world.instance(role, "edge" if role == "edge" else "livestate")
        made.environment = {
            **(made.environment or {}),
            **{f"LIVESTATE_{name}": one for name, one in settings.items()},
        }
        self.stack.push_async_callback(made.close)
        return made

    async def up(self, *processes: Instance) -> None:
        for each in processes:
            await each.start()
            if (await status(each)).get("role") != "edge":
                await each.until_connected()
        await self.day.list()
        for each in processes:
            await each.until_ready(60)

    async def pair(self) -> tuple[Instance, Instance]:
        """A single process that leads, and one beside it."""
        one, two = self.process("all"), self.process("all")
        await self.up(one)
        await until_writer(one)
        await self.up(two)
        await serves(two, "leader")
        return one, two

    async def look(self, *where: Instance, snapshots: bool = False, url: str | None = None) -> None:
        """All clients connect to one process after the other, and see what has happened."""
        for at in where:
            await self.day.happen()
            for client in self.clients:
                stream = await client.looks(url or at.url, at, self.day.calls)
                async with stream:
                    if client.fold is not None and not snapshots:
                        said = client.query, client.role, await status(at)
                        assert not stream.named("snapshot"), said
                    client.fold = stream.dashboard
                    assert client.fold.diverged == 0


async def serves(process: Instance, what: str, seconds: float = 15) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while (found := (await status(process))["served"])["serves"] != what:
            await asyncio.sleep(0.05)
    return dict(found)


async def doctor(process: Instance, verdict: str) -> list[str]:
    """What ``livestate doctor`` says of a running process."""
    settings, _ = from_environment(
        {"LIVESTATE_ADMIN_BIND": process.admin_url.removeprefix("http://")}
    )
    return [one.what for one in await running(settings) if one.verdict == verdict]


@pytest.mark.parametrize("first", ["edge", "engine"])
async def test_clients_move_to_a_single_process_beside_an_engine_and_back(
    beside: Beside, first: str
) -> None:
    """Whichever of the roles is started first."""
    engine, edge, single = map(beside.process, ("engine", "edge", "all"))
    if first == "edge":
        await edge.start()
        await beside.up(engine)
        await edge.until_ready(30)
    else:
        await beside.up(engine, edge)
    await until_writer(engine)
    await beside.up(single)
    await serves(single, "leader")
    assert (await status(single))["redis"]["standby"]
    await beside.look(edge, single, edge, single, single, edge)
    assert (await metrics(single))["livestate_served_from_leader"] == 1
    assert any("its clients are served from what that one publishes" in said
               for said in await doctor(single, "good"))  # fmt: skip


@pytest.mark.parametrize("death", ["stop", "kill"])
async def test_clients_move_between_two_single_processes(beside: Beside, death: str) -> None:
    one, two = beside.process("all"), beside.process("all")
    await beside.up(one)
    await until_writer(one)
    await serves(one, "own")
    await beside.up(two)
    await serves(two, "leader")
    await beside.look(one, two, one, two)
    await until_written(one)
    await getattr(one, death)()
    await beside.look(two)  # while it takes over, or after
    await until_writer(two)
    await serves(two, "own")
    await beside.look(two)
    await beside.up(one)
    await serves(one, "leader")
    await beside.look(one, two, one)


async def test_streams_stay_right_while_the_leader_dies(beside: Beside) -> None:
    """Of clients that are connected to the process that takes over."""
    one, two = await beside.pair()
    await beside.look(two)
    for client in beside.clients:
        client.fold = None
    async with AsyncExitStack() as streams:
        opened = []
        for client in beside.clients:
            stream = await client.looks(two.url, two, beside.day.calls)
            opened.append(await streams.enter_async_context(stream))
            client.fold = stream.dashboard
        await until_written(one)
        await one.kill()
        await until_writer(two)
        await beside.day.happen()
        for client, stream in zip(beside.clients, opened, strict=True):
            wanted = client.of(beside.day.calls)
            await stream.until(lambda s, w=wanted: s.states == w or any(s.named("goodbye")), 20)
            assert len(stream.named("snapshot")) == 1
            assert client.fold is not None
            assert client.fold.diverged == 0
        await serves(two, "own")
    await beside.look(two)


async def test_a_leader_that_was_stopped_shows_nothing_old(beside: Beside) -> None:
    """Requests waited for it, of clients that have seen the calls of the next leader."""
    one, two = await beside.pair()
    await beside.look(one)
    await until_written(one)
    one.pause()
    await until_writer(two)
    await serves(two, "own")
    await beside.look(two)
    async with AsyncExitStack() as streams:
        opening = []
        for client in beside.clients:
            assert client.fold is not None
            opening.append(asyncio.create_task(Stream.open(
                one.url, client.token(one), query=client.query, dashboard=client.fold,
                headers={"Last-Event-ID": client.fold.last_id},
            )))  # fmt: skip
        await asyncio.sleep(3)  # also longer than it waits for another one before it is alone
        one.resume()
        for client, task in zip(beside.clients, opening, strict=True):
            stream = await streams.enter_async_context(await task)
            wanted = client.of(beside.day.calls)
            await stream.until(
                lambda s, w=wanted: any(s.named("goodbye")) or (s.states == w and s.events), 20
            )
            assert not stream.named("snapshot")
            assert stream.states == wanted
    await serves(one, "leader")
    await beside.look(one, two, one)


async def test_caddy_mixes_an_edge_and_a_single_process(beside: Beside) -> None:
    engine, edge, single = map(beside.process, ("engine", "edge", "all"))
    await beside.up(engine, edge)
    await until_writer(engine)
    await beside.up(single)
    await serves(single, "leader")
    caddy = await beside.stack.enter_async_context(Caddy(edge.port, single.port))
    for _ in range(4):
        await beside.look(edge, url=caddy.url)
    for process in (edge, single):
        opened = await metrics(process)
        assert sum(n for name, n in opened.items() if name.startswith("livestate_sse_resumes")) > 2


async def test_without_the_rights_it_serves_its_own_calls_and_says_so(
    beside: Beside, tmp_path: Path
) -> None:
    """NATS rights that an operator wrote before single processes needed these."""
    nats = beside.world.nats
    written = tmp_path / "nats.conf"
    text = written.read_text()
    kept = [line for line in text.splitlines()
            if '"livestate.' not in line or 'subscribe: ["livestate.engine' in line]  # fmt: skip
    assert len(kept) < len(text.splitlines())
    written.write_text("\n".join(kept))
    await nats.stop()
    await nats.start()
    one, two = beside.process("all"), beside.process("all")
    await beside.up(one)
    await until_writer(one)
    await beside.up(two)
    found = await serves(two, "own")
    assert "permissions violation" in (found["trouble"] or "").lower()
    assert (await metrics(two))["livestate_served_from_leader"] == 0
    assert any("which it cannot follow" in said for said in await doctor(two, "odd"))
    assert any("may not publish to others" in said for said in await doctor(one, "odd"))
    await beside.look(one, two, snapshots=True)
