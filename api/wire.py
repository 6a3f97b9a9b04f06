"""The hub's frames in the terms of the wire: SSE events with ids, encoded once a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from api import sse
from livestate import diff
from livestate.call import Call
from livestate.runtime.channel import Source
from livestate.runtime.frame import Frame
from livestate.view import View

SNAPSHOT_PART_BYTES: Final = 48 * 1024


class SseWire:
    """How views become frames.

    ``clock`` is the machine's time; ``steady`` the one in which a source is stale since when;
    ``figures`` what else a company (None: all of them) is told with each heartbeat.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        steady: Callable[[], int] | None = None,
        figures: Callable[[str | None], dict[str, Any]] | None = None,
    ) -> None:
        self.records = diff.Records()
        self.diffs = 0
        self._clock = clock
        self._steady = steady or clock
        self._figures = figures

    def snapshot(self, view: View) -> list[Frame]:
        parts = diff.snapshot(view.snapshot(), self.records, self._clock(), SNAPSHOT_PART_BYTES)
        last = len(parts) - 1
        # Only the last part has an id: who loses the connection before it has nothing.
        return [
            Frame(sse.event("snapshot", part, _position(view) if index == last else None))
            for index, part in enumerate(parts)
        ]

    def diff(self, view: View, since: int, before: Mapping[str, Call | None]) -> Frame:
        self.diffs += 1
        rows = list(view.since(since))
        rows.reverse()
        data = diff.diff(rows, before, view.gone, self.records, self._clock())
        return Frame(sse.event("diff", data, _position(view)))

    def heartbeat(self, view: View, source: Source) -> Frame:
        told: dict[str, int | str] = {"as_of": self._clock(), "source": "live"}
        if source.stale_since is not None:
            since = self._clock() - (self._steady() - source.stale_since)
            told |= {"source": "stale", "stale_since": since}
        told |= {"version": view.version, "calls": view.live, "digest": view.digest}
        beat = sse.event("heartbeat", orjson.dumps(told))
        if self._figures is not None:
            # In the same frame: the pace is the heartbeat's, so its timing tells nothing either.
            beat += sse.event("kpi", orjson.dumps(self._figures(view.scope.company_id)))
        return Frame(beat)

    def forget(self, key: str) -> None:
        self.records.forget(key)

    def rest(self) -> None:
        self.records.rest()


def _position(view: View) -> sse.Position:
    return sse.Position(view.tag, view.version)
