"""The producer of one view: its changes become frames, encoded once however many clients watch.

The :class:`~livestate.fanout.hub.Hub` passes each change on by a plain call that cannot wait. The
change marks the producer dirty; a moment later (:class:`~livestate.fanout.context.CommitRate`) the
producer **commits**: it encodes one diff from the version of its last commit to the newest one and
hands it to its sink. With each heartbeat it sends count, digest and KPIs of the view.

The sink is a :class:`~livestate.fanout.distributor.Distributor` in this process, or a publisher to
other processes: a frame's content does not depend on its receiver. The other way round, a
distributor asks its producer for what a client misses (a
:class:`~livestate.fanout.catch_up.CatchUpSource`): an older diff, a snapshot, a heartbeat.

Why a client between the two versions of a diff may take it: the diff holds the final value of every
field that changed at any time between them, so folding it from any version in between gives the
same state. A snapshot that was taken between two commits needs nothing special.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Final, Protocol

from livestate.fanout.context import SOON_SECONDS, FanoutContext, Timer
from livestate.fanout.frame import Frame
from livestate.fanout.patch import Records
from livestate.state.active_calls import Change
from livestate.state.call import Call
from livestate.state.source import Source
from livestate.state.view import View

DIFF_AT_ONCE: Final = 500  # calls in one diff: about 2 ms to encode; more go out in several
_WHOLE_RECORD: Final = None  # in place of a call before: the client needs all fields


class Encoder(Protocol):
    """How views become frames; :class:`api.stream.encoder.SseEncoder` is the one that speaks
    SSE."""

    def snapshot_steps(self, view: View, frames: list[Frame]) -> Iterator[None]: ...
    def diff(
        self, view: View, since: int, before: Mapping[str, Call | None], most: int | None
    ) -> Frame: ...
    def heartbeat(self, view: View, source: Source) -> Frame: ...
    def forget(self, key: str) -> None: ...
    def evict_unused(self) -> None: ...
    @property
    def records(self) -> Records: ...


class FrameSink(Protocol):
    """Where the frames of one view go."""

    @property
    def busy(self) -> bool:
        """A delivery is still going on; the next one must wait."""

    def deliver(self, frame: Frame) -> Generator[None, None, float]:
        """Take the next frame. What is left to do are the generator's steps, each shorter than a
        millisecond; it returns the seconds of work that the delivery was."""

    def send_heartbeat(self, frame: Frame) -> None:
        """Take a heartbeat; its digest is of the newest version, committed or not."""


class Producer:
    """One watched view: what changed since its last commit, and when the next one may be."""

    def __init__(self, view: View, encoder: Encoder, context: FanoutContext) -> None:
        self.view = view
        self.committed = view.version
        self._encoder = encoder
        self._context = context
        self._sink: FrameSink
        # Of the calls that changed since the last commit: as they were then, or _WHOLE_RECORD.
        self._before: dict[str, Call | None] = {}
        self._heartbeat: tuple[int, Frame] | None = None  # of a version, for all that need it
        self._stopped = False
        self._committing = False  # a frame is being encoded or delivered
        self._last_commit = 0.0
        self._cost = 0.0  # seconds, of the last commit with its delivery
        self._commit_timer = Timer(context.loop, self.commit)
        self._heartbeat_timer = Timer(context.loop, self._heartbeat_is_due)

    def start(self, sink: FrameSink) -> None:
        """Send frames and heartbeats to ``sink`` from now on."""
        self._sink = sink
        self._heartbeat_timer.at(self._context.loop.time() + self._context.heartbeat_seconds)

    def stop(self) -> None:
        """No client watches the view any more."""
        self._stopped = True
        self._commit_timer.cancel()
        self._heartbeat_timer.cancel()

    def on_change(self, change: Change) -> None:
        """A call of this view changed. Never waits."""
        key, before = change.after.key, change.before
        # A diff carries only the fields that changed, except: a client that did not have the call
        # (it is new, or comes from another scope) needs the whole record. So does a call that
        # changed twice since the last commit: a field that went there and back is missing from
        # the difference, and a client that joined in between would keep the middle value.
        known = before is not None and key not in self._before and self.view.holds(before)
        self._before[key] = before if known else _WHOLE_RECORD
        if not self._commit_timer.planned:  # the first change since then; the others add nothing
            self._commit_timer.at(self._last_commit + self._context.rate.after(self._cost))

    def commit(self) -> None:
        """Encode what changed since the last commit, once, and hand it to the sink."""
        self._commit_timer.cancel()
        context, changed = self._context, self.view.version - self.committed
        if not changed:
            return
        if self._committing or self._sink.busy:
            # Else clients that were not offered the last frame yet would miss it.
            self._commit_timer.at(context.loop.time() + SOON_SECONDS)
            return
        self._committing = True
        self._last_commit = context.loop.time()
        if changed > DIFF_AT_ONCE:
            context.slices.add(self._long_commit())
        else:
            context.slices.start(self._deliver(*self._encode()))

    def send_heartbeat(self) -> None:
        """Send a heartbeat to every client. Its digest is of this moment, so what changed before
        goes out first."""
        self.commit()
        self._heartbeat = None
        self._sink.send_heartbeat(self.heartbeat())

    def _encode(self) -> tuple[Frame, float]:
        """One frame of what changed, of :data:`DIFF_AT_ONCE` calls at most, and the seconds that
        it took."""
        view, since = self.view, self.committed
        began = self._context.clock()
        frame = self._encoder.diff(view, since, self._before, DIFF_AT_ONCE)
        # A tombstone that was trimmed since, or a key that was reused, is not in the diff: from
        # below the floor a client needs a snapshot, also if it is at the last frame.
        frame.from_version = max(since, view.floor)
        self.committed = frame.to_version
        if self.committed == view.version:
            self._before = {}
        else:
            rows, committed = view.rows, self.committed
            self._before = {
                key: call for key, call in self._before.items() if rows.get(key, 0) > committed
            }
        self._context.commits += 1
        return frame, self._context.clock() - began

    def _long_commit(self) -> Iterator[None]:
        """A commit of more than goes into one frame. It takes its turn with those of the other
        views, which the same burst has made as long."""
        while self._sink.busy:  # with a heartbeat, since this was planned
            yield
        frame, spent = self._encode()
        yield
        yield from self._deliver(frame, spent)

    def _deliver(self, frame: Frame, spent: float) -> Iterator[None]:
        """Hand ``frame`` to the sink; then the next commit may be planned."""
        try:
            self._cost = spent + (yield from self._sink.deliver(frame))
        finally:
            self._committing = False
        if not self._stopped and self.view.version != self.committed:
            self._commit_timer.at(self._last_commit + self._context.rate.after(self._cost))

    def _heartbeat_is_due(self) -> None:
        self._heartbeat_timer.at(self._context.loop.time() + self._context.heartbeat_seconds)
        self.send_heartbeat()

    # -- what a CatchUpSource has -----------------------------------------------------

    @property
    def tag(self) -> str:
        return self.view.tag

    @property
    def version(self) -> int:
        return self.view.version

    @property
    def floor(self) -> int:
        return self.view.floor

    @property
    def calls(self) -> int:
        return self.view.live

    @property
    def filtered(self) -> bool:
        return self.view.filtered

    def can_resume(self, tag: str, version: int) -> bool:
        """Whether a client at this position can go on by a diff, and a diff is the cheaper way."""
        return self.view.resumable(tag, version) and not self.view.far_behind(version)

    def since(self, version: int) -> Frame:
        """A diff with whole records of what changed after ``version``, committed or not; of
        :data:`DIFF_AT_ONCE` calls at most, those that changed first."""
        return self._encoder.diff(self.view, version, {}, DIFF_AT_ONCE)

    def snapshot_steps(self, frames: list[Frame]) -> Iterator[None]:
        """Append the parts of a snapshot of this moment to ``frames``, a short step at a time."""
        return self._encoder.snapshot_steps(self.view, frames)

    def heartbeat(self) -> Frame:
        """The heartbeat of the newest version, made once for all that need it."""
        version = self.view.version
        if self._heartbeat is None or self._heartbeat[0] != version:
            frame = self._encoder.heartbeat(self.view, self._context.source_now())
            self._heartbeat = version, frame
        return self._heartbeat[1]
