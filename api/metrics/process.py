"""This process: event loop, CPU, log, version."""

from __future__ import annotations

import asyncio
import platform
import resource
from collections.abc import Iterator
from importlib.metadata import version
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric

from api.metrics.families import counter, counters, gauge
from livestate.process import logs
from livestate.process.loop_probe import LoopProbe
from livestate.process.tasks import failures


class Ticks(Protocol):
    """A task that wakes up regularly, and measures how late it is (seconds)."""

    lag_seconds: float
    worst_lag_seconds: float


def process_metrics(ticks: Ticks, probe: LoopProbe, started_at: float) -> Iterator[Metric]:
    """``started_at``: seconds since the Unix epoch."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield gauge(
        "livestate_loop_lag_seconds",
        "Delay of the event loop at the last measurement.",
        ticks.lag_seconds,
    )
    yield gauge(
        "livestate_loop_lag_worst_seconds",
        "Largest delay of the event loop since the start.",
        ticks.worst_lag_seconds,
    )
    yield counter(
        "livestate_loop_holds",
        "Callbacks that held the event loop for more than 50 ms of CPU time.",
        probe.over,
    )
    yield gauge(
        "livestate_loop_hold_worst_seconds",
        "The longest callback since the start.",
        probe.worst_callback,
    )
    yield counter(
        "livestate_log_lines_dropped",
        "Log lines that were dropped because they were not read in time.",
        logs.dropped(),
    )
    yield gauge("livestate_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
    yield counters(
        "livestate_task_failures",
        "Times that a task ended by an error it did not expect, and began again.",
        "task",
        failures,
    )
    yield counter(
        "livestate_cpu_seconds",
        "User and system time of this process.",
        used.ru_utime + used.ru_stime,
    )
    yield gauge(
        "livestate_start_time_seconds",
        "When this process started, since the Unix epoch.",
        started_at,
    )
    build = GaugeMetricFamily("livestate_build_info", "Always 1.", labels=["version", "python"])
    build.add_metric([version("livestate"), platform.python_version()], 1)
    yield build
