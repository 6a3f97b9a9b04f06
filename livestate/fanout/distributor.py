"""The distributor of one view: each frame to every subscriber, and to late ones what they missed.

Frames come in by :meth:`Distributor.deliver`, heartbeats by :meth:`Distributor.send_heartbeat`.
They come from the view's producer in this process, or from another process. The distributor knows
versions and finished bytes, but no call and no view. What a subscriber lacks after it skipped
frames comes from a :class:`~livestate.fanout.catch_up.CatchUpSource`.

It guarantees:

* A subscriber whose last write has not left is skipped and brought up to date later (conflation,
  see :mod:`livestate.fanout.subscriber`).
* Nothing takes long. A frame is offered to :data:`OFFERED_AT_ONCE` subscribers a step, and to fewer
  where they lack long diffs; between two steps, the loop may run other callbacks.
* All who are at the same version share one catch-up diff and one snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from livestate.fanout.catch_up import CatchUpSource
from livestate.fanout.compression import CompressionWindow
from livestate.fanout.context import SOON_SECONDS, FanoutContext, Timer
from livestate.fanout.frame import Frame
from livestate.fanout.snapshots import Snapshot, SnapshotCache
from livestate.fanout.subscriber import Subscriber

OFFERED_AT_ONCE: Final = 20  # streams: less than a millisecond, unless one lacks a long diff,
OFFER_SECONDS: Final = 0.002  # after which others have their turn


class Distributor:
    """The subscribers of one view, its last frame, and which of them lag behind it."""

    def __init__(
        self,
        source: CatchUpSource,
        context: FanoutContext,
        unwatched: Callable[[], None],
    ) -> None:
        """``unwatched`` is called when the last subscriber has left."""
        self.source = source
        self.subscribers: set[Subscriber] = set()
        self.lagging: dict[Subscriber, float] = {}  # and since when, loop time
        self.busy = False  # a frame or heartbeat is being offered, in slices
        self.frame = Frame()  # the last one
        self.head = source.version  # where it leads
        self.frame_from = source.version  # clients from here on can take it
        self.snapshots = SnapshotCache(source, context)
        self._context = context
        self._unwatched = unwatched
        self._window = CompressionWindow()
        # Cursor → the newest version at that time, and a diff, for subscribers that missed frames.
        self._catch_ups: dict[int, tuple[int, Frame]] = {}
        self._heartbeat_next = False  # one came while a frame is being offered
        self._encoded = False  # something for a subscriber that missed frames, just now
        self._deferred_us = 0  # what a frame to all costs later, beside its writes
        self._last_offer = 0.0
        self._lag_timer = Timer(context.loop, self.offer_to_lagging)

    # -- frames ----------------------------------------------------------------------------

    def deliver(self, frame: Frame) -> Generator[None, None, float]:
        """Offer the next frame of the view to all subscribers. See
        :class:`~livestate.fanout.producer.FrameSink`."""
        frame.enter(self._window)
        self.frame, self.frame_from, self.head = frame, frame.from_version, frame.to_version
        self._catch_ups.clear()
        self._lag_timer.cancel()
        return self._offer(tuple(self.subscribers))

    def send_heartbeat(self, frame: Frame) -> None:
        """Offer a heartbeat to all subscribers, after what they lack before it."""
        self.snapshots.evict()
        frame.enter(self._window)
        for subscriber in self.subscribers:
            subscriber.heartbeat_due = True
        if self.busy:
            self._heartbeat_next = True
        else:
            self._context.slices.start(self._offer(tuple(self.subscribers)))

    def _offer(self, targets: tuple[Subscriber, ...]) -> Generator[None, None, float]:
        """Offer what is due to ``targets``, some a step; the seconds that it took."""
        self.busy = True
        self._last_offer = self._context.loop.time()
        clock, spent = self._context.clock, 0.0
        try:
            for start in range(0, len(targets), OFFERED_AT_ONCE):
                began = clock()
                some = targets[start : start + OFFERED_AT_ONCE]
                for subscriber in some:
                    subscriber.offer()  # nothing, to one that has left since this began
                    if self._encoded:
                        self._encoded = False
                        if clock() - began > OFFER_SECONDS:
                            spent += clock() - began
                            yield
                            began = clock()
                spent += clock() - began
                yield
        finally:
            self.busy = False
        if self.subscribers and self._heartbeat_next:
            self._heartbeat_next = False
            self._context.slices.start(self._offer(tuple(self.subscribers)))
        elif self.lagging:
            self._lag_timer.at(self._last_offer + self._lag_seconds())
        return spent + self._deferred_us * 1e-6

    # -- subscribers that missed frames ----------------------------------------------------

    def lag(
        self, subscriber: Subscriber, *, soon: bool = False, since: float | None = None
    ) -> None:
        """Its last write has not left, or there is more for it than goes into one; try again soon
        even if nothing changes any more. ``since``: it has lagged from then on."""
        rate, now = self._context.rate, self._context.loop.time()
        self.lagging.setdefault(subscriber, now if since is None else since)
        self._lag_timer.at(now + (SOON_SECONDS if soon else rate.longest))

    def _lag_seconds(self) -> float:
        """When to offer again to those who lag: soon to a client whose writes have all left."""
        rate = self._context.rate
        ready = any(one.outlet is not None and one.outlet.ready() for one in self.lagging)
        return SOON_SECONDS if ready else rate.longest

    def offer_to_lagging(self) -> None:
        """Bring those up to date whose last write has left since."""
        if self.busy:
            self._lag_timer.at(self._context.loop.time() + SOON_SECONDS)
        else:
            self._context.slices.start(self._offer(tuple(self.lagging)))

    def catch_up(self, cursor: int, piecemeal: bool) -> tuple[Frame, bool]:
        """A diff for a client at ``cursor`` towards the last frame, shared by all who are there,
        and whether the client is ``piecemeal`` after it: see :class:`Subscriber`."""
        if cursor >= self.frame_from and not piecemeal:
            return self.frame, False
        found = self._catch_ups.get(cursor)
        if found is None or piecemeal:
            return self.catch_up_to_now(cursor)
        version, frame = found
        return frame, frame.to_version < version

    def catch_up_to_now(self, cursor: int) -> tuple[Frame, bool]:
        """The same towards the newest version, whether there is a frame of it or not, as far as
        one diff goes."""
        version = self.source.version
        found = self._catch_ups.get(cursor)
        if found is None or found[0] != version:
            found = self._catch_ups[cursor] = version, self.source.since(cursor)
            self._encoded = True
        return found[1], found[1].to_version < version

    def snapshot_for(self, subscriber: Subscriber) -> Snapshot | None:
        """A snapshot, or None: then the subscriber is offered one when it is made, or is asked to
        come back where it cannot be made now."""
        self._encoded = True
        made = self.snapshots.get()
        if made is None and not self.snapshots.request(subscriber):
            self._end_hopeless()
            if not self.snapshots.request(subscriber):
                # Later: the caller may be in the midst of writing the head of its response.
                self._context.loop.call_later(0, lambda: subscriber.end("overload"))
        return made

    def _end_hopeless(self) -> None:
        """End streams that still read a snapshot so old that they would need another one after
        it: they hold the room that others need."""
        for subscriber in tuple(self.lagging):
            if subscriber.cursor is not None and subscriber.cursor < self.source.floor:
                subscriber.end("stalled")

    # -- subscribers -----------------------------------------------------------------------

    def subscribe(self, position: tuple[str, int] | None) -> Subscriber:
        """A new subscriber, at the position that its client has folded up to where that can be
        resumed, else without a state. There is no await between here and the choice of its first
        frame, and every later frame is offered to it: no change is missed, none comes twice."""
        resumes = position is not None and self.source.can_resume(*position)
        subscriber = Subscriber(self, position[1] if position and resumes else None)
        subscriber.tag_changed = resumes and position is not None and position[0] != self.source.tag
        self.subscribers.add(subscriber)
        return subscriber

    def defers(self, subscriber: Subscriber, microseconds: int) -> None:
        """Each delivery to ``subscriber`` costs so much later, beside its write."""
        subscriber.deferred_us = microseconds
        self._deferred_us += microseconds

    def leave(self, subscriber: Subscriber) -> None:
        """Safe to call twice."""
        self.lagging.pop(subscriber, None)
        self.snapshots.forget(subscriber)
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            self._deferred_us -= subscriber.deferred_us
            if not self.subscribers:
                self._lag_timer.cancel()
                self._catch_ups.clear()
                self.snapshots.evict(also_fresh=True)  # now, even if something still refers to this
                self._unwatched()
