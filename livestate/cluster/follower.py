"""One view that an edge follows: the state once, then every frame, without a gap or an overlap.

Promise J between two processes. The edge subscribes to the view's frames first and asks for the
state then. Frames that come before the state are kept; when it is here, those that it includes
already are left out. From then on each frame must lead on from the version that was reached. Where
one does not, or a heartbeat is of a later version, frames were lost: the state is asked for again,
and only what changed in it is passed on. A heartbeat of the same version whose digest differs means
that this edge is wrong; then all is built anew.

Where another engine takes over, its state says up to which version of the numbering before it
continues (:mod:`livestate.cluster.succession`). If that includes what is here, only what differs is
passed on, and clients notice no more than a diff; else all is built anew. Pure: messages come in,
changes come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from livestate.cluster.replica import Replica
from livestate.cluster.rows import read_diff, read_figures, read_state
from livestate.cluster.wire import Head, Held, Unreadable
from livestate.state.access import Scope
from livestate.state.active_calls import Change
from livestate.state.view import View

MOST_HELD: Final = 5_000  # rows for an engine that takes over: about 150 KB
MOST_KEPT: Final = 2_000  # frames that came before the state; beyond that it is asked for again


class Follower:
    """One unfiltered view. ``lost``: the state must be asked for, again or at first."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.replica: Replica | None = None  # that clients see; None before the first state
        self.lost = True
        self.lost_since: int | None = None  # as the edge noticed it, ms of the steady clock
        self.diverged = 0
        self.figures: dict[str, Any] | None = None  # the KPIs of the last heartbeat
        self.newest = -1  # the highest version that the engine has named
        self._fence = -1
        self._wrong = False  # the replica has another digest than the engine
        self._partly = False  # the replica has a part of a state or a frame: it is at no version
        self._next: Replica | None = None  # what the state that comes in now makes
        self._named: set[str] = set()  # the live calls of that state
        self._part = 0  # of that state, the next one
        self._kept: list[tuple[Head, bytes]] = []

    @property
    def version(self) -> int:
        return -1 if self.replica is None else self.replica.view.version

    @property
    def lag_versions(self) -> int:
        """How many versions the engine has named that are not here."""
        return max(self.newest - self.version, 0)

    def forget(self) -> None:
        """Nothing that comes may be believed to follow what is here: ask for the state."""
        self.lost = True
        self._kept.clear()

    def held(self) -> Held | None:
        """What an engine that takes over must know to continue from here; None if it cannot."""
        if self.replica is None or self._wrong or self._partly:
            return None
        return self.replica.held(MOST_HELD)

    def reached(self) -> Held | None:
        """What the engine that is followed must know to send only what changed since; None if all
        is needed."""
        if self.replica is None or self._wrong or self._partly:
            return None
        view = self.replica.view
        return Held(view.tag, view.version, view.version, (), ())

    def begin_state(self) -> None:
        """The state is asked for; its parts come next."""
        self._next, self._named, self._part = None, set(), 0

    # -- frames ------------------------------------------------------------------------------

    def take(self, head: Head, body: bytes, now: int) -> Iterator[Change]:
        """Take a frame or a heartbeat; the changes, to be read to the end. Raises
        :class:`~livestate.cluster.wire.Unreadable`; then the state is asked for again."""
        if head.fence < self._fence:
            return  # of an engine that another one has replaced
        if self.lost:
            self.newest = max(self.newest, head.version)
            if len(self._kept) < MOST_KEPT:
                self._kept.append((head, body))
            return
        replica = self.replica
        if replica is None or head.tag != replica.view.tag:
            self.forget()  # another engine took over, or this one began anew
            return
        self._fence = head.fence
        self.newest = max(self.newest, head.version)
        replica.continues(head.before)
        if head.kind == "heartbeat":
            self._compare(head, body, replica)
            return
        if head.version <= replica.view.version:
            return
        # A tombstone that was trimmed before it was in a frame is in none: then the floor is above.
        if max(head.since, head.floor) > replica.view.version:
            self.forget()
            return
        try:
            replica.raise_floor(head.floor)
            yield from replica.fold(read_diff(body, head.gone), head.version, now)
        except (Unreadable, KeyError) as error:
            self._partly = True
            self.forget()
            raise Unreadable(f"{error}") from error

    def _compare(self, head: Head, body: bytes, replica: Replica) -> None:
        data, figures = read_figures(body)
        self.figures = figures or self.figures
        view = replica.view
        if head.version > view.version:
            self.forget()
        elif head.version == view.version and (view.live, view.digest) != (
            data["calls"],
            data["digest"],
        ):
            self.diverged += 1
            self._wrong = True  # clients see it until another one is built
            self.forget()

    # -- the state -----------------------------------------------------------------------------

    def take_state(self, head: Head, body: bytes, now: int) -> Iterator[Change]:
        """Take one part of the state, in order; the changes of those who see the view already, to
        be read to the end. :attr:`lost` is False after the last one. Raises
        :class:`~livestate.cluster.wire.Unreadable`."""
        if head.fence < self._fence:
            raise Unreadable("a state of an engine that another one has replaced")
        if head.part != self._part:
            raise Unreadable(f"part {head.part} of a state instead of {self._part}")
        self._part += 1
        rows = read_state(body)
        target = self._target(head)
        if head.since and not self._leads_on(head, target):
            self.forget()
            raise Unreadable(f"a state from version {head.since} on, which is not here")
        shown = target is self.replica
        self._partly = self._partly or shown
        self._named.update(row.key for row in rows if row.record is not None)
        try:
            reached = rows[-1].version if rows and head.more else head.version
            to = max(reached, target.view.version)
            changes = target.fold(rows, to, now, stepwise=False)
            if shown:
                yield from changes
            else:
                for _ in changes:
                    pass
            if head.more:
                return
            gone = target.keep_only(self._named, head.version, now) if not head.since else ()
            for change in gone:
                if shown:
                    yield change
        except (KeyError, TypeError) as error:
            self.forget()
            raise Unreadable(f"a row of a state without {error}") from error
        target.raise_floor(head.floor)
        self._fence, self.replica, self._next = head.fence, target, None
        self.newest = head.version  # of another numbering, it may be lower than before
        self._wrong = self._partly = False
        self.lost = False
        kept, self._kept = self._kept, []
        for each in kept:
            for change in self.take(*each, now):
                if shown:
                    yield change

    def _target(self, head: Head) -> Replica:
        """The replica that the state goes into: the one that clients see if the numbering goes on,
        else a new one that they see when it is whole."""
        known = self.replica
        if known is not None and not self._wrong:
            if head.tag == known.view.tag:
                known.continues(head.before)
                return known
            if head.before is not None and self._continued(known.view, head.before):
                known.continue_as(head.tag, head.before)
                return known
        if self._next is None or self._next.view.tag != head.tag:
            self._next = Replica(self.scope, head.tag, head.before)
        return self._next

    def _leads_on(self, head: Head, target: Replica) -> bool:
        """Whether a state that has only what changed after ``head.since`` fits what is here."""
        return target is self.replica and (head.part > 0 or target.view.version >= head.since)

    def _continued(self, view: View, before: tuple[str, int]) -> bool:
        return not self._partly and before[0] == view.tag and view.version <= before[1]
