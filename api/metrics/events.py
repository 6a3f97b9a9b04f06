"""Events, CDRs and the connection to NATS."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from api.metrics.families import counter, counters, gauge
from livestate.contract.events import PHASES, REJECT_REASONS
from livestate.contract.quality import FIGURES
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.counters import Counters
from livestate.ingest.monitor import FeedMonitor
from livestate.nats.failure import KINDS
from livestate.state.active_calls import ActiveCalls


def event_metrics(
    counts: Counters, table: ActiveCalls, consumer: Consumer, cdrs: CdrReader, watch: FeedMonitor
) -> Iterator[Metric]:
    failures = consumer.connection.failures + cdrs.connection.failures
    yield counters(
        "livestate_events_received",
        "Messages from NATS, by phase; rejected ones have none.",
        "phase",
        {
            **dict.fromkeys(sorted(PHASES), 0),
            **counts.phases,
            "none": counts.received - counts.phases.total(),
        },
    )
    yield counters(
        "livestate_events",
        "Messages by result; the sum is the number received.",
        "result",
        {
            "applied": counts.applied,
            "duplicate": counts.duplicate,
            "stale": counts.stale,
            "rejected": counts.rejected.total(),
            "dropped": counts.dropped,
        },
    )
    yield counters(
        "livestate_events_rejected",
        "Rejected messages.",
        "reason",
        {**dict.fromkeys(REJECT_REASONS, 0), **counts.rejected},
    )
    yield _left_out(counts)
    yield counter(
        "livestate_events_irregular",
        "Events that the transition table does not expect in their call's state.",
        counts.irregular,
    )
    yield counter(
        "livestate_calls_refused_by_proxy",
        "Calls that never had a dialog.",
        counts.refused_by_proxy,
    )
    yield counter(
        "livestate_calls_lost",
        "Calls closed because their node's list no longer had them.",
        counts.lost,
    )
    yield counter(
        "livestate_calls_given_up",
        "Calls closed because they were unconfirmed for too long.",
        counts.expired,
    )
    yield counter("livestate_cdrs_received", "CDRs read from cdr.raw.", counts.cdrs)
    yield counters(
        "livestate_cdrs",
        "CDRs by result; the sum is the number received.",
        "result",
        {name: counts.cdr_results[name] for name in ("applied", "stale", "rejected")},
    )
    yield counter(
        "livestate_calls_ended_by_cdr",
        "Live calls ended by their CDR: core NATS lost the event, or delivered it later.",
        counts.ended_by_cdr,
    )
    yield counter(
        "livestate_cdr_dead_letters",
        "Invalid CDRs stored on cdr.dead.",
        cdrs.dead_letters.stored,
    )
    yield gauge(
        "livestate_cdr_dead_letters_storable",
        "1 while cdr.dead stores CDRs; known after the last attempt only.",
        cdrs.dead_letters.trouble is None,
    )
    yield gauge(
        "livestate_cdr_dead_letters_waiting",
        "Invalid CDRs in memory that wait for cdr.dead.",
        cdrs.dead_letters.waiting,
    )
    yield counter(
        "livestate_cdr_dead_letters_dropped",
        "Invalid CDRs dropped from that queue; the stream of cdr.raw still has them.",
        cdrs.dead_letters.dropped,
    )
    yield gauge("livestate_cdrs_waiting", "CDRs still to be read.", cdrs.waiting)
    yield gauge(
        "livestate_messages_waiting",
        "Messages queued because they arrive faster than they are folded.",
        consumer.backlog.messages,
    )
    yield counters(
        "livestate_listed_calls_rejected",
        "Calls of lists rejected alone; the rest of their list counts.",
        "reason",
        {**dict.fromkeys(REJECT_REASONS, 0), **counts.listed_rejected},
    )
    yield counter(
        "livestate_lost_unpublished",
        "Lost calls not published on call.events.lost: max_payload is too small, or "
        "the user may not publish there.",
        consumer.unpublished,
    )
    yield gauge("livestate_active_calls", "Live calls.", table.live)
    yield gauge("livestate_active_calls_limit", "LIVESTATE_MAX_CALLS.", table.most)
    yield gauge("livestate_remembered_calls", "Live and ended calls in memory.", len(table.calls))
    yield gauge("livestate_nats_connected", "1 while connected.", consumer.connected)
    yield counter("livestate_nats_reconnects", "Reconnects to NATS.", consumer.reconnects)
    yield counters(
        "livestate_nats_failures",
        "Connections to NATS that were refused or lost, and missing rights, by reason.",
        "reason",
        {kind: failures[kind] for kind in KINDS},
    )
    yield gauge(
        "livestate_cdrs_readable",
        "1 while the stream of cdr.raw can be read.",
        cdrs.trouble is None,
    )
    yield counter(
        "livestate_nats_renewals",
        "Connections to NATS renewed because no node sent anything.",
        watch.renewals,
    )


def _left_out(counts: Counters) -> Metric:
    family = CounterMetricFamily(
        "livestate_event_fields_left_out",
        "Optional fields with a bad value; the rest of their events counts.",
        labels=["field", "reason"],
    )
    for field in FIGURES:
        for reason in ("wrong_type", "out_of_range"):
            family.add_metric([field, reason], counts.fields_left_out[field, reason])
    return family
