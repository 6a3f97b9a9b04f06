"""The Grafana dashboards of ``deploy/grafana/``: each panel is a line of a table here.

``docs.generate`` writes the JSON; ``tests/deploy/servers/test_dashboards.py`` runs every query
against a real Prometheus. Panels fill rows of 24 columns in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24


class Panel(NamedTuple):
    """``queries``: PromQL by legend. ``unit``: Grafana's name of it. ``kind``: timeseries, stat or
    table."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""


# Stands for @ in the queries below.
HERE: Final = '{job="livestate",instance=~"$instance"}'

NOC: Final = (
    Panel("Live calls", {"calls": "max(livestate_active_calls@)"}, kind="stat", width=4),
    Panel("Calls a second", {"cps": "max(livestate_kpi_cps@)"}, kind="stat", width=4),
    Panel("ASR", {"ASR": "min(livestate_kpi_asr_ratio@)"}, "percentunit", "stat", 4,
          "Of the attempts of the last 15 minutes (ITU-T E.425)."),
    Panel("NER", {"NER": "min(livestate_kpi_ner_ratio@)"}, "percentunit", "stat", 4),
    Panel("ACD", {"ACD": "max(livestate_kpi_acd_seconds@)"}, "s", "stat", 4),
    Panel("Can it be believed?", {"stale": "max(livestate_source_stale@)"}, "short",
          "stat", 4, "1: the page is stale."),
    Panel("Live calls by state", {"{{state}}": "max by (state) (livestate_calls@)"},
          width=12),
    Panel("Post-dial delay", {"{{quantile}}": "max by (quantile) (livestate_kpi_pdd_seconds@)"},
          "s", width=12),
    Panel("Live calls by trunk",
          {"{{trunk}}": "max by (trunk) (livestate_trunk_live_calls@)"}, width=12),
    Panel("Attempts a second by trunk",
          {"{{trunk}}": "max by (trunk) (rate(livestate_trunk_seizures_total@[5m]))"},
          "reqps", width=12),
    Panel("ASR by trunk",
          {"{{trunk}}": "max by (trunk) (increase(livestate_trunk_answers_total@[15m])) / "
           "(max by (trunk) (increase(livestate_trunk_seizures_total@[15m])) > 0)"},
          "percentunit", width=12),
    Panel("Failures a second by trunk and SIP class",
          {"{{trunk}} {{class}}": "max by (trunk, class) "
           "(rate(livestate_trunk_failures_total@[5m])) > 0"}, "reqps", width=12),
    Panel("Alarms that are raised",
          {"{{rule}} {{level}}": "max by (rule, level) (livestate_alarms@)"}, width=24,
          description="By the rules of LIVESTATE_ALARMS, as the pages show them."),
    Panel("SIP nodes", {"{{node}}": "min by (node) (livestate_sip_node_up@)"}, width=8,
          description="0: silent."),
    Panel("Clock offset of SIP nodes",
          {"{{node}}": "max by (node) (livestate_sip_node_clock_offset_seconds@)"}, "s"),
    Panel("Losses in the nodes' numbers",
          {"{{node}}": "max by (node) (increase(livestate_sip_node_gaps_total@[5m]))"}),
)  # fmt: skip

SERVICE: Final = (
    Panel("Instances", {"up": 'sum(up{job="livestate"})'}, kind="stat", width=4),
    Panel("Writer", {"{{instance}}": "livestate_redis_writer@"}, kind="stat", width=4),
    Panel("Open streams", {"streams": "sum(livestate_sse_subscribers@)"}, kind="stat",
          width=4),
    Panel("Login keys", {"keys": "min(livestate_login_keys@)"}, kind="stat", width=4),
    Panel("Version", {"{{version}}": "livestate_build_info@"}, kind="stat", width=8),
    Panel("Events a second by result",
          {"{{result}}": "sum by (result) (rate(livestate_events_total@[5m]))"}, "reqps"),
    Panel("Rejected events a second",
          {"{{reason}}": "sum by (reason) (rate(livestate_events_rejected_total@[5m])) > 0"},
          "reqps"),
    Panel("NATS connected", {"{{instance}}": "livestate_nats_connected@"}),
    Panel("CDRs a second by result",
          {"{{result}}": "sum by (result) (rate(livestate_cdrs_total@[5m]))"}, "reqps"),
    Panel("Dead letters", {"{{instance}}": "increase(livestate_cdr_dead_letters_total@[15m])"}),
    Panel("Calls that were corrected",
          {"lost": "sum(increase(livestate_calls_lost_total@[5m]))",
           "given up": "sum(increase(livestate_calls_given_up_total@[5m]))",
           "ended by CDR": "sum(increase(livestate_calls_ended_by_cdr_total@[5m]))"}),
    Panel("Streams by instance", {"{{instance}}": "livestate_sse_subscribers@"}),
    Panel("Streams that ended, a second",
          {"{{reason}}": "sum by (reason) (rate(livestate_sse_ended_total@[5m]))"}, "reqps"),
    Panel("How streams began, a second",
          {"{{result}}": "sum by (result) (rate(livestate_sse_resumes_total@[5m]))"}, "reqps"),
    Panel("Redis: changes not yet written", {"{{instance}}": "livestate_redis_dirty_calls@"}),
    Panel("Redis: last flush", {"{{instance}}": "livestate_redis_last_flush_seconds@"}, "s"),
    Panel("Redis: failures and drifts",
          {"failures": "sum(increase(livestate_redis_flush_failures_total@[5m]))",
           "drifts": "sum(increase(livestate_redis_drifts_total@[5m]))"}),
    Panel("CPU", {"{{instance}}": "rate(livestate_cpu_seconds_total@[1m])"}, "percentunit"),
    Panel("Event loop: how late", {"{{instance}}": "livestate_loop_lag_seconds@"}, "s"),
    Panel("Logins that were ended", {"{{instance}}": "livestate_logouts@"}),
)  # fmt: skip

DASHBOARDS: Final = {
    "noc": ("livestate: calls, trunks, SIP nodes", NOC),
    "service": ("livestate: the service", SERVICE),
}


def text(name: str) -> str:
    """One dashboard as the JSON that Grafana provisions."""
    title, panels = DASHBOARDS[name]
    return json.dumps(_dashboard(name, title, panels), indent=1) + "\n"


def _dashboard(name: str, title: str, panels: tuple[Panel, ...]) -> Json:
    instances = 'label_values(up{job="livestate"}, instance)'
    return {
        "uid": f"livestate-{name}", "title": title, "tags": ["livestate"], "schemaVersion": 39,
        "editable": False, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"},
            {"name": "instance", "type": "query", "label": "Instance", "datasource": _SOURCE,
             "query": {"query": instances, "refId": "instances"}, "definition": instances,
             "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*",
             "current": {"text": "All", "value": "$__all"}},
        ]},
        "panels": list(_placed(panels)),
    }  # fmt: skip


def _placed(panels: tuple[Panel, ...]) -> Iterator[Json]:
    x = y = row = 0
    for number, panel in enumerate(panels, 1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > _WIDTH:
            x, y, row = 0, y + row, 0
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": height})
        x, row = x + panel.width, max(row, height)


def _panel(number: int, panel: Panel, place: Json) -> Json:
    made: Json = {
        "id": number, "type": panel.kind, "title": panel.title, "gridPos": place,
        "datasource": _SOURCE, "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query.replace("@", HERE),
             "legendFormat": legend, "datasource": _SOURCE}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }  # fmt: skip
    if panel.description:
        made["description"] = panel.description
    return made
