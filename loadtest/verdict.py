"""What a run was worth: PASSED, FAILED, or INVALID because the loader distorted it.

A divergence, a gap or a foreign call is a failure whatever the loader was like: no loader makes
up a call, nor does one make the service compute. What is slow in a run that is not valid says
nothing, and is not called a failure; nor are evictions, for a loader that stands still looks like
a client that has gone. Growth that a run was too short to see is INVALID too; what was seen of it
is a failure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from loadtest.profiles import Profile

Verdict: TypeAlias = Literal["PASSED", "FAILED", "INVALID"]
EXIT_CODES: Final[dict[Verdict, int]] = {"PASSED": 0, "FAILED": 1, "INVALID": 3}
MOST_USERS: Final = 1.05  # of those planned: which of its kinds Locust takes is rounded
LEAST_PUBLISHED: Final = 0.8  # of the rate: calls come by chance, some more, some less
LEAST_JOINED: Final = 0.98  # of the users of a step, when it begins to count
NOBODY: Final = "nobody"
SATURATED: Final = 0.9  # of a core: who used so much of it had no more to use
TIMED: Final = ("p50", "p90", "p99", "p99.9", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """One objective: what it may be, what it was."""

    objective: str
    limit: float
    found: float | None  # None: nothing was measured, which is no success
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


def judge(profile: Profile, numbers: dict[str, float], percentiles: dict[str, dict[str, float]],
          pressure: dict[str, float]) -> Judgement:  # fmt: skip
    """``numbers`` are counters and what was looked up beside them, ``pressure`` the loader's."""
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
    if profile.shape == "steps":  # there each step is judged, and the end is where one is beyond
        rows = [row for row in rows if not row.timed]
    reasons = invalid(profile, pressure)
    broken = [row for row in rows if not row.kept]
    if any(not row.of_the_loader_too for row in broken):
        verdict: Verdict = "FAILED"
    elif reasons:
        verdict = "INVALID"
    else:
        verdict = "FAILED" if broken else "PASSED"
    return Judgement(verdict, tuple(rows), tuple(reasons))


def invalid(profile: Profile, pressure: dict[str, float]) -> list[str]:
    """Why what was measured is about the loader."""
    loader = profile.loader
    reasons = []
    steps = profile.shape == "steps"  # they end where the loader gives up, and say so
    if not steps and pressure["cpu"] > loader.cpu_share:
        reasons.append(f"a process of the loader used {pressure['cpu']:.0%} of a core for 5 s "
                       f"(more than {loader.cpu_share:.0%})")  # fmt: skip
    if profile.late_share:
        if pressure["late_share"] > profile.late_share:
            reasons.append(f"{pressure['late_share']:.1%} of the time was lost to a late loader or "
                           f"publisher (more than {profile.late_share:.0%})")  # fmt: skip
    else:
        if not steps and pressure["lag_ms"] > loader.lag_ms:
            reasons.append(f"the loader's loop was {pressure['lag_ms']:.0f} ms late "
                           f"(more than {loader.lag_ms:.0f} ms)")  # fmt: skip
        if pressure["publisher_late_ms"] > loader.publisher_late_ms:
            reasons.append(f"an event was published {pressure['publisher_late_ms']:.0f} ms after "
                           f"its time (more than {loader.publisher_late_ms:.0f} ms)")  # fmt: skip
    if pressure["plateau_seconds"] < profile.plateau_seconds:
        reasons.append(f"too short: {pressure['plateau_seconds']:.0f} s with all full that is "
                       f"bounded (less than {profile.plateau_seconds:.0f} s)")  # fmt: skip
    if pressure["published"] < LEAST_PUBLISHED:
        reasons.append(f"only {pressure['published']:.0%} of the events that were wanted were "
                       "published")  # fmt: skip
    if pressure["publisher_gone"]:
        reasons.append("the publisher was gone before the end")
    if pressure["unsaid"]:
        reasons.append(f"{pressure['unsaid']:.0f} messages of the publisher never left it")
    if pressure["workers_lost"]:
        reasons.append(f"{pressure['workers_lost']:.0f} of the loader's processes did not compare "
                       "what they had: lost")  # fmt: skip
    if pressure["users"] > MOST_USERS:
        reasons.append(f"there were {pressure['users']:.0%} of the users that were wanted")
    if pressure["before_time"]:
        reasons.append("events arrived before their time: the clocks differ")
    return reasons


def kept(profile: Profile, step: dict[str, Any]) -> bool:
    """Whether a step kept the objective, with all its users: those who were not let in yet make
    nothing slow."""
    limit = profile.objectives.get("receive p99", 0)
    fast: bool = step.get("p99", limit + 1) <= limit
    return fast and step["joined"] >= LEAST_JOINED


def gave_up(profile: Profile, step: dict[str, Any]) -> str:
    """Who could not go on in a step, or NOBODY. A late loader can only make latencies longer, so
    an objective that is kept is kept; and a service that got no more of a core had to share it."""
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
        return (f"the machine: its {cores} cores were {step['machine_cpu'] / cores:.0%} busy, "
                f"{step.get('service_cpu', 0):.0%} of one with the service")  # fmt: skip
    if step["loader_lag_ms"] > loader.lag_ms:
        return f"the loader, {step['loader_lag_ms']:.0f} ms late"
    return service
