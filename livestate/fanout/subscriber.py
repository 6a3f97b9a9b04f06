"""One stream: a position in a view, and at most one write that has not left this process.

**Conflation.** A subscriber has no queue. It has a cursor: the version that its client has folded
up to. As long as its last write has not left, the distributor skips it, however many frames are
made meanwhile. When it is ready again it gets one diff from its cursor to the newest version: the
final values, without the states in between. So a slow client costs no memory, delays no other
client, and gets the newest state as soon as it can take it.

A diff of very many calls goes out in several frames, those that changed first in the first one.
Only the last of these has an id, because in between the client is at no version. A heartbeat
carries the digest of this moment, so it waits until its client has come so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from livestate.fanout.frame import Frame

if TYPE_CHECKING:
    from livestate.fanout.distributor import Distributor

Goodbye: TypeAlias = Literal[
    "drain", "rotation", "expired", "revoked", "overload", "starting", "stalled", "replaced"
]


def _ignore(reason: Goodbye) -> None:
    """It is not attached yet."""


class Outlet(Protocol):
    """The way out of one stream. ``write`` never waits; ``ready`` says that nothing of what was
    written before is still on its way out of this process."""

    def ready(self) -> bool: ...
    def write(self, frames: list[Frame]) -> None: ...


class Subscriber:
    """One stream: its cursor, and where its bytes go once it has its first state."""

    __slots__ = (
        "cursor",
        "deferred_us",
        "distributor",
        "ended",
        "heartbeat_due",
        "on_end",
        "outlet",
        "piecemeal",
        "tag_changed",
    )

    def __init__(self, distributor: Distributor, cursor: int | None) -> None:
        self.distributor = distributor
        self.cursor = cursor  # None: needs a snapshot
        # The client has had some of a diff that was too long for one frame. A call that has
        # changed again since is not among them, so until it has the rest it needs whole records:
        # a frame of changed fields could meet a call that the client does not have.
        self.piecemeal = False
        self.tag_changed = False  # its position is of the epoch before: it must learn the new tag
        self.outlet: Outlet | None = None  # None: it is not attached yet, or has ended
        self.on_end: Callable[[Goodbye], None] = _ignore  # says goodbye; must not wait
        self.deferred_us = 0  # see Distributor.defers
        self.heartbeat_due = False
        self.ended: Goodbye | None = None

    @property
    def subscribed(self) -> bool:
        return self in self.distributor.subscribers

    def next_frames(self) -> list[Frame]:
        """What this stream lacks now, oldest first: parts of a snapshot, a diff, a heartbeat.
        Taking it moves the cursor, so the caller writes all of it or ends the stream. Nothing
        while its snapshot is being made: the outlet gets that when it is done."""
        distributor = self.distributor
        lagged_since = distributor.lagging.pop(self, None)
        cursor = self.cursor
        if (  # nearly always: it has all up to the last frame, and gets this one
            cursor is not None
            and distributor.frame_from <= cursor < distributor.head
            and not (self.heartbeat_due or self.piecemeal or self.tag_changed)
        ):
            self.cursor = distributor.head
            return [distributor.frame]
        frames: list[Frame] = []
        if cursor is None or cursor < distributor.source.floor:
            made = distributor.snapshot_for(self)
            if made is None:
                return frames
            cursor, parts = made
            self.piecemeal = False
            frames += parts
        if cursor < distributor.head or self.piecemeal:
            frame, self.piecemeal = distributor.catch_up(cursor, self.piecemeal)
            frames.append(frame)
            cursor = frame.to_version
        elif self.tag_changed:
            frame, self.piecemeal = distributor.catch_up_to_now(cursor)
            frames.append(frame)
            cursor = frame.to_version
        self.tag_changed = False
        newest = distributor.source.version
        if self.heartbeat_due and cursor < newest:
            # The digest is of this moment; so must be what the client compares it with.
            frame, self.piecemeal = distributor.catch_up_to_now(cursor)
            frames.append(frame)
            cursor = frame.to_version
        self.cursor = cursor
        if self.heartbeat_due and cursor >= newest:
            self.heartbeat_due = False
            frames.append(distributor.source.heartbeat())
        if cursor < distributor.head or self.piecemeal or self.heartbeat_due:
            # There is more than goes into one frame.
            distributor.lag(self, soon=True, since=lagged_since)
        return frames

    def attach(self, outlet: Outlet, on_end: Callable[[Goodbye], None] = _ignore) -> None:
        """From now on the distributor writes to ``outlet``; the caller writes the first frames."""
        self.outlet, self.on_end = outlet, on_end

    def offer(self) -> None:
        """Write what is due if the last write has left; else be one of those who lag."""
        outlet = self.outlet
        if outlet is None:
            return
        if outlet.ready():
            outlet.write(self.next_frames())
        else:
            self.distributor.lag(self)

    def end(self, reason: Goodbye) -> None:
        """Silence at once; ``on_end`` says goodbye and closes."""
        if self.ended is None:
            self.ended = reason
            self.leave()
            self.on_end(reason)

    def leave(self) -> None:
        """The stream is over, for whatever reason; safe to call twice."""
        self.outlet = None
        self.distributor.leave(self)
