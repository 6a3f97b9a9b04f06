"""Writing to Redis."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.metrics.families import counter, gauge
from livestate.store.projection import Projection


def store_metrics(projection: Projection) -> Iterator[Metric]:
    stats = projection.stats
    yield counter("livestate_redis_flushes", "Flushes written.", stats.flushes)
    yield counter("livestate_redis_flush_failures", "Flushes that failed.", stats.failures)
    yield counter("livestate_redis_rewrites", "Whole tables written.", stats.rewrites)
    yield counter("livestate_redis_drifts", "Times Redis was not what we left.", stats.drifts)
    yield counter(
        "livestate_redis_fenced", "Times a newer writer was found.", stats.refused_by_fence
    )
    yield gauge(
        "livestate_redis_writer",
        "1 while this instance writes, 0 on standby.",
        not projection.standby,
    )
    yield gauge("livestate_redis_dirty_calls", "Calls not yet written.", projection.dirty)
    yield gauge(
        "livestate_redis_last_flush_seconds",
        "How long the last flush took.",
        stats.last_flush_seconds,
    )
