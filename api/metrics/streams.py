"""Streams, their views, and what is encoded for them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.metrics.families import counter, counters, gauge
from api.stream.encoder import SseEncoder
from api.stream.registry import StreamRegistry
from livestate.fanout.context import FanoutContext


def stream_metrics(
    streams: StreamRegistry, encoder: SseEncoder, context: FanoutContext, companies: int
) -> Iterator[Metric]:
    """``companies``: how many have a view."""
    yield gauge(
        "livestate_sse_filtered_views",
        "Filtered views that streams watch.",
        len(streams.filters),
    )
    yield gauge(
        "livestate_sse_snapshot_bytes",
        "Large snapshots that are kept or still read.",
        context.snapshot_bytes,
    )
    yield gauge("livestate_companies", "Companies with a view.", companies)
    yield gauge("livestate_sse_subscribers", "Open streams.", len(streams))
    yield gauge("livestate_sse_subscribers_limit", "LIVESTATE_MAX_STREAMS.", streams.most)
    yield counters(
        "livestate_sse_resumes",
        "How streams began.",
        "result",
        {name: streams.opened[name] for name in ("resumed", "unknown_id", "fresh")},
    )
    yield counters(
        "livestate_sse_ended",
        "Why streams ended.",
        "reason",
        {"gone": 0, "rotation": 0} | streams.ended,
    )
    yield counter(
        "livestate_sse_frames_encoded",
        "Diffs encoded, each for all its clients.",
        encoder.diffs,
    )
    yield counter(
        "livestate_sse_records_encoded", "Whole records encoded.", encoder.records.encodes
    )
    yield counter("livestate_sse_snapshots_built", "Snapshots built.", context.snapshots)
