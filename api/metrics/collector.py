"""``/metrics``: the plain numbers that the service keeps, for Prometheus.

Base units and bounded labels. Nodes and trunks have names here; calls, companies and logins do not.
A module of this folder describes each part of the service.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.auth.verifier import Verifier
from api.metrics.alarms import alarm_metrics
from api.metrics.engine import engine_metrics, served_metrics
from api.metrics.events import event_metrics
from api.metrics.logins import login_metrics
from api.metrics.network import key_figures, sip_nodes
from api.metrics.nodes import node_metrics
from api.metrics.process import process_metrics
from api.metrics.store import store_metrics
from api.metrics.streams import stream_metrics
from api.panels.alarm_watch import AlarmWatch
from api.stream.encoder import SseEncoder
from api.stream.registry import StreamRegistry
from livestate.cluster.publisher import EdgeFeed
from livestate.cluster.served_hub import ServedHub
from livestate.fanout.hub import Hub
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.counters import Counters
from livestate.ingest.monitor import FeedMonitor
from livestate.process.clock import steady_ms
from livestate.process.loop_probe import LoopProbe
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.store.projection import Projection


@dataclass(frozen=True, slots=True, eq=False)
class MetricsCollector(Collector):
    """Reads all numbers during a scrape; the hot path only adds integers."""

    table: ActiveCalls
    nodes: Nodes
    counters: Counters
    hub: Hub
    encoder: SseEncoder
    streams: StreamRegistry
    projection: Projection
    consumer: Consumer
    cdrs: CdrReader
    watch: FeedMonitor
    verifier: Verifier
    probe: LoopProbe
    kpis: Kpis
    clocks: NodeClocks
    edges: EdgeFeed
    alarms: AlarmWatch
    served: ServedHub | None
    started_at: float = field(default_factory=time.time)  # seconds since the Unix epoch

    def collect(self) -> Iterator[Metric]:
        now = steady_ms()
        hub = self.hub if self.served is None else self.served.hub
        context = hub.context
        yield from event_metrics(self.counters, self.table, self.consumer, self.cdrs, self.watch)
        yield from node_metrics(self.nodes, self.counters, context, now)
        yield from stream_metrics(self.streams, self.encoder, context, self.table.views.companies)
        yield from store_metrics(self.projection)
        yield from login_metrics(self.verifier)
        yield from process_metrics(self.watch, self.probe, self.started_at)
        yield from key_figures(self.kpis, now)
        yield from sip_nodes(self.nodes, self.clocks, self.table, now)
        yield from alarm_metrics(self.alarms)
        yield from engine_metrics(self.edges, now)
        if self.served is not None:
            yield from served_metrics(self.served)
