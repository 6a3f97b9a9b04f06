"""The document of ``GET /api/v1/live/hints``: callers of all calls or a company that break a rule.

Calls are read from the view of those who ask, so nothing in a company's document depends on others.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from api.panels.documents import Wanted, in_slices
from api.panels.numbering import Numbering
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.hints import RULES, HintRules, Hints
from livestate.state.kpi.recent import LATELY_MS, recent


class HintDocuments:
    """Makes the document from this process's own table. ``clock``: ms since the epoch."""

    def __init__(
        self,
        table: ActiveCalls,
        numbering: Numbering,
        rules: HintRules,
        clock: Callable[[], int],
    ) -> None:
        self._table = table
        self._numbering = numbering
        self._rules = rules
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        await self._numbering.load()
        now, rules = self._clock(), self._rules
        views = self._table.views.by_tenant.get(wanted.company_id)
        calls = recent(views[0], now - LATELY_MS) if views else ()
        found = Hints(
            calls, rules, lambda number: self._numbering.place(number).kind, now - LATELY_MS
        )
        await in_slices(found.steps())
        return orjson.dumps(
            {
                "as_of": now,
                "company_id": wanted.company_id,
                "window_seconds": LATELY_MS // 1000,
                "rules": {name: getattr(rules, name) for name in RULES},
                "short_seconds": rules.short_seconds,
                "hints": found.rows,
                "more": found.more,
            }
        )
