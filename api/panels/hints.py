"""The document of ``GET /api/v1/live/hints``: callers of all calls or a company that break a rule.

Calls are read from the view of those who ask, so nothing in a company's document depends on others.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from api.panels.documents import Wanted, in_slices
from api.panels.numbering import Numbering
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.countries import HISTORY_HOURS
from livestate.state.kpi.hints import RULES, HintRules, Hints, Outside
from livestate.state.kpi.recent import LATELY_MS, recent


class HintDocuments:
    """Makes the document from this process's own table. ``clock``: ms since the epoch; ``risky``:
    countries of the operator's list; ``is_new(company, country)``: whether one is new to a
    company."""

    def __init__(
        self,
        table: ActiveCalls,
        numbering: Numbering,
        rules: HintRules,
        clock: Callable[[], int],
        risky: frozenset[str] = frozenset(),
        is_new: Callable[[str | None, str], bool] = lambda company, country: False,
    ) -> None:
        self._table = table
        self._numbering = numbering
        # Without a list there is no such rule.
        self._rules = rules if risky else rules._replace(risk=0)
        self._outside = Outside(numbering.place_of, risky, is_new)
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        await self._numbering.load()
        now, rules = self._clock(), self._rules
        views = self._table.views.by_tenant.get(wanted.company_id)
        calls = recent(views[0], now - LATELY_MS) if views else ()
        found = Hints(calls, rules, self._outside, oldest=now - LATELY_MS, now=now)
        await in_slices(found.steps())
        return orjson.dumps(
            {
                "as_of": now,
                "company_id": wanted.company_id,
                "window_seconds": LATELY_MS // 1000,
                "rules": {name: getattr(rules, name) for name in RULES},
                "short_seconds": rules.short_seconds,
                "risk_countries": sorted(self._outside.risky),
                "history_days": HISTORY_HOURS // 24,
                "hints": found.rows,
                "more": found.more,
            }
        )
