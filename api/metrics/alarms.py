"""Alarms that are raised, and the webhook that reports them. Labels are rules, levels, reasons."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from api.metrics.families import counter, counters, gauge
from api.panels.alarm_watch import AlarmWatch


def alarm_metrics(alarms: AlarmWatch) -> Iterator[Metric]:
    """Those of all calls and of companies together."""
    raised = GaugeMetricFamily(
        "livestate_alarms", "Alarms that are raised.", labels=["rule", "level"]
    )
    for (rule, level), number in alarms.board.raised_by_rule().items():
        raised.add_metric([rule, level], number)
    yield raised
    yield counter(
        "livestate_alarms_overlooked",
        "Alarms that were not raised because too many were.",
        alarms.board.overlooked,
    )
    yield gauge(
        "livestate_alarm_file_problems",
        "Values of the alarm file that are ignored, and 1 if it cannot be read.",
        len(alarms.file.bad) + (alarms.file.trouble is not None),
    )
    webhook = alarms.webhook
    if webhook is not None:
        yield counter("livestate_alarm_webhook_sent", "Changes that it took.", webhook.sent)
        yield counter(
            "livestate_alarm_webhook_failed_tries", "Tries that failed.", webhook.failed_tries
        )
        yield counters(
            "livestate_alarm_webhook_dropped",
            "Changes that were not sent.",
            "reason",
            webhook.dropped,
        )
        yield gauge("livestate_alarm_webhook_waiting", "Changes to send.", webhook.waiting)
