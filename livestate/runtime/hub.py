"""Fan-out: every change once to every stream that may see it, as shared bytes.

One :class:`Channel` for each view that somebody watches. A change marks its channels dirty by a
plain call that cannot wait; a moment later the channel **commits**: it encodes one frame from the
version of its last commit to now, and offers it to its subscribers.

A :class:`Subscriber` is a cursor and at most one frame in flight. One whose last frame has not
left is skipped, whatever happens meanwhile; when it is ready again it gets ``since(cursor)`` and
is up to date. So a slow client costs no memory, slows nobody, and gets the newest state.

Why a frame may be taken by a client that is ahead of its start: a frame holds the final value of
every field that changed at any time since the last commit, so to fold it from anywhere in between
gives the same state. A snapshot taken between two commits needs nothing special.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from livestate.access import Scope
from livestate.active_calls import ActiveCalls, Change, View
from livestate.call import Call

Goodbye: TypeAlias = Literal[
    "drain", "rotation", "expired", "revoked", "overload", "starting", "slow"
]
_WHOLE: Final = None  # in place of a call before: the client needs the whole record


class Source(NamedTuple):
    """Whether what we show is fed: since when it is not, ms since the epoch, or None."""

    stale_since: int | None = None


class Wire(Protocol):
    """How views become frames; ``api/stream.py`` has the one that speaks SSE."""

    def snapshot(self, view: View) -> list[bytes]: ...
    def diff(self, view: View, since: int, before: Mapping[str, Call | None]) -> bytes: ...
    def heartbeat(self, view: View, source: Source) -> bytes: ...
    def forget(self, key: str) -> None: ...
    def rest(self) -> None: ...


class Outlet(Protocol):
    """A way out that needs no task. ``write`` never waits; ``ready`` says that nothing of what
    was written before is still on its way out of this process."""

    def ready(self) -> bool: ...
    def write(self, frame: bytes) -> None: ...


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


class Subscriber:
    """One stream: its cursor, and where its bytes go once it has its first state."""

    __slots__ = ("channel", "cursor", "ended", "heartbeat_due", "outlet", "renamed", "wake")

    def __init__(self, channel: Channel, cursor: int | None) -> None:
        self.channel = channel
        self.cursor = cursor  # None: needs a snapshot
        self.renamed = False  # its position is of the epoch before: it must learn the new name
        self.outlet: Outlet | None = None
        self.heartbeat_due = False
        self.ended: Goodbye | None = None
        self.wake = asyncio.Event()

    def over(self) -> bool:
        return self.ended is not None

    @property
    def needs_snapshot(self) -> bool:
        return self.cursor is None or self.cursor < self.channel.view.floor

    def next_frames(self) -> list[bytes]:
        """What this stream lacks now, oldest first: parts of a snapshot, a diff, a heartbeat.
        Taking it moves the cursor, so the caller writes all of it or ends the stream."""
        channel = self.channel
        frames: list[bytes] = []
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
        """From now on the hub writes to ``outlet`` itself, with no task in between, until
        ``wake`` is set: then this stream's own task is needed again."""
        self.wake.clear()
        self.outlet = outlet
        self.offer()

    def offer(self) -> None:
        """Write what is due if the last write has left; else be one of those who lag."""
        outlet = self.outlet
        if outlet is None:
            self.wake.set()
        elif not outlet.ready():
            self.channel.lag(self)
        elif self.needs_snapshot:
            # Its parts are to be written one at a time: that is for a task that can wait.
            self.outlet = None
            self.wake.set()
        else:
            self.channel.lagging.discard(self)
            for frame in self.next_frames():
                outlet.write(frame)

    def end(self, reason: Goodbye) -> None:
        """Silence at once; the stream's own task says goodbye and closes."""
        if self.ended is None:
            self.ended = reason
            self.channel.leave(self)
            self.outlet = None
            self.wake.set()

    def leave(self) -> None:
        """The stream is over, however it came; safe to call twice."""
        self.channel.leave(self)


