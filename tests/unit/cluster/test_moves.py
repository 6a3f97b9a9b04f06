"""Clients go from edges to a single process of the same Redis, back, and over its restart.

They stand behind Caddy, which is the only address that they know, and have filters. Each gets one
diff, whichever process answers.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.cli.child_service import Instance
from livestate.client import Fold
from tests.faults.caddy import Caddy
from tests.harness import Node, Stream, agrees
from tests.unit.cluster.test_roles import Cluster, until_written
from tests.unit.cluster.test_takeovers import status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
COMPANY = "moves"


class Client:
    """One login with one filter, and what it has folded."""

    def __init__(self, role: str, state: str | None) -> None:
        self.role, self.state = role, state
        self.fold: Fold | None = None
        self.query = {"company_id": COMPANY} if role == "noc" else {}
        self.query |= {"state": state} if state else {}

    def token(self, of: Instance) -> str:
        claims = {"company_id": COMPANY} if self.role == "user" else {}
        return of.token(self.role, **claims)

    async def looks(self, url: str, at: Instance, calls: dict[str, str]) -> Stream:
        """Connect, from where it was, and see the calls; the stream."""
        token, last = self.token(at), self.fold.last_id if self.fold is not None else ""
        stream = await Stream.open(
            url, token, query=self.query, dashboard=self.fold,
            headers={"Last-Event-ID": last} if last else {},
        )  # fmt: skip
        wanted = self.of(calls)
        await stream.until(lambda s: s.states == wanted, 30)
        await agrees(at, stream, token, self.query)
        return stream

    def of(self, calls: dict[str, str]) -> dict[str, str]:
        return {name: one for name, one in calls.items() if self.state in (None, one)}


class Day:
    """The calls that are up, by their names."""

    def __init__(self, node: Node) -> None:
        self.node, self.number = node, 0
        self.calls: dict[str, str] = {}

    async def happen(self) -> None:
        """A call rings that rang, one is answered, one ends, and one changes its state twice."""
        for _ in range(3):
            self.number += 1
            await self.node.call(f"{self.number}.1", state="ringing", company_id=COMPANY)
            self.calls[f"{self.number}.1@n1"] = "ringing"
        await self._say("answered", self.number)
        await self._say("answered", self.number - 1)
        await self._say("ended", self.number - 1)

    async def _say(self, phase: str, number: int) -> None:
        await self.node.say(phase, f"{number}.1", company_id=COMPANY)
        if phase == "ended":
            del self.calls[f"{number}.1@n1"]
        else:
            self.calls[f"{number}.1@n1"] = phase

    async def list(self) -> None:
        items: list[dict[str, Any]] = [
            {"dialog": name.partition("@")[0], "call_id": name, "state": state,
             "company_id": COMPANY}
            for name, state in self.calls.items()
        ]  # fmt: skip
        await self.node.list(*items)


async def until_writer(process: Instance) -> None:
    """After a kill, the lease of the one before runs out first: Redis has no position of a process
    that has not written yet."""
    async with asyncio.timeout(30):
        while (await status(process))["redis"]["standby"]:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("death", ["stop", "kill"])
async def test_clients_move_between_edges_and_a_single_process(tmp_path: Path, death: str) -> None:
    async with AsyncExitStack() as stack:
        world = Cluster(stack, tmp_path)
        await asyncio.gather(*map(stack.enter_async_context, (world.nats, world.redis)))
        node = await stack.enter_async_context(
            await Node.connect(world.nats.url_of("bridge"), "n1")
        )
        engine, edge = world.instance("engine", "livestate"), world.instance("edge", "edge")
        single = world.instance("all", "livestate")
        for each in (engine, edge, single):
            stack.push_async_callback(each.close)
        caddy = await stack.enter_async_context(Caddy(edge.port, single.port))
        day = Day(node)
        clients = [Client(role, state) for role in ("noc", "user")
                   for state in (None, "answered", "ringing")]  # fmt: skip
        for serving in ((engine, edge), (single,), (single,), (engine, edge)):
            for each in serving:
                await each.start()
            await serving[0].until_connected()
            await day.list()
            for each in serving:
                await each.until_ready(60)
            await day.happen()
            for client in clients:
                stream = await client.looks(caddy.url, serving[-1], day.calls)
                async with stream:
                    if client.fold is not None:
                        assert not stream.named("snapshot"), (serving, client.query, client.role)
                    client.fold = stream.dashboard
                    assert client.fold.diverged == 0
            await until_writer(serving[0])
            await until_written(serving[0])
            for each in serving:
                await getattr(each, death)()
