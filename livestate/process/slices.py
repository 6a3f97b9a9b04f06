"""Runs long work in slices of a few milliseconds a round of the event loop, so nothing waits long.

Some work is as large as the table: a snapshot of 50,000 calls, marking all calls of a node that
fell silent. Done in one callback it would hold the loop, and every dashboard, for as long. So it
is written as an iterator whose steps are short, and :class:`Slices` runs the steps of all such
work in turn. Between two rounds the loop reads its sockets and runs its other callbacks.

A step must leave everything consistent: other callbacks run between two steps and may change the
table. What that means for a list of calls is written where the steps are made
(:mod:`livestate.state.active_calls`, :mod:`livestate.fanout.snapshots`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

SLICE_SECONDS: Final = 0.004  # of work a round; other callbacks wait at most this long


class Slices:
    """The work in progress, one step of each in turn."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._work: deque[Iterator[object]] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._work)

    def start(self, work: Iterator[object]) -> bool:
        """Run ``work`` now for one slice, and the rest of it in later rounds. True if it is done
        already, as most work is."""
        if _run(work, self._clock, self._clock() + SLICE_SECONDS):
            return True
        self.add(work)
        return False

    def add(self, work: Iterator[object]) -> None:
        """Run ``work`` in later rounds."""
        self._work.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(0, self._round)

    def _round(self) -> None:
        """One slice: a step of each piece of work in turn, until the time is used up."""
        self._scheduled = False
        until = self._clock() + SLICE_SECONDS
        try:
            while self._work:
                work = self._work.popleft()
                if next(work, _DONE) is not _DONE:
                    self._work.append(work)
                if self._clock() >= until:
                    return
        finally:
            if self._work:  # also when a step raised: the other work goes on
                self._schedule()


_DONE: Final = object()


def _run(work: Iterator[object], clock: Callable[[], float], until: float) -> bool:
    while next(work, _DONE) is not _DONE:
        if clock() >= until:
            return False
    return True
