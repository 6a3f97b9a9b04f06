"""All numbers of a run, put together and judged."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from typing import Any, Final

from loadtest import machine, verdict
from loadtest.ledger import beyond
from loadtest.profiles import Profile

_ZERO: Final = ("gaps", "duplicates", "divergence", "foreign", "unequal", "compared", "evictions")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and all numbers of it."""

    judgement: verdict.Judgement
    told: dict[str, Any]


def judged(
    profile: Profile, told: dict[str, Any], samples: list[dict[str, float]], wrong: int
) -> Outcome:
    """``told`` is what the loader says, ``samples`` are of the service and the machine, ``wrong``
    how many calls Redis had otherwise."""
    counts = told["counts"]
    numbers: dict[str, float] = dict.fromkeys(_ZERO, 0) | counts
    numbers["redis"] = wrong
    numbers["compared"] /= max(1, told["ending"] * profile.streaming)
    steps = told["steps"]
    limit = profile.objectives.get("receive p99", 0)
    good = [step["users"] for step in steps if verdict.kept(profile, step)]
    numbers["knee"] = max(good, default=0)
    began, ended = told["measured"]
    full_at = samples[0]["at"] + profile.settle_seconds if samples else began
    samples = [one for one in samples if began <= one["at"] <= ended]
    plateau = [one for one in samples if one["at"] >= full_at]
    flat_seconds = plateau[-1]["at"] - plateau[0]["at"] if plateau else 0.0
    published = told["published"]
    seconds = max(1, int(ended) - math.ceil(began))
    whole = [n for at, n in published["events_in"].items() if began <= int(at) <= ended - 1]
    told["service"]["events published a second"] = sum(whole) / seconds
    late = [ms for at, ms in published["late_ms"].items() if began <= int(at) <= ended]
    lost_ms = sum(ms for ms in late if ms > profile.loader.publisher_late_ms)  # a second's worst
    if "loader lag" in told["histograms"]:
        lost_ms += beyond(profile.loader.lag_ms, told["histograms"]["loader lag"])
    if plateau and flat_seconds >= profile.plateau_seconds:
        for name, what in (("memory growth", "rss"), ("descriptor growth", "fds")):
            numbers[name] = _growth([one[what] for one in plateau])
    shares = machine.shares(samples)
    if "service" in shares:
        numbers["service cpu"] = shares.pop("service")
    pressure = {
        "cpu": counts.get("worst loader cpu thousandths", 0) / 1000,
        "lag_ms": counts.get("worst loader lag µs", 0) / 1000,
        "publisher_late_ms": max(late, default=0),
        "published": sum(whole) / seconds / profile.rate,
        "unsaid": published["unsaid"],
        "publisher_gone": published["quiet_since"] is None,
        "workers_lost": profile.processes - numbers.get("workers that compared", 0),
        "late_share": lost_ms / 1000 / max(1.0, ended - began),
        "before_time": counts.get("before its time", 0),
        "users": numbers["compared"],
        "plateau_seconds": flat_seconds,
    } | shares
    judgement = verdict.judge(profile, numbers, told["percentiles"], pressure)
    for name, looks in (("measuring began", samples), ("it was full", plateau)):
        if looks:
            told["service"][f"MB when {name}"] = looks[0]["rss"] / 1e6
            told["service"]["MB at the end"] = looks[-1]["rss"] / 1e6
    told |= {
        "profile": profile.name, "users": profile.users, "rate": profile.rate,
        "verdict": judgement.verdict, "invalid_because": list(judgement.reasons),
        "objectives": [
            {"objective": row.objective, "limit": row.limit, "found": row.found, "kept": row.kept}
            for row in judgement.rows
        ],
        "pressure": pressure, "service_samples": samples, "knee": numbers["knee"], "limit": limit,
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), Python "
                   f"{platform.python_version()}, loader and servers on the same machine",
    }  # fmt: skip
    return Outcome(judgement, told)


def _growth(values: list[float]) -> float:
    """From the first tenth to the last, as a share."""
    part = max(1, len(values) // 10)
    early, late = sum(values[:part]), sum(values[-part:])
    return late / early - 1
