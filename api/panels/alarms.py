"""The document of ``GET /api/v1/live/alarms``: alarms of the last 24 hours, and their rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from api.panels.alarm_file import AlarmFile
from api.panels.documents import Wanted
from livestate.state.alarms.board import KEPT_MS, Board
from livestate.state.alarms.rules import Rule

Figures = Callable[[str | None], dict[str, Any]]


class AlarmDocuments:
    """Makes the document of all calls or of a company. ``clock`` is in ms since the epoch."""

    def __init__(self, board: Board, file: AlarmFile, clock: Callable[[], int]) -> None:
        self._board = board
        self._file = file
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object. A company's has nothing of other companies and nothing of the file."""
        company_id = wanted.company_id
        rules = [
            _rule(rule)
            for rule in self._board.rules.values()
            if rule.on and (company_id is None or rule.companies)
        ]
        document: dict[str, Any] = {
            "as_of": self._clock(),
            "company_id": company_id,
            "window_seconds": KEPT_MS // 1000,
            "rules": rules,
            "alarms": [_shown(one.record()) for one in self._board.alarms(company_id)],
        }
        if company_id is None and self._file.configured:
            document["file"] = self._file.status()
        return orjson.dumps(document)


def with_alarms(figures: Figures, board: Board) -> Figures:
    """The key figures with how many alarms are raised: every page shows that at once, and asks for
    the document when ``changed_at`` is another."""

    def both(company_id: str | None) -> dict[str, Any]:
        found, summary = figures(company_id), board.summary(company_id)
        return found if summary is None else found | {"alarms": summary}

    return both


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "warning": rule.warning,
        "alarm": rule.alarm,
        "raise_after_seconds": rule.raise_ms / 1000,
        "clear_after_seconds": rule.clear_ms / 1000,
        "low_is_bad": rule.low_is_bad,
    }


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """Without what is unknown or says nothing."""
    return {name: value for name, value in record.items() if value not in (None, "")} | {
        "limit": record["limit"]
    }
