"""Deadlines of streams and the outlet of a task. The clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from api.stream.admission import Admission
from api.stream.encoder import SseEncoder
from api.stream.registry import StreamRegistry
from api.stream.task_outlet import TaskOutlet
from livestate.fanout.context import CommitRate
from livestate.fanout.frame import Frame
from livestate.fanout.hub import Hub
from livestate.state import narrowed, views
from livestate.state.access import Identity, Scope
from livestate.state.active_calls import ActiveCalls
from tests.calls import event

NOW = 1_795_000_000


class Clock:
    """In place of the verifier: it says only what time it is."""

    sessions = None

    def now(self) -> float:
        return NOW


class Outlet:
    """Takes everything, and keeps it."""

    closing = False
    unacknowledged = None

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.last = b""
        self.lost: Callable[[], None] | None = None

    def begin(
        self, head: bytes, frames: Sequence[Frame], *, gzip: bool, on_lost: Callable[[], None]
    ) -> None:
        self.lost = on_lost
        self.sent += [head, *frames]

    def ready(self) -> bool:
        return True

    def write(self, frames: list[Frame]) -> None:
        self.sent += frames

    def finish(self, frame: Frame) -> None:
        self.last = frame
        assert self.lost is not None
        self.lost()

    def abort(self) -> None:
        raise AssertionError("nothing stalls here")


def registry(seconds: float) -> StreamRegistry:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    hub = Hub(table, SseEncoder(lambda: NOW * 1000), rate=CommitRate(), heartbeat_seconds=1e6,
              loop=asyncio.get_running_loop())  # fmt: skip
    verifier: Any = Clock()
    return StreamRegistry(hub, verifier, seconds, 10, 10, 10, ready=lambda: True)


def admission(expires_in: float) -> Admission:
    identity = Identity("s", "noc", None, expires_at=NOW + expires_in)
    return Admission(identity, "token", Scope(), None, None, gzip=False)


@pytest.mark.parametrize(
    ("expires_in", "seconds", "reason", "early", "late"),
    [(100, 1_000, "expired", 99, 101), (10_000, 100, "rotation", 74, 101)],
)
async def test_a_stream_ends_at_the_earlier_of_its_deadlines(
    expires_in: float, seconds: float, reason: str, early: float, late: float
) -> None:
    streams, outlet = registry(seconds), Outlet()
    assert streams.open(admission(expires_in), outlet, b"head")
    assert outlet.sent[0] == b"head"
    now = asyncio.get_running_loop().time()
    streams.end_overdue(now + early)
    assert len(streams) == 1
    streams.end_overdue(now + late)
    assert reason.encode() in outlet.last
    assert len(streams) == 0
    assert streams.ended == {reason: 1}


async def test_a_task_gets_the_newest_state_when_it_has_sent_the_last_one() -> None:
    streams = registry(1_000)
    pieces = streams.frames(admission(1_000))
    first = [await anext(pieces) for _ in range(3)]
    assert [b"retry" in first[0], b"snapshot" in first[1], b"heartbeat" in first[2]] == [True] * 3
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert not waiting.done()
    (distributor,) = streams.hub.distributors.values()
    (producer,) = streams.hub.producers.values()
    producer.send_heartbeat()
    assert b"heartbeat" in await waiting
    producer.send_heartbeat()  # the task is still busy with the one before
    assert distributor.lagging
    assert b"heartbeat" in await anext(pieces)
    assert not distributor.lagging
    await pieces.aclose()
    assert len(streams) == 0


async def test_a_finished_outlet_sends_its_last_frame_only() -> None:
    outlet = TaskOutlet(gzip=False)
    outlet.write([Frame(b"a"), Frame(b"b")])
    sent = []
    async for piece in outlet.pieces():
        sent.append(piece)
        outlet.finish(Frame(b"goodbye"))
    assert sent == [b"a", b"goodbye"]


async def test_each_filter_that_a_user_may_have_is_admitted_while_more_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their views are made in slices while the streams wait: each is charged once."""
    for each in (narrowed, views):
        monkeypatch.setattr(each, "NARROWED_AT_ONCE", 2)
    streams = registry(1_000)
    table: Any = streams.hub.table
    for number in range(1, 10):
        table.apply(event("answered", number, dialog=f"{number}.1", call_id=f"c{number}"), number)
    identity = Identity("s", "noc", None, expires_at=NOW + 1_000)
    began = 0

    async def join(number: int) -> bytes:
        scope = Scope(trunks=frozenset({f"gw-{number}"}))
        asked = Admission(identity, "token", scope, None, None, gzip=False)
        assert not streams.open(asked, Outlet(), b"")
        frames = streams.frames(asked)
        nonlocal began
        first = await anext(frames)
        began += b"goodbye" not in first
        await asyncio.sleep(0.05)
        await frames.aclose()
        return first

    firsts = await asyncio.gather(*(join(number) for number in range(40)))
    assert began == streams.filters._most_per_user
    assert {first for first in firsts if b"goodbye" in first}.pop().count(b"overload") == 1
