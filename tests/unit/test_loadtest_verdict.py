"""The load test's conclusions from its figures: percentiles, growth, and the verdict of a run."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from loadtest import report, verdict
from loadtest.metrics import Metrics, beyond, percentiles
from loadtest.outcome import judged
from loadtest.profiles import profile


def test_a_percentile_over_workers_is_that_of_all_samples() -> None:
    one, other, merged = Metrics(), Metrics(), Metrics()
    one.samples("receive", [1_000] * 990)
    other.samples("receive", [900_000] * 10)
    other.counts["gaps"] = 2
    for worker in (one, other, one):  # what was reported is not reported again
        merged.merge(json.loads(json.dumps(worker.take())))
    result = percentiles(merged.histograms["receive"])
    assert result["count"] == 1_000
    assert (result["p50"], result["max"]) == pytest.approx((1, 900), rel=0.01)
    assert result["p99.9"] == pytest.approx(900, rel=0.01)
    assert merged.counts["gaps"] == 2


CALM = {
    "cpu": 0.3,
    "lag_ms": 20.0,
    "publisher_late_ms": 5.0,
    "before_time": 0.0,
    "users": 1.0,
    "plateau_seconds": 0.0,
    "late_share": 0.0,
    "published": 1.0,
    "publisher_gone": 0.0,
    "unsaid": 0.0,
    "workers_lost": 0.0,
}


GOOD = {"gaps": 0.0, "duplicates": 0.0, "divergence": 0.0, "foreign": 0.0, "evictions": 0.0,
        "unequal": 0.0, "redis": 0.0, "service cpu": 0.4, "compared": 1.0}  # fmt: skip


FAST = {"receive": {"p99": 20.0, "max": 90.0}, "snapshot": {"p99": 100.0}}


@pytest.mark.parametrize(
    ("numbers", "times", "pressure", "expected"),
    [
        ({}, {}, {}, "PASSED"),
        ({"foreign": 1}, {}, {}, "FAILED"),
        ({}, {"receive": {"p99": 300, "max": 400}}, {}, "FAILED"),
        ({}, {"receive": {}}, {}, "FAILED"),  # nothing measured is no success
        ({}, {}, {"cpu": 0.81}, "INVALID"),
        ({}, {}, {"lag_ms": 101}, "INVALID"),
        ({}, {}, {"publisher_late_ms": 101}, "INVALID"),
        ({}, {}, {"before_time": 1}, "INVALID"),
        ({}, {}, {"published": 0.7}, "INVALID"),  # less was asked of it
        ({}, {}, {"publisher_gone": 1}, "INVALID"),
        ({}, {}, {"unsaid": 3}, "INVALID"),
        ({}, {}, {"workers_lost": 1}, "INVALID"),
        ({}, {}, {"users": 1.45}, "INVALID"),
        ({"evictions": 1}, {}, {}, "FAILED"),
        ({"evictions": 1}, {}, {"lag_ms": 3_000}, "INVALID"),
        ({"gaps": 1}, {}, {"cpu": 0.95}, "FAILED"),  # no loader makes up a gap
        ({"gaps": 1}, {}, {"publisher_worst_ms": 6_000}, "INVALID"),  # but times are left out
        ({"gaps": 1, "foreign": 1}, {}, {"publisher_worst_ms": 6_000}, "FAILED"),
        ({"service cpu": 0.95}, {}, {"lag_ms": 300}, "FAILED"),  # nor makes a service compute
    ],
)
def test_a_verdict(
    numbers: dict[str, float], times: dict[str, Any], pressure: dict[str, float], expected: str
) -> None:
    found = verdict.judge(profile("ci"), GOOD | numbers, FAST | times, CALM | pressure)
    assert found.verdict == expected
    assert (expected == "INVALID") == bool(found.reasons) or expected == "FAILED"
    assert report.table(found).endswith(expected)


FLAT = {"memory growth": 0.01, "descriptor growth": 0.0}


LONG = {"plateau_seconds": 900.0}


@pytest.mark.parametrize(
    ("numbers", "pressure", "expected"),
    [
        (FLAT, LONG, "PASSED"),
        (FLAT | {"memory growth": 0.06}, LONG, "FAILED"),
        ({}, {"plateau_seconds": 20.0}, "INVALID"),  # too short to see any growth
        ({"gaps": 1}, {"plateau_seconds": 20.0}, "FAILED"),
        (FLAT, LONG | {"lag_ms": 300, "late_share": 0.001}, "PASSED"),  # its objective is a p99
        (FLAT, LONG | {"lag_ms": 300, "late_share": 0.02}, "INVALID"),
    ],
)
def test_a_verdict_on_a_soak(
    numbers: dict[str, float], pressure: dict[str, float], expected: str
) -> None:
    found = verdict.judge(profile("soak"), GOOD | numbers, FAST, CALM | pressure)
    assert found.verdict == expected


QUIET = {"late_ms": {}, "events_in": {}, "unsaid": 0, "quiet_since": 1}


def looks(*megabytes: float) -> list[dict[str, float]]:
    """At the service, ten seconds apart."""
    calm = {"busy_seconds": 0.0, "our_seconds": 0.0, "cpu_seconds": 0.0, "fds": 9.0}
    return [calm | {"at": 10.0 * n, "rss": mb * 1e6} for n, mb in enumerate(megabytes)]


def test_growth_counts_from_where_what_is_bounded_is_full() -> None:
    soak = replace(profile("soak"), settle_seconds=40, plateau_seconds=50)
    grown = [50.0, 60.0, 70.0, 80.0]
    result = {
        "counts": {}, "histograms": {}, "percentiles": {}, "steps": [], "service": {},
        "ending": 1, "measured": (0.0, 1e3), "published": QUIET,
    }  # fmt: skip

    def growth(*then: float) -> float | None:
        rows = judged(soak, deepcopy(result), looks(*grown, *then), 0).judgement.rows
        return next(row.found for row in rows if row.objective == "memory growth")

    assert growth(*[80.0] * 10) == 0
    assert growth(*range(80, 90)) == pytest.approx(9 / 80)
    assert growth(*[80.0] * 4) is None


def test_a_publisher_that_stops_in_the_middle_makes_a_run_invalid() -> None:
    result = {
        "counts": {"workers that compared": 2}, "histograms": {}, "percentiles": {}, "steps": [],
        "service": {}, "ending": 1, "measured": (1_000.5, 1_060.5),
    }  # fmt: skip

    def reasons(seconds: int, **more: Any) -> tuple[str, ...]:
        counts = QUIET | {"events_in": {str(1_000 + n): 200 for n in range(seconds)}} | more
        return judged(
            profile("ci"), deepcopy(result) | {"published": counts}, [], 0
        ).judgement.reasons

    assert reasons(61) == ()
    assert "only 49% of the wanted events" in reasons(30)[0]
    assert reasons(55, quiet_since=None) == ("the publisher ended early",)


def test_what_is_lost_to_late_moments_adds_up() -> None:
    ledger = Metrics()
    for ms in [1] * 100 + [90, 150, 250]:
        ledger.sample("loader lag", ms * 1000)
    lost = beyond(100, ledger.take()["histograms"]["loader lag"])
    assert lost == pytest.approx(400, rel=0.01)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({}, "nothing"),
        ({"loader_cpu": 0.9, "p99": 400}, "the loader"),
        ({"loader_lag_ms": 150}, "nothing"),
        ({"loader_lag_ms": 150, "p99": 400}, "the loader"),
        ({"service_cpu": 0.97, "p99": 400}, "the service"),
        ({"machine_cpu": 1_000, "p99": 400}, "the machine"),
        ({"p99": 400}, "the service"),
        ({"joined": 0.5}, "the service"),  # who was not let in makes nothing slow
    ],
)
def test_what_reached_its_limit_first(step: dict[str, float], expected: str) -> None:
    calm = {"loader_cpu": 0.4, "loader_lag_ms": 20, "service_cpu": 0.4, "p99": 20,
            "joined": 1.0}  # fmt: skip
    assert verdict.limited_by(profile("capacity"), calm | step).startswith(expected)
