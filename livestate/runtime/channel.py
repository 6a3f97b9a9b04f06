"""One watched view: its frames, and the streams that get them.

A change marks the channel dirty by a plain call that cannot wait; a moment later the channel
**commits**: it encodes one frame from the version of its last commit to now, and offers it to its
subscribers.

A :class:`Subscriber` is a cursor and at most one frame in flight. One whose last frame has not
left is skipped, whatever happens meanwhile; when it is ready again it gets ``since(cursor)`` and
is up to date. So a slow client costs no memory, slows nobody, and gets the newest state.

Why a frame may be taken by a client that is ahead of its start: a frame holds the final value of
every field that changed at any time since the last commit, so to fold it from anywhere in between
gives the same state. A snapshot taken between two commits needs nothing special.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from livestate.active_calls import Change
from livestate.call import Call
from livestate.runtime.frame import Frame, Line
from livestate.view import View

Goodbye: TypeAlias = Literal[
    "drain", "rotation", "expired", "revoked", "overload", "starting", "stalled"
]
# Measured for a stream through ASGI, h11 and drain(): docs/decisions/0006.
SECONDS_A_TASK_DELIVERY: Final = 75e-6
SNAPSHOT_SECONDS: Final = 0.25  # a snapshot so young serves the next one who joins too
UNCHECKED_SECONDS: Final = 3.0  # a source that nobody has looked at for so long is not believed
_WHOLE: Final = None  # in place of a call before: the client needs the whole record


def _nobody() -> None:
    """Nobody is to be woken yet."""


class Source(NamedTuple):
    """Whether what we show is fed: since when it is not, ms since the epoch, or None."""

    stale_since: int | None = None


class Wire(Protocol):
    """How views become frames; ``api/stream.py`` has the one that speaks SSE."""

    def snapshot(self, view: View) -> list[Frame]: ...
    def diff(self, view: View, since: int, before: Mapping[str, Call | None]) -> Frame: ...
    def heartbeat(self, view: View, source: Source) -> Frame: ...
    def forget(self, key: str) -> None: ...
    def rest(self) -> None: ...


class Outlet(Protocol):
    """A way out that needs no task. ``write`` never waits; ``ready`` says that nothing of what
    was written before is still on its way out of this process."""

    def ready(self) -> bool: ...
    def write(self, frames: list[Frame]) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a channel may commit.

    The first change after quiet goes out at once. Then a commit may take a share of the time at
    most: ``headroom`` times what the last one cost, between ``shortest`` and ``longest`` seconds.
    Where even ``longest`` is too short for the clients there are, all slow down evenly.
    """

    shortest: float = 0.004
    longest: float = 0.1
    headroom: float = 4.0

    def after(self, cost: float) -> float:
        wanted = min(max(self.shortest, self.headroom * cost), self.longest)
        return max(wanted, 1.5 * cost)


@dataclass(slots=True)
class Broadcast:
    """What all channels share: their means, what is true of the source, and work done."""

    loop: asyncio.AbstractEventLoop
    wire: Wire
    pace: Pace
    heartbeat_seconds: float
    checked: tuple[float, int]  # when the source was last looked at: loop time, ms
    source: Source = field(default_factory=Source)
    commits: int = 0
    snapshots: int = 0

    def source_now(self) -> Source:
        """The source, unless whoever looks at it has not for long: then our loop was stuck (or
        the whole process stopped), and what it knew before is no news."""
        at, ms = self.checked
        if self.source.stale_since is None and self.loop.time() - at > UNCHECKED_SECONDS:
            return Source(ms)
        return self.source


class Subscriber:
    """One stream: its cursor, and where its bytes go once it has its first state."""

    __slots__ = ("channel", "cursor", "ended", "heartbeat_due", "outlet", "renamed", "wake")

    def __init__(self, channel: Channel, cursor: int | None) -> None:
        self.channel = channel
        # Called when there is something for the stream to do that the hub cannot do itself: to
        # write where it has no outlet, or to say goodbye. It must not wait.
        self.wake: Callable[[], None] = _nobody
        self.cursor = cursor  # None: needs a snapshot
        self.renamed = False  # its position is of the epoch before: it must learn the new name
        self.outlet: Outlet | None = None
        self.heartbeat_due = False
        self.ended: Goodbye | None = None

    def over(self) -> bool:
        return self.ended is not None

    @property
    def needs_snapshot(self) -> bool:
        return self.cursor is None or self.cursor < self.channel.view.floor

    def next_frames(self) -> list[Frame]:
        """What this stream lacks now, oldest first: parts of a snapshot, a diff, a heartbeat.
        Taking it moves the cursor, so the caller writes all of it or ends the stream."""
        channel = self.channel
        frames: list[Frame] = []
        if self.needs_snapshot:
            self.cursor, parts = channel.snapshot()
            frames += parts
        if self.cursor is not None and self.cursor < channel.committed:
            self.cursor, frame = channel.frame_from(self.cursor)
            frames.append(frame)
        elif self.cursor is not None and self.renamed:
            self.cursor, frame = channel.frame_to_now(self.cursor)
            frames.append(frame)
        self.renamed = False
        if self.heartbeat_due:
            self.heartbeat_due = False
            if self.cursor is not None and self.cursor < channel.view.version:
                # Its digest is of this moment; so must be what the client has when it compares.
                self.cursor, frame = channel.frame_to_now(self.cursor)
                frames.append(frame)
            frames.append(channel.heartbeat())
        return frames

    def attach(self, outlet: Outlet) -> None:
        """From now on the hub writes to ``outlet`` itself, with no task in between."""
        self.outlet = outlet
        self.offer()

    def offer(self) -> None:
        """Write what is due if the last write has left; else be one of those who lag."""
        outlet = self.outlet
        if outlet is None:
            self.wake()
        elif not outlet.ready():
            self.channel.lag(self)
        else:
            self.channel.lagging.discard(self)
            outlet.write(self.next_frames())

    def end(self, reason: Goodbye) -> None:
        """Silence at once; whoever holds the stream says goodbye and closes."""
        if self.ended is None:
            self.ended = reason
            self.channel.leave(self)
            self.outlet = None
            self.wake()

    def leave(self) -> None:
        """The stream is over, however it came; safe to call twice."""
        self.channel.leave(self)


