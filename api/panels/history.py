"""The document of ``GET /api/v1/live/history``: the last hour or day by minute, with marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from api.panels.documents import Wanted
from livestate.state.alarms.board import Board
from livestate.state.kpi.history import MINUTE_MS, MINUTES, History

WINDOWS: Final = {"hour": 60, "day": MINUTES}  # minutes
MOST_ALARMS: Final = 50  # of a chart, the latest


class HistoryDocuments:
    """``clock`` is in ms since the epoch and does not jump. ``wanted.code`` names the window."""

    def __init__(self, history: History, board: Board, clock: Callable[[], int]) -> None:
        self._history = history
        self._board = board
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object: at most 1,440 minutes, which takes less than 2 ms."""
        company_id, now = wanted.company_id, self._clock()
        minutes = WINDOWS.get(wanted.code or "hour", WINDOWS["hour"])
        first = now - minutes * MINUTE_MS
        marks: list[dict[str, Any]] = [
            {"kind": one.kind, "since": one.since, "until": one.until}
            for one in self._history.marks_since(first)
        ]
        alarms = [
            one
            for one in self._board.alarms(company_id)
            if one.cleared_at is None or one.cleared_at >= first
        ]
        alarms.sort(key=lambda one: one.raised_at)
        marks += [
            {
                "kind": one.worst,
                "since": one.raised_at,
                "until": one.cleared_at,
                "rule": one.rule,
                "subject": one.subject,
            }
            for one in alarms[-MOST_ALARMS:]
        ]
        document = {
            "as_of": now,
            "company_id": company_id,
            "window_seconds": minutes * 60,
            "kept": self._history.is_kept(company_id),
            **self._history.series(company_id, minutes, now),
            "marks": marks,
        }
        return orjson.dumps(document)
