"""What the producers and distributors of all views share: the loop, the rate, what feeds us.

Made once by the :class:`~livestate.fanout.hub.Hub`. Nothing here knows a call or a view.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from livestate.process.slices import Slices
from livestate.state.source import Source

UNCHECKED_SECONDS: Final = 3.0  # a source that was not checked for so long is not believed
SOON_SECONDS: Final = 0.004  # until something is tried again that could not be done just now


@dataclass(frozen=True, slots=True)
class CommitRate:
    """How often a producer may make a frame.

    The first change after a quiet time goes out at once. After that a commit (encoding and
    delivering one frame) may take a bounded share of the time: the next one begins ``headroom``
    times the last one's cost after it, but between ``shortest`` and ``longest`` seconds. Where
    even ``longest`` is too short for the number of clients, all of them slow down evenly.

    ``shortest`` is that of film and television, for people look at the frames. With 4 ms a client
    gets nearly each event in a frame of its own, and a quarter of its bytes say where a frame
    begins. A source that is paced already (an engine, to its edges) needs no second pause: each of
    its frames would wait for the one before it for ever once one was late. For the same reason
    commits are never quite ``longest`` apart.
    """

    shortest: float = 0.04
    longest: float = 0.1
    headroom: float = 4.0

    def after(self, cost: float) -> float:
        """Seconds from the beginning of a commit that took ``cost`` seconds to the next one."""
        wanted = min(max(self.shortest, self.headroom * cost), 0.9 * self.longest)
        return max(wanted, 1.5 * cost)


class Timer:
    """One callback that is due at the earliest of the times it was asked for."""

    __slots__ = ("_callback", "_due", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the handle fires; uvloop's handles do not always know

    @property
    def planned(self) -> bool:
        """Whether it will call back."""
        return self._handle is not None

    def at(self, when: float) -> None:
        """Call back at ``when`` (loop time) or earlier. A time that is over means the loop's next
        round, never at once: changes that were read together then share one frame."""
        if self._handle is not None:
            if when >= self._due:
                return
            self._handle.cancel()
        self._due = max(when, self._loop.time())
        self._handle = self._loop.call_at(self._due, self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()


@dataclass(slots=True)
class FanoutContext:
    """The means of all producers and distributors, the state of the source, and work counted."""

    loop: asyncio.AbstractEventLoop
    rate: CommitRate
    heartbeat_seconds: float
    checked: tuple[float, int]  # when the source was last checked: loop time, ms
    source: Source = field(default_factory=Source)
    commits: int = 0
    snapshots: int = 0
    most_snapshot_bytes: int = 128_000_000
    clock: Callable[[], float] = time.perf_counter  # seconds; what work costs is measured on it
    snapshot_bytes: int = 0  # of large snapshots that are cached, or that a client still reads
    slices: Slices = field(init=False)

    def __post_init__(self) -> None:
        self.slices = Slices(self.loop, self.clock)

    def release(self, size: int) -> None:
        """The last client has read, or left, a large snapshot of ``size`` bytes."""
        self.snapshot_bytes -= size

    def source_now(self) -> Source:
        """The source as last checked, or a silent one if that is too long ago: then our own loop
        was stuck (or the whole process was stopped), and what it knew before is out of date."""
        at, ms = self.checked
        if self.source.stale_since is None and self.loop.time() - at > UNCHECKED_SECONDS:
            return Source(ms)
        return self.source
