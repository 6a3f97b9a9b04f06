"""When a service may show its calls, begin streams, and get traffic.

Three questions: may the own table be shown and written (:meth:`Readiness.starting`), may a stream
begin (:meth:`Readiness.not_serving`), and may a load balancer, or a deploy that replaces processes
one by one, go on (:meth:`Readiness.not_ready`).
"""

from __future__ import annotations

from typing import Protocol

from api.settings import Settings
from api.stream.registry import StreamRegistry
from livestate.cluster.served_hub import ServedHub
from livestate.fanout.hub import Hub
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.pipeline import Pipeline
from livestate.process.clock import steady_ms
from livestate.state.nodes.registry import Nodes
from livestate.state.position import position_at
from livestate.store.following import Following
from livestate.store.restore import Restore


class Parts(Protocol):
    """The parts of a service that decide; :class:`api.service.Service` has them."""

    settings: Settings
    hub: Hub
    nodes: Nodes
    pipeline: Pipeline
    consumer: Consumer
    cdrs: CdrReader
    restoring: Restore
    streams: StreamRegistry
    following: Following
    served: ServedHub | None


class Readiness:
    """Asked by the admin server, the streams and the writer of Redis."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._began = steady_ms()
        self._been_ready = self._been_at_hand = False

    def begin(self) -> None:
        """What was stored is read: nodes now have ``LIVESTATE_READY_SECONDS`` to send lists."""
        self._began = steady_ms()

    def been_ready(self) -> bool:
        return self._been_ready

    def not_ready(self) -> str | None:
        """Why it is not ready for traffic, or to take over; None if it is. A single process that
        was ready stays so, whatever another one that leads does."""
        parts = self._parts
        if parts.streams.draining:
            return "draining"
        found = self.not_serving()
        if found is None and not (parts.served and self._been_at_hand):
            found = self.starting() or parts.following.not_at_hand()
            self._been_at_hand = found is None
        return found

    def not_serving(self) -> str | None:
        """Why no stream may begin now."""
        served = self._parts.served
        if served is None or served.serves == "own":
            return self.starting()
        if served.serves == "leader":
            return None
        return self.starting() or "waiting for the lease in Redis, or for the process that has it"

    def fed(self) -> bool:
        """Whether the own table may be shown, and is live."""
        return self.started() and self._parts.hub.source.stale_since is None

    def started(self) -> bool:
        """Whether the own table may be shown and written."""
        return self.starting() is None

    def starting(self) -> str | None:
        """Why the own table may not be shown or written yet."""
        parts = self._parts
        if parts.restoring.exchanging:
            return "restoring the calls in Redis"
        if self._been_ready:
            return None
        # After that, show a page that says it is stale rather than none.
        if steady_ms() - self._began < parts.settings.ready_seconds * 1000:
            if not parts.consumer.connected:
                return "not connected to NATS yet"
            if parts.restoring.waiting:
                return f"waiting for Redis: {parts.restoring.trouble}"
            waiting = [node.name for node in parts.nodes.by_name.values() if node.wants_list]
            if waiting:
                return f"waiting for the calls of {', '.join(waiting[:5])}"
            if not parts.cdrs.caught_up:
                return f"{parts.cdrs.waiting} CDRs from before the start are still to be read"
        self._doubt_unlisted()
        self._been_ready = True
        return None

    def _doubt_unlisted(self) -> None:
        """Mark restored calls that no list of their node has confirmed: from now on they are
        shown."""
        for node in self._parts.nodes.by_name.values():
            if node.health.loss:
                up_to = position_at(node.epoch, node.health.loss.highest, from_sync=True)
                self._parts.pipeline.mark_unconfirmed(node.name, up_to)
