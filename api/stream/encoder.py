"""Views as SSE frames: snapshots, diffs and heartbeats with their ids, each encoded once a view.

The :class:`~livestate.fanout.producer.Encoder` of every producer. JSON data comes from
:mod:`livestate.fanout.patch`, the SSE lines around it from :mod:`api.stream.sse`. Nothing here
waits; what may take long is made in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from api.stream import sse
from livestate.fanout import patch
from livestate.fanout.compression import PartWindow
from livestate.fanout.frame import Frame, Part
from livestate.state.call import Call
from livestate.state.nodes.trouble import Trouble
from livestate.state.source import Source
from livestate.state.view import View

MOST_TROUBLES: Final = 5  # of nodes, in a heartbeat
SNAPSHOT_PART_BYTES: Final = patch.LINE_BYTES - patch.ENVELOPE_BYTES


class SseEncoder:
    """How views become frames.

    ``clock`` gives the machine's time, ``steady`` the time on whose scale ``stale_since`` is,
    both in ms. ``figures`` gives the KPIs of a company (None: of all calls) that go out with each
    heartbeat.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        steady: Callable[[], int] | None = None,
        figures: Callable[[str | None], dict[str, Any]] | None = None,
    ) -> None:
        self.records = patch.Records()
        self.diffs = 0
        self._clock = clock
        self._steady = steady or clock
        self._figures = figures

    def snapshot(self, view: View) -> list[Frame]:
        """All of it at once: for small views, tests and benches."""
        frames: list[Frame] = []
        for _ in self.snapshot_steps(view, frames):
            pass
        return frames

    def snapshot_steps(self, view: View, frames: list[Frame]) -> Iterator[None]:
        """Append the snapshot of this moment to ``frames``, a millisecond of work a step.

        The cut that is taken here is the state at this version, however long the steps are
        apart.
        """
        return self._encode(view.cut(), self._clock(), _event_id(view), frames)

    def _encode(
        self,
        rows: Iterator[tuple[str, Call, int]],
        as_of: int,
        event_id: sse.EventId,
        frames: list[Frame],
    ) -> Iterator[None]:
        made = []
        for body in patch.bodies(rows, self.records, SNAPSHOT_PART_BYTES):
            made.append(body)
            yield
        last, window = len(made) - 1, PartWindow()
        for index, part in enumerate(patch.numbered(made, as_of)):
            # Only the last part has an id: a client without it has no complete snapshot.
            frame = Part(sse.event("snapshot", part, event_id if index == last else None))
            frame.enter(window)
            frames.append(frame)
            yield

    def diff(
        self, view: View, since: int, before: Mapping[str, Call | None], most: int | None = None
    ) -> Frame:
        """What changed after ``since``; of ``most`` calls at most, those that changed first.
        ``before`` holds calls of which changed fields are enough. The frame's ``to_version`` says
        how far it leads. A diff that is too long for one line is several events, and the last one
        has the id. A frame that leaves out calls has none: one of them may also have changed before
        ``to_version``, so no client could resume from there."""
        self.diffs += 1
        reached = view.version
        if most is not None and reached - since > most:
            rows = view.oldest(since, most)
            if len(rows) == most:
                reached = rows[-1][2]
        else:
            rows = list(view.since(since))
            rows.reverse()
        *parts, last = patch.diff(rows, before, view.gone, self.records, self._clock())
        event_id = _event_id(view) if reached == view.version else None
        events = sse.event("diff", last, event_id)
        if parts:
            events = b"".join([*(sse.event("diff", part) for part in parts), events])
        frame = Frame(events)
        frame.from_version, frame.to_version = since, reached
        return frame

    def heartbeat(self, view: View, source: Source) -> Frame:
        """The state of the source, count and digest of the view, and its KPIs."""
        data: dict[str, Any] = {"as_of": self._clock(), "source": "live"}
        if source.stale_since is not None:
            since = self._clock() - (self._steady() - source.stale_since)
            data |= {"source": "stale", "stale_since": since, "stale_reason": source.reason}
        if source.troubles and view.scope.company_id is None:
            data["nodes"] = [_trouble(one) for one in source.troubles[:MOST_TROUBLES]]
        data |= {"version": view.version, "calls": view.live, "digest": view.digest}
        events = sse.event("heartbeat", orjson.dumps(data))
        if self._figures is not None:
            # In the same frame: its timing is the heartbeat's and shows no other tenant's calls.
            events += sse.event("kpi", orjson.dumps(self._figures(view.scope.company_id)))
        return Frame(events)

    def forget(self, key: str) -> None:
        self.records.forget(key)

    def evict_unused(self) -> None:
        self.records.evict_unused()


def _trouble(one: Trouble) -> dict[str, Any]:
    data: dict[str, Any] = {"node": one.node, "what": one.what}
    return data | {"ahead_ms": one.ahead_ms} if one.what == "clock" else data


def _event_id(view: View) -> sse.EventId:
    return sse.EventId(view.tag, view.version)
