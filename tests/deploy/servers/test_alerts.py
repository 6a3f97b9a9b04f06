"""The alerts on made-up series, by ``promtool``: silent while all is well, silent for as long as
``for`` says, then firing, and over when it is over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy/prometheus/alerts.yaml"
STEP: Final = 30  # seconds between two samples
CALM: Final = 120  # samples before the fault: an hour
BAD: Final = 80  # of the fault: 40 minutes
AFTER: Final = 160


class Series(NamedTuple):
    """A metric's values while all is well and during the fault: a number, or ``+1`` for a counter
    that grows by one a sample."""

    name: str
    well: str
    bad: str

    def values(self) -> str:
        values, value = [], 0.0
        for kind, samples in ((self.well, CALM), (self.bad, BAD), (self.well, AFTER)):
            for _ in range(samples):
                value = value + float(kind) if kind[0] == "+" else float(kind)
                values.append(f"{value:g}")
        return " ".join(values)


S = '{job="livestate",instance="a"'


def gauge(name: str, well: float, bad: float, labels: str = "") -> Series:
    return Series(f"{name}{S}{labels}}}", f"{well:g}", f"{bad:g}")


def counter(name: str, well: int, bad: int, labels: str = "") -> Series:
    return Series(f"{name}{S}{labels}}}", f"+{well}", f"+{bad}")


A = ',trunk="gw-a"'
NODE = ',node="kam-1"'
CASES: dict[str, list[Series]] = {
    "LivestateDown": [gauge("up", 1, 0)],
    "LivestateRestarts": [counter("livestate_start_time_seconds", 0, 1)],
    "LivestateLoopLate": [gauge("livestate_loop_lag_seconds", 0.01, 2)],
    "LivestateTaskFailed": [counter("livestate_task_failures_total", 0, 1, ',task="watch"')],
    "LivestateCallsNearLimit": [
        gauge("livestate_active_calls", 700, 900), gauge("livestate_active_calls_limit", 1e3, 1e3)
    ],
    "LivestateStreamsNearLimit": [
        gauge("livestate_sse_subscribers", 70, 90), gauge("livestate_sse_subscribers_limit", 99, 99)
    ],
    "LivestateNoLoginKeys": [gauge("livestate_login_keys", 2, 0)],
    "LivestateLoginKeysUnreadable": [gauge("livestate_login_keys_unreadable", 0, 1)],
    "LivestateRevocationsUnreadable": [gauge("livestate_revocations_unreadable", 0, 1)],
    "LivestateStale": [gauge("livestate_source_stale", 0, 1)],
    "LivestateNatsDisconnected": [gauge("livestate_nats_connected", 1, 0)],
    "LivestateNodeSilent": [gauge("livestate_sip_node_up", 1, 0, NODE)],
    "LivestateNodeLosesEvents": [counter("livestate_sip_node_gaps_total", 0, 1, NODE)],
    "LivestateNodeClockOff": [gauge("livestate_sip_node_clock_offset_seconds", 0, -9, NODE)],
    "LivestateTwoNodesWithOneName": [gauge("livestate_nodes_contested", 0, 1)],
    "LivestateNodeUnusable": [gauge("livestate_nodes_refused", 0, 1)],
    "LivestateNodeWithoutList": [gauge("livestate_nodes_without_list", 0, 1)],
    "LivestateForgedMessages": [
        counter("livestate_events_rejected_total", 0, 1, ',reason="forged_node"'),
        counter("livestate_events_rejected_total", 1, 9, ',reason="not_json"'),
    ],
    "LivestateEventsRejected": [
        counter("livestate_events_rejected_total", 0, 1, ',reason="not_json"'),
        counter("livestate_events_rejected_total", 1, 9, ',reason="unproven"'),
    ],
    "LivestateCdrsUnreadable": [gauge("livestate_cdrs_readable", 1, 0)],
    "LivestateDeadLetters": [counter("livestate_cdr_dead_letters_total", 0, 1)],
    "LivestateRedisNotWritten": [
        counter("livestate_redis_flush_failures_total", 0, 1),
        gauge("livestate_redis_dirty_calls", 3, 7),
    ],
    "LivestateNoWriter": [gauge("livestate_redis_writer", 1, 0)],
    "LivestateRedisEdited": [counter("livestate_redis_drifts_total", 0, 1)],
    "LivestateTrunkFailing": [
        counter("livestate_trunk_seizures_total", 4, 4, A),
        counter("livestate_trunk_failures_total", 1, 3, f'{A},class="5xx"'),
        counter("livestate_trunk_failures_total", 3, 1, f'{A},class="4xx"'),
    ],
    "LivestateTrunkQuiet": [counter("livestate_trunk_seizures_total", 4, 0, A)],
    "LivestateAsrLow": [
        gauge("livestate_kpi_asr_ratio", 0.6, 0.2), gauge("livestate_kpi_offered_calls", 500, 500)
    ],
    "LivestateAlarmRaised": [
        gauge("livestate_alarms", 0, 2, ',level="alarm",rule="ner"'),
        gauge("livestate_alarms", 1, 1, ',level="alarm",rule="feed_stale"'),
        gauge("livestate_alarms", 1, 0, ',level="warning",rule="ner"'),
    ],
    "LivestateWarningRaised": [
        gauge("livestate_alarms", 0, 1, ',level="warning",rule="ner"'),
        gauge("livestate_alarms", 1, 0, ',level="alarm",rule="ner"'),
    ],
}  # fmt: skip


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def promtool(program: Callable[[str], str], rule_file: Path, alert: str, into: Path) -> str:
    """What promtool says of one alert: nothing, if it is as it should be."""
    waits = seconds(rules()[alert].get("for", "0s"))
    begins, over = CALM * STEP, (CALM + BAD) * STEP
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    checks = [(begins - STEP, False), (over - STEP, True), ((CALM + BAD + AFTER - 1) * STEP, False)]
    if waits:
        checks.append((begins + waits - STEP, False))
    made = {
        "rule_files": [str(rule_file)],
        "evaluation_interval": f"{STEP}s",
        "tests": [{
            "interval": f"{STEP}s",
            "input_series": [{"series": one.name, "values": one.values()} for one in CASES[alert]],
            "promql_expr_test": [
                {"expr": firing, "eval_time": f"{at}s",
                 "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}
                for at, fires in checks
            ],
        }],
    }  # fmt: skip
    (into / "test.yaml").write_text(yaml.safe_dump(made))
    report = subprocess.run([program("promtool"), "test", "rules", into / "test.yaml"],
                          capture_output=True, text=True)  # fmt: skip
    return "" if report.returncode == 0 else report.stdout + report.stderr


def test_promtool_takes_the_rules(program: Callable[[str], str]) -> None:
    subprocess.run([program("promtool"), "check", "rules", RULES], check=True)


def test_every_alert_has_a_case_and_says_what_is_wrong() -> None:
    assert rules().keys() == CASES.keys()
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"].keys() == {"summary", "description"}, name


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_in_time_and_is_over(
    program: Callable[[str], str], tmp_path: Path, alert: str
) -> None:
    assert promtool(program, RULES, alert, tmp_path) == ""


@pytest.mark.parametrize(
    ("alert", "was", "broken"),
    [
        ("LivestateDown", "== 0", "== 2"),
        ("LivestateStale", "livestate_source_stale == 1", "livestate_source_old == 1"),
        ("LivestateNodeSilent", "for: 1m", "for: 2h"),
        ("LivestateTrunkFailing", "> 0.5 *", "> 5 *"),
        ("LivestateAsrLow", "< 0.3", "< 30"),
        ("LivestateAlarmRaised", "feed_stale|", ""),
    ],
)
def test_a_broken_alert_is_found(
    program: Callable[[str], str], tmp_path: Path, alert: str, was: str, broken: str
) -> None:
    head, rest = RULES.read_text().split(f"alert: {alert}\n")
    assert was in rest
    (tmp_path / "alerts.yaml").write_text(f"{head}alert: {alert}\n{rest.replace(was, broken, 1)}")
    assert promtool(program, tmp_path / "alerts.yaml", alert, tmp_path) != ""
