"""Makes the documents of the panels from a service's own figures, for its pages and its edges."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from api.panels.alarm_watch import AlarmWatch
from api.panels.alarms import AlarmDocuments
from api.panels.companies import CompanyDocuments
from api.panels.country_watch import CountryWatch
from api.panels.destinations import DestinationDocuments
from api.panels.documents import Documents, Wanted
from api.panels.ended import EndedDocuments
from api.panels.from_engine import acknowledged_for_edges, for_edges
from api.panels.hints import HintDocuments
from api.panels.history import HistoryDocuments
from api.panels.nodes import NodeDocuments
from api.panels.numbering import Numbering
from api.panels.routes import Panels
from api.panels.trunk_file import TrunkFile
from api.panels.trunks import TrunkDocuments
from api.settings import Settings
from livestate.cluster import wire
from livestate.process.clock import now_ms, steady_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.alarms.rules import company_limits
from livestate.state.kpi.hints import parse
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble
from livestate.store.history import KeptHistory

Makes = Mapping[str, Callable[[Wanted], Awaitable[bytes]]]


class Parts(Protocol):
    """The parts of a service that its panels show; :class:`api.service.Service` has them."""

    table: ActiveCalls
    nodes: Nodes
    clocks: NodeClocks
    kpis: Kpis
    trunk_file: TrunkFile
    alarms: AlarmWatch
    numbering: Numbering
    countries: CountryWatch
    history: KeptHistory
    settings: Settings

    def troubles(self, now: int) -> tuple[Trouble, ...]: ...


def make_documents(live: Parts) -> Makes:
    """Panel → what makes its JSON object."""
    table, kpis, alarms = live.table, live.kpis, live.alarms
    return {
        "trunks": TrunkDocuments(kpis, live.trunk_file, now_ms).make,
        "companies": CompanyDocuments(kpis, now_ms, lambda: company_limits(alarms.file.rules)).make,
        "nodes": NodeDocuments(table, live.nodes, live.clocks, live.troubles).make,
        "destinations": DestinationDocuments(table, live.numbering, now_ms).make,
        "hints": HintDocuments(
            table,
            live.numbering,
            parse(live.settings.hints),
            now_ms,
            frozenset(filter(None, live.settings.risk_countries.split(","))),
            live.countries.is_new,
        ).make,
        "ended": EndedDocuments(table, now_ms, steady_ms).make,
        "history": HistoryDocuments(live.history.history, alarms.board, steady_ms).make,
        "alarms": AlarmDocuments(alarms.board, alarms.file, now_ms).make,
    }


def make_panels(makes: Makes, alarms: AlarmWatch) -> Panels:
    """What the routes serve."""
    documents = {name: Documents(make, time.monotonic, name) for name, make in makes.items()}
    return Panels(documents, alarms.acknowledge)


def panels_for_edges(
    makes: Makes, alarms: AlarmWatch
) -> dict[str, Callable[[wire.PanelRequest], Awaitable[bytes]]]:
    """What an engine answers its edges."""
    answers = {name: for_edges(make) for name, make in makes.items()}
    return answers | {"acknowledge": acknowledged_for_edges(alarms.acknowledge)}
