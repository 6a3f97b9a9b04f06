"""The document of ``GET /api/v1/live/destinations``: where calls of all or of a company go.

Calls are read from the view of those who ask, so nothing in a company's document depends on others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from api.panels.documents import Wanted, in_slices
from api.panels.numbering import Numbering, Place
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.destinations import Counts, Destinations
from livestate.state.kpi.recent import LATELY_MS, recent

MOST_SHOWN: Final = 300


class DestinationDocuments:
    """Makes the document from this process's own table. ``clock``: ms since the epoch."""

    def __init__(self, table: ActiveCalls, numbering: Numbering, clock: Callable[[], int]) -> None:
        self._table = table
        self._numbering = numbering
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        await self._numbering.load()
        now = self._clock()
        views = self._table.views.by_tenant.get(wanted.company_id)
        calls = recent(views[0], now - LATELY_MS) if views else ()
        found = Destinations(calls, now - LATELY_MS)
        await in_slices(found.steps())
        places: dict[Place, Counts] = {}

        def resolve() -> Any:
            for counts in found.by_start.values():
                places.setdefault(self._numbering.place_of(counts.sample), Counts()).add(counts)
                yield

        await in_slices(resolve())
        ranked = sorted(
            places.items(), key=lambda one: (-one[1].seizures, -one[1].live, one[0].prefix or "")
        )
        rows = [_row(place, counts) for place, counts in ranked]
        return orjson.dumps(
            {
                "as_of": now,
                "company_id": wanted.company_id,
                "window_seconds": LATELY_MS // 1000,
                "destinations": rows[:MOST_SHOWN],
                "more": max(0, len(rows) - MOST_SHOWN),
            }
        )


def _row(place: Place, counts: Counts) -> dict[str, Any]:
    over, answered = counts.attempts, counts.answered
    return {
        **place._asdict(),
        "live": counts.live,
        "seizures": counts.seizures,
        "attempts": over,
        "answered": answered,
        "asr": _ratio(100 * answered, over),
        "ner": _ratio(100 * (over - counts.faults), over),
        "acd_seconds": _ratio(counts.talk_ms, 1000 * counts.completed),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 1) if whole else None
