"""The document of ``GET /api/v1/live/trunks``: trunks of all calls or a company, worst first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from api.panels.documents import Wanted
from api.panels.trunk_file import TrunkFile
from livestate.process.slices import SLICE_SECONDS
from livestate.state.kpi.kpis import Kpis


class TrunkDocuments:
    """Makes the document from this process's own figures. ``clock`` is in ms since the epoch."""

    def __init__(self, kpis: Kpis, file: TrunkFile, clock: Callable[[], int]) -> None:
        self._kpis = kpis
        self._file = file
        self._clock = clock

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object. The loop runs other callbacks every few milliseconds."""
        company_id = wanted.company_id
        report = self._kpis.trunk_report(company_id, self._file.trunks)
        began = time.perf_counter()
        for _ in report.steps():
            if time.perf_counter() - began > SLICE_SECONDS:
                await asyncio.sleep(SLICE_SECONDS)  # as much for the others
                began = time.perf_counter()
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
