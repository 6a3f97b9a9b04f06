"""How the distributor divides its work. The source and the clock are of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from livestate.fanout.context import CommitRate, FanoutContext
from livestate.fanout.distributor import OFFER_SECONDS, Distributor
from livestate.fanout.frame import Frame

STREAMS = 100
DIFF_SECONDS = 0.003  # what a diff of 500 calls takes


class Source:
    """A view of which each stream has seen another part."""

    tag, version, floor, calls, filtered = "t", 1_000, 0, 50_000, False

    def __init__(self) -> None:
        self.now = 0.0

    def can_resume(self, tag: str, version: int) -> bool:
        return True

    def since(self, version: int) -> Frame:
        self.now += DIFF_SECONDS
        frame = Frame(b"data: {}\n\n")
        frame.from_version, frame.to_version = version, self.version
        return frame

    def snapshot_steps(self, frames: list[Frame]) -> Iterator[None]:
        raise NotImplementedError

    def heartbeat(self) -> Frame:
        return Frame(b"event: heartbeat\n\n")


class Outlet:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.taken = 0

    def ready(self) -> bool:
        return True

    def write(self, frames: list[Frame]) -> None:
        self.taken += len(frames)


async def test_streams_that_lack_long_diffs_take_steps_of_their_own() -> None:
    source = Source()
    context = FanoutContext(asyncio.get_running_loop(), CommitRate(), 10.0, (0.0, 0),
                            clock=lambda: source.now)  # fmt: skip
    distributor = Distributor(source, context, lambda: None)
    outlets = []
    for cursor in range(STREAMS):
        subscriber = distributor.subscribe(("t", cursor))
        subscriber.outlet = Outlet()
        outlets.append(subscriber.outlet)
    frame = Frame(b"data: {}\n\n")
    frame.from_version, frame.to_version = 999, 1_000
    longest, began = 0.0, source.now
    for _ in distributor.deliver(frame):
        longest, began = max(longest, source.now - began), source.now
    assert longest <= OFFER_SECONDS + DIFF_SECONDS
    assert [outlet.taken for outlet in outlets] == [1] * STREAMS


async def test_a_stream_that_leaves_between_two_steps_gets_nothing_more() -> None:
    source = Source()
    context = FanoutContext(asyncio.get_running_loop(), CommitRate(), 10.0, (0.0, 0),
                            clock=lambda: source.now)  # fmt: skip
    distributor = Distributor(source, context, lambda: None)
    outlets = {}
    for cursor in range(10):
        subscriber = distributor.subscribe(("t", cursor))
        outlets[subscriber] = subscriber.outlet = Outlet()
    frame = Frame(b"data: {}\n\n")
    frame.from_version, frame.to_version = 999, 1_000
    steps = distributor.deliver(frame)
    next(steps)
    waiting = [one for one, outlet in outlets.items() if not outlet.taken]
    assert waiting
    waiting[-1].leave()
    for _ in steps:
        pass
    assert [outlet.taken for one, outlet in outlets.items() if one is not waiting[-1]] == [1] * 9
    assert not outlets[waiting[-1]].taken
