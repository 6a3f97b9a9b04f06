"""Publishes one view to edges: each frame and heartbeat once, whatever the number of edges."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

from livestate.cluster import wire
from livestate.cluster.wire import Head
from livestate.fanout.frame import Frame
from livestate.fanout.patch import Records
from livestate.fanout.producer import Producer
from livestate.state.call import Call
from livestate.state.source import Source
from livestate.state.view import View

if TYPE_CHECKING:
    from livestate.cluster.publisher import EdgeFeed


class ViewPublisher:
    """The :class:`~livestate.fanout.producer.FrameSink` of one view: its frames into the outbox.

    It is also the producer's encoder, so as to note at which versions calls leave: a diff does not
    say that, and an edge needs it for clients that resume.
    """

    busy = False

    def __init__(self, feed: EdgeFeed, view: View) -> None:
        self.producer = Producer(view, self, feed.context)
        self.named_at = feed.context.loop.time()
        self._feed = feed
        self._subject = wire.FRAMES + wire.view_name(view.scope.company_id)
        self._reached = view.version
        self._gone: dict[str, int] = {}
        self._heartbeat_due = False
        self.producer.start(self)

    def head(self, kind: wire.Kind, version: int) -> Head:
        view = self.producer.view
        return Head(
            kind, self._feed.leadership.fence, view.tag, version, view.floor, 0, view.predecessor
        )

    # -- FrameSink ---------------------------------------------------------------------------

    def deliver(self, frame: Frame) -> Generator[None, None, float]:
        since, self._reached = self._reached, frame.to_version
        head = self.head("diff", frame.to_version)
        self._put(head._replace(since=since, gone=self._gone), frame)
        if self._heartbeat_due and frame.to_version == self.producer.view.version:
            self.send_heartbeat(self.producer.heartbeat())
        yield from ()  # no step is left
        return 0.0

    def send_heartbeat(self, frame: Frame) -> None:
        """After the frames that lead to its version: an edge would take them for lost."""
        version = self.producer.view.version
        self._heartbeat_due = self._reached != version
        if not self._heartbeat_due:
            self._put(self.head("heartbeat", version), frame)

    def _put(self, head: Head, frame: Frame) -> None:
        if self._feed.leadership.leads:
            self._feed.frames += 1
            self._feed.outbox.put(self._subject, wire.encode(head, frame))

    # -- Encoder -----------------------------------------------------------------------------

    def diff(
        self, view: View, since: int, before: Mapping[str, Call | None], most: int | None
    ) -> Frame:
        frame = self._feed.encoder.diff(view, since, before, most)
        self._gone = {
            key: at
            for key, call, at in view.since(since)
            if call is None and at <= frame.to_version
        }
        return frame

    def heartbeat(self, view: View, source: Source) -> Frame:
        return self._feed.encoder.heartbeat(view, source)

    def snapshot_steps(self, view: View, frames: list[Frame]) -> Iterator[None]:
        return self._feed.encoder.snapshot_steps(view, frames)

    def forget(self, key: str) -> None:
        self._feed.encoder.forget(key)

    def evict_unused(self) -> None:
        self._feed.encoder.evict_unused()

    @property
    def records(self) -> Records:
        return self._feed.encoder.records
