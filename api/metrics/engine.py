"""What an engine publishes to its edges, and how far behind it they are."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.metrics.families import counter, gauge
from livestate.cluster.publisher import EdgeFeed
from livestate.cluster.served_hub import ServedHub


def engine_metrics(feed: EdgeFeed, now: int) -> Iterator[Metric]:
    """``now``: ms of the steady clock. The lags are those of the edge that is furthest behind:
    names of edges come and go with containers, and would be labels without a bound."""
    edges = feed.reports.current(now)
    yield gauge(
        "livestate_engine_publishes", "1 while this engine publishes.", feed.leadership.leads
    )
    yield gauge("livestate_engine_views", "Views that edges watch.", len(feed.watched))
    yield counter("livestate_engine_frames", "Frames and heartbeats published.", feed.frames)
    yield counter("livestate_engine_states", "States of views that edges asked for.", feed.states)
    yield gauge(
        "livestate_engine_waiting_bytes", "Frames that NATS has not taken.", feed.outbox.bytes
    )
    yield counter(
        "livestate_engine_dropped",
        "Messages to edges that NATS did not take in time.",
        feed.outbox.dropped,
    )
    yield counter("livestate_engine_unreadable", "Unusable messages of edges.", feed.unreadable)
    yield gauge("livestate_engine_edges", "Edges that were heard in the last 10 s.", len(edges))
    yield gauge(
        "livestate_engine_edge_lag_versions",
        "Versions of a view that the edge furthest behind lacks.",
        max((one.lag_versions for one in edges), default=0),
    )
    yield gauge(
        "livestate_engine_edge_lag_seconds",
        "How far behind the edge furthest behind is.",
        max((one.lag_ms for one in edges), default=0) / 1000,
    )


def served_metrics(served: ServedHub) -> Iterator[Metric]:
    """Of a single process: where its clients are served from."""
    yield gauge(
        "livestate_served_from_leader",
        "1 while clients are served from what another process publishes.",
        served.serves == "leader",
    )
    yield counter(
        "livestate_served_changes",
        "Times that streams went from one source to the other.",
        served.changes,
    )
