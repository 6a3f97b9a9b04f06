"""Connections that are no streams."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.http.served_connections import ServedConnections
from api.metrics.families import counter, gauge


class ConnectionMetrics(Collector):
    def __init__(self, served: ServedConnections) -> None:
        self._served = served

    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "livestate_http_connections",
            "Connections that ask for anything but streams, of the public address.",
            len(self._served),
        )
        yield counter(
            "livestate_http_connections_dropped",
            "Of these, closed because there were too many: those that were idle longest.",
            self._served.dropped,
        )
