"""All numbers of a run, put together and judged."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Any, Final

from loadtest import machine, verdict
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
    streaming = 1 - profile.mix.get("Poller", 0) / sum(profile.mix.values())
    numbers["compared"] /= max(1, told["ending"] * streaming)
    steps = told["steps"]
    limit = profile.objectives.get("receive p99", 0)
    good = [step["users"] for step in steps if step.get("p99", limit + 1) <= limit]
    numbers["knee"] = max(good, default=0)
    began, ended = told["measured"]
    samples = [one for one in samples if began <= one["at"] <= ended]
    late = told["published"]["late_ms"].items()  # by second
    for name, what in (("memory growth", "rss"), ("descriptor growth", "fds")):
        numbers[name] = _growth([one[what] for one in samples])
    pressure = {
        "cpu": counts.get("worst loader cpu thousandths", 0) / 1000,
        "lag_ms": counts.get("worst loader lag µs", 0) / 1000,
        "publisher_late_ms": max((ms for at, ms in late if began <= int(at) <= ended), default=0),
        "before_time": counts.get("before its time", 0),
        "users": numbers["compared"],
    } | machine.shares(samples)
    judgement = verdict.judge(profile, numbers, told["percentiles"], pressure)
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
    """From the first tenth of what was measured to the last, as a share."""
    if not values:
        return 0.0
    part = max(1, len(values) // 10)
    early, late = sum(values[:part]), sum(values[-part:])
    return late / early - 1
