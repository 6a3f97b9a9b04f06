"""The document of ``GET /api/v1/live/companies``: the companies, worst first, for roles that see
all calls."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from api.panels.documents import Wanted, in_slices
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.trunk_alarms import CompanyLimits


class CompanyDocuments:
    """Makes the document from this process's own figures. ``clock`` is in ms since the epoch;
    ``limits()``: of the alarm rules."""

    def __init__(
        self,
        kpis: Kpis,
        clock: Callable[[], int],
        limits: Callable[[], CompanyLimits] = CompanyLimits,
    ) -> None:
        self._kpis = kpis
        self._clock = clock
        self._limits = limits

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        report = self._kpis.company_report(self._limits())
        await in_slices(report.steps())
        return orjson.dumps(
            {
                "as_of": self._clock(),
                "company_id": None,
                "window_seconds": report.window_seconds,
                "companies": report.rows,
                "more": report.more,
                "more_live": report.more_live,
            }
        )
