"""Judges a run: PASSED, FAILED, or INVALID because the loader distorted it.

A divergence, a gap or a foreign call is a failure however loaded the loader was: no loader invents
a call. Only a publisher that was seconds late makes gaps: the service then takes the clocks of its
nodes for wrong, and leaves out the times that the trace has. Latencies and evictions of an invalid
run are not failures, because a stalled loader looks like a slow service and like a dead client.
Growth that a run was too short to measure is INVALID; measured growth beyond the limit is a
failure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from livestate.state.nodes.clock_offset import TOLERANCE_MS
from loadtest.profiles import Profile

Verdict: TypeAlias = Literal["PASSED", "FAILED", "INVALID"]
EXIT_CODES: Final[dict[Verdict, int]] = {"PASSED": 0, "FAILED": 1, "INVALID": 3}
MOST_USERS: Final = 1.05  # of the planned users: Locust rounds per kind
LEAST_PUBLISHED: Final = 0.8  # of the rate: arrivals are random
LEAST_JOINED: Final = 0.98  # of a step's users, when measuring begins
NOBODY: Final = "nothing"
SATURATED: Final = 0.9  # of a core: a process that used this much was saturated
TIMED: Final = ("p50", "p90", "p99", "p99.9", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """One objective: its limit and the measured value."""

    objective: str
    limit: float
    found: float | None  # None: not measured, which is not a success
    least: bool

    @property
    def kept(self) -> bool:
        if self.found is None:
            return False
        return self.found >= self.limit if self.least else self.found <= self.limit

    @property
    def timed(self) -> bool:
        return self.objective.split()[-1] in TIMED

    @property
    def of_the_loader_too(self) -> bool:
        return self.timed or self.objective == "evictions" or self.unseen

    @property
    def unseen(self) -> bool:
        return self.found is None and self.objective.endswith(" growth")


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    rows: tuple[Row, ...]
    reasons: tuple[str, ...]  # why the run is invalid


def judge(
    profile: Profile,
    numbers: dict[str, float],
    percentiles: dict[str, dict[str, float]],
    pressure: dict[str, float],
) -> Judgement:
    """``numbers`` are counters and samples of the run, ``pressure`` measures the loader."""
    rows = []
    for name, limit in profile.objectives.items():
        least = name.startswith("least ")
        what = name.removeprefix("least ")
        series, _, cut = what.rpartition(" ")
        found: float | None
        if cut in TIMED:
            found = percentiles.get(series, {}).get(cut)
        else:
            found = numbers.get(what)
        rows.append(Row(name, limit, found, least))
    if profile.shape == "steps":  # each step is judged instead
        rows = [row for row in rows if not row.timed]
    reasons = invalid(profile, pressure)
    broken = [row for row in rows if not row.kept]
    excused = {"gaps"} if pressure.get("publisher_worst_ms", 0) > TOLERANCE_MS else set()
    if any(not row.of_the_loader_too and row.objective not in excused for row in broken):
        verdict: Verdict = "FAILED"
    elif reasons:
        verdict = "INVALID"
    else:
        verdict = "FAILED" if broken else "PASSED"
    return Judgement(verdict, tuple(rows), tuple(reasons))


def invalid(profile: Profile, pressure: dict[str, float]) -> list[str]:
    """The reasons why the run measured its own loader."""
    loader = profile.loader
    reasons = []
    steps = profile.shape == "steps"  # they end at the loader's limit, and report it
    if not steps and pressure["cpu"] > loader.cpu_share:
        reasons.append(
            f"a process of the loader used {pressure['cpu']:.0%} of a core for 5 s "
            f"(more than {loader.cpu_share:.0%})"
        )
    if profile.late_share:
        if pressure["late_share"] > profile.late_share:
            reasons.append(
                f"{pressure['late_share']:.1%} of the time was lost to a late loader or "
                f"publisher (more than {profile.late_share:.0%})"
            )
    else:
        if not steps and pressure["lag_ms"] > loader.lag_ms:
            reasons.append(
                f"the loader's loop was {pressure['lag_ms']:.0f} ms late "
                f"(more than {loader.lag_ms:.0f} ms)"
            )
        if pressure["publisher_late_ms"] > loader.publisher_late_ms:
            reasons.append(
                f"an event was published {pressure['publisher_late_ms']:.0f} ms after "
                f"its time (more than {loader.publisher_late_ms:.0f} ms)"
            )
    if pressure.get("publisher_worst_ms", 0) > TOLERANCE_MS:
        reasons.append(
            f"an event was published {pressure['publisher_worst_ms']:.0f} ms after its time: the "
            "service took the clocks of nodes for wrong"
        )
    if pressure["plateau_seconds"] < profile.plateau_seconds:
        reasons.append(
            f"too short: {pressure['plateau_seconds']:.0f} s with bounded structures "
            f"full (less than {profile.plateau_seconds:.0f} s)"
        )
    if pressure["published"] < LEAST_PUBLISHED:
        reasons.append(f"only {pressure['published']:.0%} of the wanted events were published")
    if pressure["publisher_gone"]:
        reasons.append("the publisher ended early")
    if pressure["unsaid"]:
        reasons.append(f"{pressure['unsaid']:.0f} messages of the publisher were not sent")
    if pressure["workers_lost"]:
        reasons.append(
            f"{pressure['workers_lost']:.0f} loader processes compared nothing: Locust lost them"
        )
    if pressure["users"] > MOST_USERS:
        reasons.append(f"{pressure['users']:.0%} of the wanted users took part")
    if pressure.get("idle"):
        reasons.append("no call changed while it was watched: nothing was verified")
    if pressure["before_time"]:
        reasons.append("events arrived before they were sent: the clocks differ")
    return reasons


def kept(profile: Profile, step: dict[str, Any]) -> bool:
    """Whether a step met the objective with all its users connected."""
    limit = profile.objectives.get("receive p99", 0)
    fast: bool = step.get("p99", limit + 1) <= limit
    return fast and step["joined"] >= LEAST_JOINED


def limited_by(profile: Profile, step: dict[str, Any]) -> str:
    """The part that reached its limit in a step, or NOBODY. A late loader only makes latencies
    longer, so an objective that is met is met; a service with less than a core had to share it."""
    loader = profile.loader
    cores = os.cpu_count() or 1
    if step["loader_cpu"] > loader.cpu_share:
        return f"the loader, with {step['loader_cpu']:.0%} of a core"
    if kept(profile, step):
        return NOBODY
    service = f"the service, with {step.get('service_cpu', 0):.0%} of a core"
    if step.get("service_cpu", 0) > SATURATED:
        return service
    if step.get("machine_cpu", 0) > SATURATED * cores:
        return (
            f"the machine: its {cores} cores were {step['machine_cpu'] / cores:.0%} busy, "
            f"{step.get('service_cpu', 0):.0%} of one with the service"
        )
    if step["loader_lag_ms"] > loader.lag_ms:
        return f"the loader, {step['loader_lag_ms']:.0f} ms late"
    return service
