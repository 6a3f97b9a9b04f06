"""All numbers of a load test put together and judged.

``loadtest.run`` calls :func:`judged` when the run is over, with the loader's report and the samples
that were taken of the service. The result is what ``report`` prints and ``record`` keeps.
"""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from typing import Any, Final

from loadtest import machine, verdict
from loadtest.metrics import beyond
from loadtest.profiles import Profile

_ZERO: Final = ("gaps", "duplicates", "divergence", "foreign", "unequal", "compared", "evictions")
HERE: Final = "loader and servers on the same machine"
_NOTHING: Final = {"late_ms": {}, "events_in": {}, "unsaid": 0, "quiet_since": 0}  # published
Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and all numbers of it."""

    judgement: verdict.Judgement
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """The measured part of a run. Times are in seconds since the Unix epoch."""

    began: float
    ended: float
    samples: list[Sample]  # of the service and the machine, within it
    plateau: list[Sample]  # those from when all users had joined and settled

    @property
    def plateau_seconds(self) -> float:
        return self.plateau[-1]["at"] - self.plateau[0]["at"] if self.plateau else 0.0


def judged(profile: Profile, result: dict[str, Any], samples: list[Sample], wrong: int) -> Outcome:
    """The verdict. ``result`` is the loader's report, ``samples`` are of service and machine,
    ``wrong`` counts calls that were otherwise in Redis."""
    interval = _measured(profile, result["measured"], samples)
    shares = machine.shares(interval.samples)
    numbers = _numbers(profile, result, interval, wrong)
    if "service" in shares:
        numbers["service cpu"] = shares.pop("service")
    elif steps := [step["service_cpu"] for step in result["steps"] if "service_cpu" in step]:
        numbers["service cpu"] = max(steps)
    if result["published"] is not None:
        result["service"]["events published a second"] = _published(result, interval)
    pressure = _pressure(profile, result, interval, numbers) | shares
    judgement = verdict.judge(profile, numbers, result["percentiles"], pressure)
    for name, looks in (("measuring began", interval.samples), ("it was full", interval.plateau)):
        if looks and "rss" in looks[0]:
            result["service"][f"MB when {name}"] = looks[0]["rss"] / 1e6
            result["service"]["MB at the end"] = looks[-1]["rss"] / 1e6
    result |= {
        "profile": profile.name,
        "users": profile.users,
        "rate": profile.rate,
        "verdict": judgement.verdict,
        "invalid_because": list(judgement.reasons),
        "objectives": [
            {"objective": row.objective, "limit": row.limit, "found": row.found, "kept": row.kept}
            for row in judgement.rows
        ],
        "pressure": pressure,
        "service_samples": interval.samples,
        "knee": numbers["knee"],
        "limit": profile.objectives.get("receive p99", 0),
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, {result.get('where', HERE)}",
    }
    return Outcome(judgement, result)


def _measured(profile: Profile, measured: list[float], samples: list[Sample]) -> Interval:
    """Cut the samples to the measured part. The plateau begins a while after the first sample of
    all, when the users of the profile have joined."""
    began, ended = measured
    full_at = samples[0]["at"] + profile.settle_seconds if samples else began
    within = [one for one in samples if began <= one["at"] <= ended]
    return Interval(began, ended, within, [one for one in within if one["at"] >= full_at])


def _numbers(
    profile: Profile, result: dict[str, Any], interval: Interval, wrong: int
) -> dict[str, float]:
    """The numbers that objectives are set for, besides latencies."""
    numbers: dict[str, float] = dict.fromkeys(_ZERO, 0) | result["counts"]
    numbers["redis"] = wrong
    numbers["compared"] /= max(1, result["ending"] * profile.streaming)
    kept = [step["users"] for step in result["steps"] if verdict.kept(profile, step)]
    numbers["knee"] = max(kept, default=0)
    if (
        interval.plateau
        and "rss" in interval.plateau[0]
        and interval.plateau_seconds >= profile.plateau_seconds
    ):
        for name, measure in (("memory growth", "rss"), ("descriptor growth", "fds")):
            numbers[name] = _growth([one[measure] for one in interval.plateau])
    return numbers


def _published(result: dict[str, Any], interval: Interval) -> float:
    """Events a second that were published, over the whole seconds of the interval."""
    seconds = max(1, int(interval.ended) - math.ceil(interval.began))
    whole = [
        n
        for at, n in result["published"]["events_in"].items()
        if interval.began <= int(at) <= interval.ended - 1
    ]
    return float(sum(whole)) / seconds


def _pressure(
    profile: Profile, result: dict[str, Any], interval: Interval, numbers: dict[str, float]
) -> dict[str, float]:
    """How hard the loader itself was pressed: whether its own lateness distorted the run."""
    counts, published = result["counts"], result["published"]
    only_watched = published is None
    if published is None:
        published = _NOTHING
    late = [
        ms for at, ms in published["late_ms"].items() if interval.began <= int(at) <= interval.ended
    ]
    lost_ms = sum(ms for ms in late if ms > profile.loader.publisher_late_ms)  # a second's worst
    if "loader lag" in result["histograms"]:
        lost_ms += beyond(profile.loader.lag_ms, result["histograms"]["loader lag"])
    return {
        "cpu": counts.get("worst loader cpu thousandths", 0) / 1000,
        "lag_ms": counts.get("worst loader lag µs", 0) / 1000,
        "publisher_late_ms": max(late, default=0),
        "publisher_worst_ms": max(published["late_ms"].values(), default=0),  # not only measured
        "published": 1.0
        if only_watched
        else result["service"]["events published a second"] / profile.rate,
        "idle": float(only_watched and not counts.get("rows")),
        "unsaid": published["unsaid"],
        "publisher_gone": published["quiet_since"] is None,
        "workers_lost": profile.processes - numbers.get("workers that compared", 0),
        "late_share": lost_ms / 1000 / max(1.0, interval.ended - interval.began),
        "before_time": counts.get("before its time", 0),
        "users": numbers["compared"],
        "plateau_seconds": interval.plateau_seconds,
    }


def _growth(values: list[float]) -> float:
    """From the first tenth to the last, as a share."""
    part = max(1, len(values) // 10)
    early, late = sum(values[:part]), sum(values[-part:])
    return late / early - 1
