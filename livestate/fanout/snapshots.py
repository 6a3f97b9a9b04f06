"""The snapshots of one view: each made once for all clients that join, and few of them in memory.

A snapshot of many calls is encoded in slices, from a list of calls that is taken at once. Clients
that join meanwhile get it when it is done, and what changed since as a diff, which they share too.

Memory: a large snapshot stays as long as one client still reads it, and a slow client may take
minutes. So the number of large ones a view and their bytes in all views are bounded. Within the
bound a client may get a cached snapshot that is older, and without one it is asked to come back.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Final, NamedTuple

from livestate.fanout.catch_up import CatchUpSource
from livestate.fanout.context import FanoutContext
from livestate.fanout.frame import Frame
from livestate.fanout.subscriber import Subscriber

FRESH_SECONDS: Final = 0.25  # a snapshot so young serves the next client that joins too
AT_ONCE: Final = 400  # calls: about 2 ms to encode; a larger snapshot is made in slices
LARGE_A_VIEW: Final = 3  # that clients are still reading


class Snapshot(NamedTuple):
    version: int
    frames: list[Frame]


class _Reading:
    """Lives as long as a client reads a large snapshot: its last part refers to it."""


class SnapshotCache:
    """The latest snapshot of one view, and the subscribers that wait for the next one."""

    def __init__(self, source: CatchUpSource, context: FanoutContext) -> None:
        self._source = source
        self._context = context
        self._latest: Snapshot | None = None
        self._made_at = 0.0
        self._large = weakref.WeakSet[_Reading]()
        self._making = False
        self._waiting: set[Subscriber] = set()

    def get(self) -> Snapshot | None:
        """A snapshot that is here or can be made at once; None where :meth:`request` is needed."""
        source, latest = self._source, self._latest
        if latest is not None and latest.version < source.floor:
            # It leads to no diff. To keep it would take the room of the one that is needed.
            self._latest = latest = None
        if latest is not None:
            fresh = self._context.loop.time() - self._made_at < FRESH_SECONDS
            if fresh or latest.version == source.version or not self._has_room():
                return latest
        if self._making or source.calls > AT_ONCE:
            return None
        self._context.snapshots += 1
        frames: list[Frame] = []
        version = source.version
        for _ in source.snapshot_steps(frames):
            pass
        return self._keep(version, frames)

    def request(self, subscriber: Subscriber) -> bool:
        """Have a large snapshot made in slices, and offer it to ``subscriber`` when it is. False
        where it may not be made now, because slow clients still read too many of them."""
        if not self._making:
            if not self._has_room():
                return False
            self._context.snapshots += 1
            self._making = True
            frames: list[Frame] = []
            version, steps = self._source.version, self._source.snapshot_steps(frames)
            self._context.slices.add(self._make(steps, version, frames))
        self._waiting.add(subscriber)
        return True

    def forget(self, subscriber: Subscriber) -> None:
        """It waits no longer; safe to call twice."""
        self._waiting.discard(subscriber)

    def evict(self, *, also_fresh: bool = False) -> None:
        """Let go of the latest snapshot, which no client may want again, unless it is fresh or
        no other could be made."""
        fresh = self._context.loop.time() - self._made_at < FRESH_SECONDS
        if also_fresh or (self._has_room() and not fresh):
            self._latest = None

    def _keep(self, version: int, frames: list[Frame]) -> Snapshot:
        self._latest, self._made_at = Snapshot(version, frames), self._context.loop.time()
        return self._latest

    def _has_room(self) -> bool:
        """Whether there is room for one more large snapshot. Filtered views, of which a few users
        can ask for many, leave half of the room to the others."""
        context, filtered = self._context, self._source.filtered
        if not filtered and not self._large:
            return True  # one each at least, or slow clients would lock all others out
        room = context.most_snapshot_bytes // (2 if filtered else 1)
        return len(self._large) < LARGE_A_VIEW and context.snapshot_bytes < room

    def _make(self, steps: Iterator[None], version: int, frames: list[Frame]) -> Iterator[None]:
        """Encode a large snapshot in slices, then offer it to all that wait for it."""
        for _ in steps:
            if not self._waiting:
                self._making = False
                return
            yield
        self._making = False
        reading = _Reading()
        frames[-1].kept = reading  # a client that reads the parts holds the last one until the end
        size = sum(map(len, frames))
        self._context.snapshot_bytes += size
        weakref.finalize(reading, self._context.release, size)
        self._large.add(reading)
        self._keep(version, frames)
        waiting, self._waiting = self._waiting, set()
        for subscriber in waiting:
            if subscriber.subscribed:
                subscriber.offer()
            yield
