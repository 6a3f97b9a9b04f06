"""``/metrics``: the plain numbers that the service keeps, for Prometheus. Base units, bounded
labels, nothing that names a call, a company or a token."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.stream import Streams
from api.wire import SseWire
from livestate.active_calls import ActiveCalls
from livestate.events import PHASES, REJECT_REASONS
from livestate.nodes import Nodes
from livestate.runtime.cdrs import CdrReader
from livestate.runtime.clock import steady_ms
from livestate.runtime.consumer import Consumer
from livestate.runtime.hub import Hub
from livestate.runtime.projection import Projection
from livestate.runtime.tally import Tally
from livestate.runtime.watch import Watch


@dataclass(frozen=True, slots=True, eq=False)
class Numbers(Collector):
    """Reads everything at the moment of a scrape; the hot path only adds integers."""

    table: ActiveCalls
    nodes: Nodes
    tally: Tally
    hub: Hub
    wire: SseWire
    streams: Streams
    projection: Projection
    consumer: Consumer
    cdrs: CdrReader
    watch: Watch

    def collect(self) -> Iterator[Metric]:
        tally, stats = self.tally, self.projection.stats
        yield _counters(
            "livestate_events_received", "Messages from NATS, by phase; rejected ones have none.",
            "phase", {**dict.fromkeys(sorted(PHASES), 0), **tally.phases,
                      "none": tally.received - tally.phases.total()})  # fmt: skip
        yield _counters(
            "livestate_events", "What became of each message; the sum is what was received.",
            "result", {"applied": tally.applied, "duplicate": tally.duplicate,
                       "stale": tally.stale, "rejected": tally.rejected.total(),
                       "dropped": tally.dropped})  # fmt: skip
        yield _counters("livestate_events_rejected", "Rejected messages.", "reason",
                        {**dict.fromkeys(REJECT_REASONS, 0), **tally.rejected})  # fmt: skip
        yield _counter("livestate_events_irregular", "Steps the transition table does not know.",
                       tally.irregular)  # fmt: skip
        yield _counter("livestate_calls_refused_by_proxy", "Calls that never had a dialog.",
                       tally.refused_by_proxy)  # fmt: skip
        yield _counter("livestate_calls_lost", "Calls closed because their node's list no longer "
                       "had them.", tally.lost)  # fmt: skip
        yield _counter("livestate_calls_given_up", "Calls closed because nobody could vouch for "
                       "them for too long.", tally.given_up)  # fmt: skip
        yield _counter("livestate_cdrs_received", "CDRs read from cdr.raw.", tally.cdrs)
        yield _counters("livestate_cdrs", "What became of each CDR; the sum is what was received.",
                        "result", {name: tally.cdr_results[name]
                                   for name in ("applied", "stale", "rejected")})  # fmt: skip
        yield _counter("livestate_calls_ended_by_cdr", "Calls that were still live when their CDR "
                       "came: what core NATS lost, or was slower with.",
                       tally.ended_by_cdr)  # fmt: skip
        yield _counter("livestate_cdr_dead_letters", "CDRs put aside on cdr.dead.",
                       self.cdrs.dead_letters)  # fmt: skip
        yield _gauge("livestate_cdrs_waiting", "CDRs still to be read.", self.cdrs.waiting)
        yield _counter("livestate_node_lists", "Complete lists of dialogs reconciled.", tally.lists)
        yield _gauge("livestate_active_calls", "Live calls.", self.table.live)
        yield _gauge("livestate_remembered_calls", "Live and ended calls in memory.",
                     len(self.table.calls))  # fmt: skip
        now = steady_ms()
        yield _gauge("livestate_nodes", "SIP nodes heard of.", len(self.nodes.by_name))
        yield _gauge("livestate_nodes_stale", "SIP nodes silent for too long.",
                     len(self.nodes.stale(now)))  # fmt: skip
        yield _counter("livestate_node_gaps", "Losses seen in the nodes' numbers.",
                       sum(node.gaps for node in self.nodes.by_name.values()))  # fmt: skip
        yield _gauge("livestate_source_stale", "1 while what we show cannot be believed.",
                     self.hub.shared.source.stale_since is not None)  # fmt: skip
        yield _gauge("livestate_nats_connected", "1 while connected.", self.consumer.connected)
        yield _counter("livestate_nats_reconnects", "Reconnects to NATS.", self.consumer.reconnects)
        yield _counter("livestate_nats_renewals", "Connections given up because no node was heard.",
                       self.watch.renewals)  # fmt: skip
        yield _gauge("livestate_loop_lag_seconds", "How late the event loop was, last.",
                     self.watch.lag_seconds)  # fmt: skip
        yield _gauge("livestate_loop_lag_worst_seconds", "The worst since the start.",
                     self.watch.worst_lag_seconds)  # fmt: skip
        yield _gauge("livestate_nodes_doubted", "SIP nodes whose calls are marked unconfirmed.",
                     sum(bool(node.doubts)
                         for node in self.nodes.by_name.values()))  # fmt: skip
        yield _gauge("livestate_sse_subscribers", "Open streams.", len(self.streams))
        yield _counters("livestate_sse_resumes", "How streams began.", "result",
                        {name: self.streams.opened[name]
                         for name in ("resumed", "unknown_id", "fresh")})  # fmt: skip
        yield _counters("livestate_sse_ended", "Why streams ended.", "reason",
                        {"gone": 0, "rotation": 0} | self.streams.ended)  # fmt: skip
        yield _counter("livestate_sse_frames_encoded", "Diffs encoded, each for all its clients.",
                       self.wire.diffs)  # fmt: skip
        yield _counter("livestate_sse_records_encoded", "Whole records encoded.",
                       self.wire.records.encodes)  # fmt: skip
        yield _counter(
            "livestate_sse_snapshots_built", "Snapshots built.", self.hub.shared.snapshots
        )
        yield _counter("livestate_redis_flushes", "Flushes written.", stats.flushes)
        yield _counter("livestate_redis_flush_failures", "Flushes that failed.", stats.failures)
        yield _counter("livestate_redis_rewrites", "Whole tables written.", stats.rewrites)
        yield _counter("livestate_redis_drifts", "Times Redis was not what we left.", stats.drifts)
        yield _counter("livestate_redis_fenced", "Times a newer writer was found.",
                       stats.refused_by_fence)  # fmt: skip
        yield _gauge("livestate_redis_writer", "1 while this instance writes, 0 on standby.",
                     not self.projection.standby)  # fmt: skip
        yield _gauge("livestate_redis_dirty_calls", "Calls not yet written.", self.projection.dirty)
        yield _gauge("livestate_redis_last_flush_seconds", "How long the last flush took.",
                     stats.last_flush_seconds)  # fmt: skip
        yield _gauge("livestate_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield _counter("livestate_cpu_seconds", "User and system time of this process.",
                       used.ru_utime + used.ru_stime)  # fmt: skip


def _counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(name, doc, value)


def _gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(name, doc, float(value))


def _counters(name: str, doc: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, doc, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
