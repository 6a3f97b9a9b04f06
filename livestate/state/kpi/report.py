"""Key figures of one scope, made from its counters: what a heartbeat and ``/api/v1`` show.

Definitions (docs/decisions/0015): ASR and NER after ITU-T E.425 (03/2002, §1.3 and §1.5), with the
SIP responses of each outcome, which are our choice; ACD is conversation time over completed calls;
PDD is INVITE to first 18x, else to 200 (near to the SRD of RFC 6076). An empty denominator gives
None, not 0. This is where the divisions are: it runs once every few seconds, not for every call.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from livestate.state.kpi.gauges import DAY_MS, Gauge
from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, STEP, WINDOW_MS, Bucket

MOST_NAMED: Final = 20  # companies and trunks in a report, the busiest first


def report(scope: ScopeKpis, started: int, now: int) -> dict[str, Any]:
    """The figures of a scope at ``now``; counting began at ``started`` (ms)."""
    day, last = now // DAY_MS, now // BUCKET_MS
    window = [bucket for bucket in scope.buckets if bucket.at > last - BUCKETS]
    offered = sum(bucket.offered for bucket in window)
    completed = sum(bucket.completed for bucket in window)
    return {
        "window_seconds": min(WINDOW_MS, now - started) // 1000,
        "concurrent": scope.live.now,
        "concurrent_peak": scope.live.peak_of(day),
        **scope.states,
        "cps": scope.cps(now),
        "cps_peak": scope.peak_cps.peak if scope.peak_cps.day == day else 0,
        "offered": offered,
        "completed": completed,
        "lost": sum(bucket.lost for bucket in window),
        "asr": _percent(sum(bucket.answered for bucket in window), offered),
        "ner": _percent(sum(bucket.effective for bucket in window), offered),
        "acd_seconds": _ratio(sum(b.talk_ms for b in window), completed * 1000),
        **_delays(window),
        "longest_since": scope.longest_since(),
        "trunks": list(_trunks(scope.trunks, window, day)),
        "series": _series(scope, started // BUCKET_MS, last),
    }


def busiest(names: dict[str, Gauge], day: int) -> Iterator[tuple[str, int, int]]:
    """(name, now, peak of the day), the busiest first."""
    ranked = sorted(names.items(), key=lambda one: (-one[1].now, -one[1].peak_of(day), one[0]))
    for name, gauge in ranked[:MOST_NAMED]:
        yield name, gauge.now, gauge.peak_of(day)


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 2) if whole else None


def _percent(part: int, whole: int) -> float | None:
    return _ratio(100 * part, whole)


def _delays(window: list[Bucket]) -> dict[str, float | None]:
    bins: Counter[int] = Counter()
    for bucket in window:
        bins.update(bucket.delays)
    count = bins.total()
    return {
        "pdd_ms": _ratio(sum(bucket.delay_ms for bucket in window), count),
        "pdd_p50_ms": _quantile(bins, 0.50 * count),
        "pdd_p95_ms": _quantile(bins, 0.95 * count),
    }


def _quantile(bins: Counter[int], rank: float) -> float | None:
    """The value that more than ``rank`` values do not exceed."""
    seen = 0
    for place in sorted(bins):
        seen += bins[place]
        if seen > rank:
            return round(math.exp(place * STEP))
    return None


def _trunks(
    names: dict[str, Gauge], window: list[Bucket], day: int
) -> Iterator[tuple[str, int, int, int, float | None]]:
    """(name, now, peak of the day, attempts, ASR). A re-routed call is an attempt on each of its
    trunks."""
    for name, now, peak in busiest(names, day):
        attempts = sum(bucket.attempts.get(name, 0) for bucket in window)
        answered = sum(bucket.answered_attempts.get(name, 0) for bucket in window)
        yield name, now, peak, attempts, _percent(answered, attempts)


def _series(scope: ScopeKpis, first: int, last: int) -> dict[str, list[float | None]]:
    """The window bucket by bucket, oldest first; the last one is not over yet. Buckets before the
    ``first`` one were not counted: None."""
    by_number = {bucket.at: bucket for bucket in scope.buckets}
    series: dict[str, list[float | None]] = {
        name: [] for name in ("concurrent", "cps", "asr", "ner", "acd_seconds", "pdd_ms")
    }
    # As many calls were up when the window began as at the last change before it.
    live = next((one.live for one in reversed(scope.buckets) if one.at <= last - BUCKETS), 0)
    for number in range(last - BUCKETS + 1, last + 1):
        bucket = by_number.get(number) or Bucket(number)
        live = bucket.live if number in by_number else live
        counted = number >= first
        up = scope.live.now if number == last else live
        cps = round(max(0, bucket.setups) * 1000 / BUCKET_MS, 2)
        series["concurrent"].append(up if counted else None)
        series["cps"].append(cps if counted else None)
        series["asr"].append(_percent(bucket.answered, bucket.offered))
        series["ner"].append(_percent(bucket.effective, bucket.offered))
        series["acd_seconds"].append(_ratio(bucket.talk_ms, bucket.completed * 1000))
        series["pdd_ms"].append(_ratio(bucket.delay_ms, sum(bucket.delays.values())))
    return series
