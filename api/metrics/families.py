"""Metric families of Prometheus, each with its samples."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(name, doc, value)


def gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(name, doc, float(value))


def counters(name: str, doc: str, label: str, values: dict[str, int]) -> Metric:
    """One sample for each value of ``label``."""
    family = CounterMetricFamily(name, doc, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
