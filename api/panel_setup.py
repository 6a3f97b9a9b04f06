"""Makes the documents of the panels from a service's own figures, for its pages and its edges."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from api.panels.alarm_watch import AlarmWatch
from api.panels.alarms import AlarmDocuments
from api.panels.documents import Documents, Wanted
from api.panels.ended import EndedDocuments
from api.panels.from_engine import acknowledged_for_edges, for_edges
from api.panels.routes import Panels
from api.panels.trunk_file import TrunkFile
from api.panels.trunks import TrunkDocuments
from livestate.cluster import wire
from livestate.process.clock import now_ms, steady_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.kpis import Kpis

Makes = Mapping[str, Callable[[Wanted], Awaitable[bytes]]]


def make_documents(table: ActiveCalls, kpis: Kpis, trunks: TrunkFile, alarms: AlarmWatch) -> Makes:
    """Panel → what makes its JSON object."""
    return {
        "trunks": TrunkDocuments(kpis, trunks, now_ms).make,
        "ended": EndedDocuments(table, now_ms, steady_ms).make,
        "alarms": AlarmDocuments(alarms.board, alarms.file, now_ms).make,
    }


def make_panels(makes: Makes, alarms: AlarmWatch) -> Panels:
    """What the routes serve."""
    documents = {name: Documents(make, time.monotonic) for name, make in makes.items()}
    return Panels(**documents, acknowledge=alarms.acknowledge)


def panels_for_edges(
    makes: Makes, alarms: AlarmWatch
) -> dict[str, Callable[[wire.PanelRequest], Awaitable[bytes]]]:
    """What an engine answers its edges."""
    answers = {name: for_edges(make) for name, make in makes.items()}
    return answers | {"acknowledge": acknowledged_for_edges(alarms.acknowledge)}
