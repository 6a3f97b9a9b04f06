"""A view that is nothing but numbers, and streams that check each frame that they get.

A frame says only from which version it leads to which, so what a client would show follows from the
versions alone. Nothing of the code under test is used to judge it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

from livestate.fanout.context import CommitRate, FanoutContext
from livestate.fanout.distributor import Distributor
from livestate.fanout.frame import Frame
from livestate.fanout.subscriber import Goodbye, Subscriber
from tests.dashboards import Loop


class Numbers:
    """The source of a distributor: ``version`` counts its changes."""

    filtered = False

    def __init__(self, *, calls: int = 10, most: int = 1_000_000) -> None:
        self.tag, self.former_tag = "now", "before"
        self.version = 10
        self.floor = 0
        self.calls = calls
        self.most = most  # changes in one diff
        self.encoded: list[tuple[int, int]] = []
        self.snapshots = 0

    def can_resume(self, tag: str, version: int) -> bool:
        return tag in (self.tag, self.former_tag) and self.floor <= version <= self.version

    def since(self, version: int) -> Frame:
        assert version >= self.floor
        self.encoded.append((version, self.version))
        frame = framed("whole", version, min(self.version, version + self.most))
        frame.kept = self.version
        return frame

    def snapshot_steps(self, frames: list[Frame]) -> Iterator[None]:
        self.snapshots += 1
        return self._parts(self.version, frames)  # of this moment, whenever the steps are taken

    def _parts(self, version: int, frames: list[Frame]) -> Iterator[None]:
        for part in (1, 2, 3):
            frames.append(framed("snapshot", version, part))
            yield

    def heartbeat(self) -> Frame:
        return framed("heartbeat", self.version)


def framed(name: str, *numbers: int) -> Frame:
    frame = Frame(" ".join([name, *map(str, numbers)]).encode())
    if name in ("live", "whole"):
        frame.from_version, frame.to_version = numbers
    return frame


class Screen:
    """One stream: what it may get depends on where it is. ``blocked``: its writes do not leave."""

    def __init__(self, stage: Stage, position: tuple[str, int] | None, *, beat: bool) -> None:
        self.source = stage.source
        self.at = position[1] if position else None
        self.tag = position[0] if position else ""
        self.rest = False  # it has had some of a diff that was too long for one frame
        self.blocked = False
        self.got: list[str] = []
        self.beats = 0
        self.ends: list[Goodbye] = []
        self.subscriber: Subscriber = stage.distributor.subscribe(position)
        if self.subscriber.cursor is None:
            self.at = None
        self.subscriber.heartbeat_due = beat
        self.write(self.subscriber.next_frames())
        self.subscriber.attach(self, self.ends.append)

    def ready(self) -> bool:
        return not self.blocked

    def write(self, frames: list[Frame]) -> None:
        for frame in frames:
            name, *numbers = frame.decode().split()
            self.got.append(frame.decode())
            self.take(name, [int(number) for number in numbers], frame.kept)

    def take(self, name: str, numbers: list[int], made_at: object) -> None:
        first = numbers[0]
        if name == "snapshot":
            self.at = first if numbers[1] == 3 else None
            self.tag, self.rest = self.source.tag, False
            return
        assert self.at is not None, f"{name} before a snapshot was whole"
        if name == "heartbeat":
            assert (self.at, self.rest) == (first, False), "its digest is of this moment"
            self.beats += 1
            return
        assert self.at >= self.source.floor, "a removal that was forgotten is missing from it"
        assert first <= self.at <= numbers[1], f"at {self.at}: {name} {numbers}"
        if name == "live":
            assert not self.rest, "a call that changed twice is not known here yet"
        else:
            self.rest = numbers[1] != made_at
        self.at, self.tag = numbers[1], self.source.tag


class Stage:
    """A distributor of numbers, and its screens."""

    def __init__(self, source: Numbers | None = None, *, room: int = 128_000_000) -> None:
        self.loop = Loop()
        self.source = source or Numbers()
        self.context = FanoutContext(
            cast("asyncio.AbstractEventLoop", self.loop), CommitRate(), 10.0, (0.0, 0),
            clock=self.loop.time, most_snapshot_bytes=room,
        )  # fmt: skip
        self.empty = 0
        self.distributor = Distributor(self.source, self.context, self.left)
        self.screens: list[Screen] = []

    def left(self) -> None:
        self.empty += 1

    def join(self, position: tuple[str, int] | None = None, *, beat: bool = False) -> Screen:
        self.screens.append(Screen(self, position, beat=beat))
        return self.screens[-1]

    def change(self, times: int = 1, *, commit: bool = True) -> float:
        """The view changes, and its producer commits; the seconds that the delivery took."""
        self.source.version += times
        return self.commit() if commit else 0.0

    def commit(self) -> float:
        first = max(self.distributor.head, self.source.floor)
        return drained(self.distributor.deliver(framed("live", first, self.source.version)))


def drained(steps: object) -> float:
    while True:
        try:
            next(steps)  # type: ignore[call-overload]
        except StopIteration as done:
            return float(done.value)
