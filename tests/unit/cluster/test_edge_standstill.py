"""A process that serves from a leader's frames stood still: what clients see right afterwards.

It is an edge, or a single process beside the one that leads. While it stands still, another process
shows newer calls, and clients that have seen those connect to this one. When it goes on, its
buffers hold old frames and old beats, and it may not take them for news.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import fields
from typing import Any

import pytest

from api.cli.child_service import Instance
from livestate.client import Fold, ServerEvent
from tests.harness import Stream
from tests.unit.cluster.test_beside import Beside, serves
from tests.unit.cluster.test_moves import Client, until_writer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
STANDS_SECONDS = 7.0  # longer than the silence of an engine, a lease, and a fall back
HAPPENINGS = 100  # each of ten events


class Judge(Fold):
    """A dashboard that notes what it was shown as live though it is over."""

    __slots__ = ("now", "resumed", "wanted", "wrong")

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[str, str] | None = None
        self.wrong: list[str] = []
        self.resumed = False

    def fold_decoded(self, event: ServerEvent, data: Any) -> Any:
        found = super().fold_decoded(event, data)
        if self.wanted is None or not self.complete:
            return found
        shown = {one["call_id"]: one["state"] for one in self.calls.values()}
        old = len(self.wanted.items() ^ shown.items())
        if old and event.name == "heartbeat" and data["source"] == "live":
            self.wrong.append(f"live, but {old} calls differ")
        if old and self.resumed and event.name in ("snapshot", "diff"):
            self.wrong.append(f"a {event.name} takes {old} calls back")
        return found


async def edges(beside: Beside) -> tuple[Instance, Instance]:
    engine, still, other = map(beside.process, ("engine", "edge", "edge"))
    await beside.up(engine, still, other)
    await until_writer(engine)
    return still, other


async def single_processes(beside: Beside) -> tuple[Instance, Instance]:
    leader, still = await beside.pair()
    return still, leader


async def judged(stack: AsyncExitStack, client: Client, at: Instance, judge: Judge) -> Stream:
    """A stream of this client, from where its dashboard is."""
    last = {"Last-Event-ID": judge.last_id} if judge.last_id else {}
    stream = await Stream.open(
        at.url, client.token(at), query=client.query, headers=last, dashboard=judge
    )
    return await stack.enter_async_context(stream)


def moved(client: Client) -> Judge:
    """The dashboard of a client that was elsewhere."""
    assert client.fold is not None
    judge = Judge()
    for each in fields(Fold):
        setattr(judge, each.name, getattr(client.fold, each.name))
    judge.resumed = True
    return judge


@pytest.mark.parametrize("kind", ["edge", "single"])
async def test_what_was_buffered_is_not_shown_as_new(beside: Beside, kind: str) -> None:
    still, other = await (edges(beside) if kind == "edge" else single_processes(beside))
    await beside.look(still, other)
    async with AsyncExitStack() as stack:
        stayed = []
        for client in beside.clients:
            stayed.append(await judged(stack, client, still, Judge()))
            wanted = client.of(beside.day.calls)
            await stayed[-1].until(lambda s, w=wanted: s.states == w)  # type: ignore[misc]
        still.pause()
        beside.day.node.hurried = True
        for _ in range(HAPPENINGS):
            await beside.day.happen()
            await asyncio.sleep(STANDS_SECONDS / HAPPENINGS)
        beside.day.node.hurried = False
        await beside.look(other)
        opening = []
        for client in beside.clients:
            for judge in (moved(client), Judge()):
                judge.wanted = client.of(beside.day.calls)
                opening.append(asyncio.create_task(judged(stack, client, still, judge)))
        judges = [stream.dashboard for stream in stayed]
        for client, judge in zip(beside.clients, judges, strict=True):
            assert isinstance(judge, Judge)
            judge.wanted = client.of(beside.day.calls)
        await asyncio.sleep(0.5)  # their requests wait
        still.resume()
        streams = [*stayed, *await asyncio.gather(*opening)]
        for stream in streams:
            judge = stream.dashboard
            assert isinstance(judge, Judge)
            await stream.until(
                lambda s, w=judge.wanted: s.states == w and s.dashboard.source == "live",  # type: ignore[misc]
                20,
            )
            assert not judge.wrong
            assert judge.diverged == 0
            assert not (judge.resumed and stream.named("snapshot"))
        for stream in stayed:
            said = [one["source"] for one in stream.named("heartbeat")]
            assert "stale" in said, "it was blind for longer than it may be"
            assert len(stream.named("snapshot")) == 1
    if kind == "single":
        await serves(still, "leader")
    await beside.look(still, other, still)