class Channel:
    """One view that is watched: what changed since its last commit, and who watches."""

    def __init__(self, view: View, shared: Broadcast, unwatched: Callable[[Channel], None]) -> None:
        self.view = view
        self.subscribers: set[Subscriber] = set()
        self.lagging: set[Subscriber] = set()
        self.committed = view.version
        self._shared = shared
        self._unwatched = unwatched
        self._frame_start = view.version
        self._frame = Frame()
        self._line = Line()
        self._older: dict[int, tuple[int, Frame]] = {}  # cursor → frame, for who missed some
        self._before: dict[str, Call | None] = {}
        self._snapshot: tuple[int, float, list[Frame]] | None = None
        self._beat_frame: tuple[int, Frame] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when it fires; uvloop's handles do not always know
        self._beat_timer = shared.loop.call_later(shared.heartbeat_seconds, self._beat)
        self._last_commit = 0.0
        self._cost = 0.0

    def note(self, change: Change) -> None:
        """A change that this view can see. Never waits."""
        key, before = change.after.key, change.before
        # The whole record goes to who did not have it: it came from another scope, or is new.
        # Changed twice in one frame: a field that went there and back would be missing from the
        # difference, and a client that joined in between would keep the middle.
        known = before is not None and key not in self._before and self.view.holds(before)
        self._before[key] = before if known else _WHOLE
        self._schedule(self._last_commit + self._shared.pace.after(self._cost))

    def commit(self) -> None:
        """Encode what changed since the last commit, once, and offer it to everybody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        shared, view = self._shared, self.view
        started = self._last_commit = shared.loop.time()
        targets: Iterable[Subscriber] = self.lagging
        if view.version != self.committed:
            self._frame = shared.wire.diff(view, self.committed, self._before)
            self._line.add(self._frame)
            self._frame_start, self.committed = self.committed, view.version
            self._before = {}
            self._older.clear()
            shared.commits += 1
            targets = self.subscribers
        by_task = 0
        for subscriber in tuple(targets):
            subscriber.offer()
            by_task += subscriber.outlet is None
        # A stream with a task of its own costs its time later, outside this loop.
        self._cost = shared.loop.time() - started + by_task * SECONDS_A_TASK_DELIVERY
        if self.lagging:
            self._schedule(self._last_commit + shared.pace.longest)

    def lag(self, subscriber: Subscriber) -> None:
        """Its last write has not left; try again soon even if nothing changes any more."""
        self.lagging.add(subscriber)
        self._schedule(self._shared.loop.time() + self._shared.pace.longest)

    def frame_from(self, cursor: int) -> tuple[int, Frame]:
        """Where it leads, and the diff for a client at ``cursor``, shared by all who are there."""
        if cursor >= self._frame_start:
            return self.committed, self._frame
        return self._older.get(cursor) or self.frame_to_now(cursor)

    def frame_to_now(self, cursor: int) -> tuple[int, Frame]:
        """The same up to this moment, commit or not."""
        found = self._older.get(cursor)
        if found is None or found[0] != self.view.version:
            found = self.view.version, self._shared.wire.diff(self.view, cursor, {})
            self._older[cursor] = found
        return found

    def snapshot(self) -> tuple[int, list[Frame]]:
        """A snapshot and its version. A recent one serves all who join in a storm: what they
        miss is a diff, which they share too."""
        shared, now = self._shared, self._shared.loop.time()
        if self._snapshot is not None:
            version, made, parts = self._snapshot
            recent = version == self.view.version or now - made < SNAPSHOT_SECONDS
            if recent and version >= self.view.floor:
                return version, parts
        shared.snapshots += 1
        parts = shared.wire.snapshot(self.view)
        self._snapshot = (self.view.version, now, parts)
        return self.view.version, parts

    def heartbeat(self) -> Frame:
        version = self.view.version
        if self._beat_frame is None or self._beat_frame[0] != version:
            self._beat_frame = (
                version,
                self._shared.wire.heartbeat(self.view, self._shared.source_now()),
            )
        return self._beat_frame[1]

    def beat(self) -> None:
        """A heartbeat to every stream; with it the digest, so what is pending goes out first."""
        self.commit()
        self._beat_frame = None
        self._line.add(self.heartbeat())
        for subscriber in tuple(self.subscribers):
            subscriber.heartbeat_due = True
            subscriber.offer()

    def leave(self, subscriber: Subscriber) -> None:
        self.lagging.discard(subscriber)
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            if not self.subscribers:
                self._close()

    def _beat(self) -> None:
        self._beat_timer = self._shared.loop.call_later(self._shared.heartbeat_seconds, self._beat)
        self._snapshot = None  # megabytes that nobody may want again
        self.beat()

    def _schedule(self, when: float) -> None:
        loop = self._shared.loop
        if self._timer is not None:
            if when >= self._due:
                return
            self._timer.cancel()
        # Never at once but in the loop's next round: what came in the same read goes together.
        self._due = max(when, loop.time())
        self._timer = loop.call_at(self._due, self.commit)

    def _close(self) -> None:
        self._beat_timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._unwatched(self)