class Channel:
    """One view that is watched: what changed since its last commit, and who watches."""

    def __init__(self, hub: Hub, view: View) -> None:
        self.view = view
        self.subscribers: set[Subscriber] = set()
        self.lagging: set[Subscriber] = set()
        self.committed = view.version
        self._hub = hub
        self._frame_start = view.version
        self._frame = b""
        self._older: dict[int, tuple[int, bytes]] = {}  # cursor → frame, for who missed some
        self._before: dict[str, Call | None] = {}
        self._snapshot: tuple[int, float, list[bytes]] | None = None
        self._beat_frame: tuple[int, bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when it fires; uvloop's handles do not always know
        self._beat_timer = hub.loop.call_later(hub.heartbeat_seconds, self._beat)
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
        self._schedule(self._last_commit + self._hub.pace.after(self._cost))

    def commit(self) -> None:
        """Encode what changed since the last commit, once, and offer it to everybody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        hub, view = self._hub, self.view
        started = self._last_commit = hub.loop.time()
        targets: Iterable[Subscriber] = self.lagging
        if view.version != self.committed:
            self._frame = hub.wire.diff(view, self.committed, self._before)
            self._frame_start, self.committed = self.committed, view.version
            self._before = {}
            self._older.clear()
            hub.commits += 1
            targets = self.subscribers
        by_task = 0
        for subscriber in tuple(targets):
            subscriber.offer()
            by_task += subscriber.outlet is None
        # A stream with a task of its own costs its time later, outside this loop.
        self._cost = hub.loop.time() - started + by_task * hub.seconds_per_task_delivery
        if self.lagging:
            self._schedule(self._last_commit + hub.pace.longest)

    def lag(self, subscriber: Subscriber) -> None:
        """Its last write has not left; try again soon even if nothing changes any more."""
        self.lagging.add(subscriber)
        self._schedule(self._hub.loop.time() + self._hub.pace.longest)

    def frame_from(self, cursor: int) -> tuple[int, bytes]:
        """Where it leads, and the diff for a client at ``cursor``, shared by all who are there."""
        if cursor >= self._frame_start:
            return self.committed, self._frame
        return self._older.get(cursor) or self.frame_to_now(cursor)

    def frame_to_now(self, cursor: int) -> tuple[int, bytes]:
        """The same up to this moment, commit or not."""
        found = self._older.get(cursor)
        if found is None or found[0] != self.view.version:
            found = self.view.version, self._hub.wire.diff(self.view, cursor, {})
            self._older[cursor] = found
        return found

    def snapshot(self) -> tuple[int, list[bytes]]:
        """A snapshot and its version. A recent one serves all who join in a storm: what they
        miss is a diff, which they share too."""
        hub, now = self._hub, self._hub.loop.time()
        if self._snapshot is not None:
            version, made, parts = self._snapshot
            recent = version == self.view.version or now - made < hub.snapshot_seconds
            if recent and version >= self.view.floor:
                return version, parts
        hub.snapshots += 1
        parts = hub.wire.snapshot(self.view)
        self._snapshot = (self.view.version, now, parts)
        return self.view.version, parts

    def heartbeat(self) -> bytes:
        version = self.view.version
        if self._beat_frame is None or self._beat_frame[0] != version:
            self._beat_frame = version, self._hub.wire.heartbeat(self.view, self._hub.source)
        return self._beat_frame[1]

    def beat(self) -> None:
        """A heartbeat to every stream; with it the digest, so what is pending goes out first."""
        self.commit()
        self._beat_frame = None
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
        self._beat_timer = self._hub.loop.call_later(self._hub.heartbeat_seconds, self._beat)
        self._snapshot = None  # megabytes that nobody may want again
        self.beat()

    def _schedule(self, when: float) -> None:
        loop = self._hub.loop
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
        self._hub.close(self)


class Hub:
    """All channels. The composition root gives it the table's changes."""

    # Measured for a stream through ASGI, h11 and drain(): see docs/performance.md.
    seconds_per_task_delivery: Final = 75e-6
    snapshot_seconds: Final = 0.25

    def __init__(
        self,
        table: ActiveCalls,
        wire: Wire,
        *,
        pace: Pace,
        heartbeat_seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.wire = wire
        self.pace = pace
        self.heartbeat_seconds = heartbeat_seconds
        self.source = Source()
        self.commits = 0
        self.snapshots = 0
        self._table = table
        self._channels: dict[View, Channel] = {}

    def note(self, change: Change) -> None:
        """A call changed. Never waits."""
        if not change.after.live:
            self.wire.forget(change.after.key)
        channels = self._channels
        if not channels:
            return
        for view in change.views:
            channel = channels.get(view)
            if channel is not None:
                channel.note(change)

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        """Join a scope at a position its client has folded up to, or from a snapshot.

        There is no await between here and the first frame's bytes being chosen, and every later
        change marks the channel: that is why no change is missed and none comes twice.
        """
        view = self._table.view(scope)
        channel = self._channels.get(view)
        if channel is None:
            channel = self._channels[view] = Channel(self, view)
        resumes = position is not None and view.resumable(*position)
        subscriber = Subscriber(channel, position[1] if position and resumes else None)
        subscriber.renamed = resumes and position is not None and position[0] != view.tag
        channel.subscribers.add(subscriber)
        return subscriber

    def tell(self, source: Source) -> None:
        """What we show has become stale, or live again: everybody hears it at once."""
        self.source = source
        for channel in tuple(self._channels.values()):
            channel.beat()

    def end_all(self, reason: Goodbye) -> None:
        for subscriber in self.subscribers():
            subscriber.end(reason)

    def subscribers(self) -> list[Subscriber]:
        return [one for channel in self._channels.values() for one in channel.subscribers]

    def close(self, channel: Channel) -> None:
        """Nobody watches this channel any more."""
        del self._channels[channel.view]
        self.unwatched(channel.view)

    def unwatched(self, view: View) -> None:
        """Let go of a filtered view unless somebody watches it."""
        if view not in self._channels:
            self._table.drop(view)
