"""Counters and latency histograms of a loader process, and how those of all workers are merged.

Times are microseconds in HDR histograms. Metrics travel as JSON: counters are added and histograms
merged bucket by bucket, so a percentile over ten workers covers all samples and is never a mean of
percentiles.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from hdrh.histogram import HdrHistogram

LONGEST_US: Final = 3_600_000_000
DIGITS: Final = 3
WINDOW_DIGITS: Final = 2
WINDOW_SECONDS: Final = 2
UNIT_US: Final = 50  # samples are rounded to it, so that equal ones are recorded together
MOST_COMPLAINTS: Final = 40
PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


def histogram(digits: int = DIGITS) -> Any:
    return HdrHistogram(1, LONGEST_US, digits)


def percentiles(of: Any) -> dict[str, float]:
    """In milliseconds, with the count; empty for no samples."""
    if not of.get_total_count():
        return {}
    found = {name: of.get_value_at_percentile(p) / 1000 for name, p in PERCENTILES.items()}
    return found | {"max": of.get_max_value() / 1000, "count": of.get_total_count()}


def beyond(limit_ms: float, encoded: str) -> float:
    """Sum of the samples beyond a limit, in ms."""
    of = histogram()
    of.decode_and_add(encoded)
    steps = (
        (one.value_iterated_to / 1000, one.count_added_in_this_iter_step)
        for one in of.get_recorded_iterator()
    )
    return float(sum(ms * count for ms, count in steps if ms > limit_ms))


class Metrics:
    """Counters, histograms by name, and the receive latency again by time window."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.histograms: dict[str, Any] = {}
        self.windows: dict[int, Any] = {}  # of `receive`: wall clock // WINDOW_SECONDS
        self.measuring = True
        self.rested_us = 0  # wall clock when measuring stopped: events scheduled before still count
        self._pending: dict[str, list[int]] = {}

    def rest(self, now_us: int) -> None:
        """Stop measuring, except for events scheduled before ``now_us`` that arrive later."""
        if self.measuring:
            self.measuring, self.rested_us = False, now_us

    def sample(self, name: str, microseconds: float) -> None:
        self._pending.setdefault(name, []).append(int(microseconds))

    def samples(self, name: str, microseconds: list[int]) -> None:
        self._pending.setdefault(name, []).extend(microseconds)

    def complain(self, what: str, evidence: str) -> None:
        """Count an error; the first ones are kept with their evidence."""
        self.counts[what] += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} {what}: {evidence}")

    def settle(self) -> None:
        """Move samples into histograms; call it about every second."""
        for name, values in self._pending.items():
            tally = Counter([value // UNIT_US for value in values])
            _record(self.histograms, name, tally, DIGITS)
            if name == "receive":
                _record(self.windows, int(time.time()) // WINDOW_SECONDS, tally, WINDOW_DIGITS)
        self._pending.clear()

    def take(self) -> dict[str, Any]:
        """Return everything as JSON, and reset."""
        self.settle()
        report = self.as_dict()
        self.counts.clear()
        self.complaints.clear()
        self.histograms.clear()
        self.windows.clear()
        return report

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: counts, complaints, encoded histograms and windows."""
        return {
            "counts": dict(self.counts),
            "complaints": list(self.complaints),
            "histograms": {name: one.encode().decode() for name, one in self.histograms.items()},
            "windows": {str(at): one.encode().decode() for at, one in self.windows.items()},
        }

    def merge(self, other: dict[str, Any]) -> None:
        """Add another process's :meth:`as_dict`."""
        for name, number in other["counts"].items():
            self.counts[name] = (
                max(self.counts[name], number)
                if name.startswith("worst ")
                else self.counts[name] + number
            )
        room = MOST_COMPLAINTS - len(self.complaints)
        self.complaints += other["complaints"][: max(room, 0)]
        for name, encoded in other["histograms"].items():
            self.histograms.setdefault(name, histogram()).decode_and_add(encoded)
        for at, encoded in other["windows"].items():
            window = self.windows.setdefault(int(at), histogram(WINDOW_DIGITS))
            window.decode_and_add(encoded)

    def worst(self, name: str, value: int) -> None:
        """Keep the highest value; merging keeps the highest too."""
        name = f"worst {name}"
        self.counts[name] = max(self.counts[name], value)

    def between(self, begin: float, end: float) -> Any:
        """The latencies of the windows that lie completely between two times."""
        found = histogram(WINDOW_DIGITS)
        for at, one in self.windows.items():
            if begin <= at * WINDOW_SECONDS and (at + 1) * WINDOW_SECONDS <= end:
                found.add(one)
        return found


def save(ledger: Metrics, path: Path, **more: Any) -> None:
    """Write the metrics as JSON, and beside it the histograms for HdrHistogram's tools."""
    report = ledger.as_dict() | more
    report["percentiles"] = {n: percentiles(one) for n, one in sorted(ledger.histograms.items())}
    path.write_text(json.dumps(report, indent=1, sort_keys=True))
    path.with_name("histograms.hlog").write_text(log(ledger))


def log(ledger: Metrics) -> str:
    """All histograms as a HdrHistogram log: one interval, one tag each; in µs, or bytes for kB."""
    lines = [
        "#[Histogram log format version 1.3]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for name, one in sorted(ledger.histograms.items()):
        tag = name.replace(" ", "-")
        lines.append(
            f"Tag={tag},0.000,1.000,{one.get_max_value() / 1000:.3f},{one.encode().decode()}"
        )
    return "\n".join(lines) + "\n"


def _record(into: dict[Any, Any], name: Any, tally: Counter[int], digits: int) -> None:
    if name not in into:
        into[name] = histogram(digits)
    one = into[name]
    for value, count in tally.items():
        one.record_value(min(max(value * UNIT_US, 1), LONGEST_US), count)
