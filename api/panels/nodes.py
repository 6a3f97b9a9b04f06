"""The document of ``GET /api/v1/live/nodes``: the SIP nodes, worst first, for roles that see all
calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from api.panels.documents import Wanted, in_slices
from livestate.process.clock import now_ms, steady_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.report import NodeReport
from livestate.state.nodes.trouble import Trouble


class NodeDocuments:
    """Makes the document from this process's own nodes. ``clock``: ms since the epoch; ``steady``:
    ms on the scale of the nodes' times; ``troubles(now)``: what is wrong with nodes."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        clocks: NodeClocks,
        troubles: Callable[[int], Iterable[Trouble]],
        *,
        clock: Callable[[], int] = now_ms,
        steady: Callable[[], int] = steady_ms,
    ) -> None:
        self._table = table
        self._nodes = nodes
        self._clocks = clocks
        self._troubles = troubles
        self._clock = clock
        self._steady = steady

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object."""
        now = self._steady()
        report = NodeReport(
            self._nodes.by_name.values(),
            self._troubles(now),
            self._clocks.off,
            self._table.nodes.count,
            now,
        )
        await in_slices(report.steps())
        return orjson.dumps(
            {
                "as_of": self._clock(),
                "company_id": None,
                "nodes": report.rows,
                "more": report.more,
            }
        )
