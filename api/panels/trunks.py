"""The document of ``GET /api/v1/live/trunks``: trunks of all calls or a company, worst first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from api.panels.documents import Wanted, in_slices
from api.panels.trunk_file import TrunkFile
from livestate.state.kpi.kpis import Kpis


class TrunkDocuments:
    """Makes the document from this process's own figures. ``clock`` is in ms since the epoch."""

    def __init__(self, kpis: Kpis, file: TrunkFile, clock: Callable[[], int]) -> None:
        self._kpis = kpis
        self._file = file
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        company_id = wanted.company_id
        report = self._kpis.trunk_report(company_id, self._file.trunks)
        await in_slices(report.steps())
        document: dict[str, Any] = {
            "as_of": self._clock(),
            "company_id": company_id,
            "window_seconds": report.window_seconds,
            "trunks": report.rows,
            "without_trunk": report.without_trunk(),
            "others": report.others(),
        }
        # What the operator says of trunks is not for companies.
        if company_id is None and self._file.configured:
            document["file"] = self._file.status()
        return orjson.dumps(document)
