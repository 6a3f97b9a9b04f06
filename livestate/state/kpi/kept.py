"""Key figures as plain values, so that they survive a restart.

:mod:`livestate.store.figures` writes them to Redis and reads them again. Two things are kept for
each scope: the peaks of the day, and the buckets of the window. What was stored may have been
edited: :func:`bucket_of` and :func:`raise_peaks` take only numbers that such a counter can have.
Pure.
"""

from __future__ import annotations

from typing import Any, Final

from livestate.state.kpi.gauges import Gauge, gauge_of
from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.window import Bucket

# Named here: a compiled class has no ``__slots__`` (decision 117).
COUNTERS: Final = (
    "setups", "offered", "answered", "effective", "lost", "completed", "talk_ms", "delay_ms",
    "live", "attempts", "answered_attempts", "delays",
)  # fmt: skip
MOST: Final = 1 << 53  # JSON readers keep integers up to this exactly


def values_of(bucket: Bucket) -> dict[str, Any]:
    """All counters of a bucket by name."""
    return {name: getattr(bucket, name) for name in COUNTERS}


def bucket_of(values: object, at: int) -> Bucket | None:
    """The bucket number ``at`` from what :func:`values_of` gave; None if that is unusable."""
    if not isinstance(values, dict):
        return None
    bucket = Bucket(at)
    for name in COUNTERS[:-1]:
        value = _counter(values.get(name), getattr(bucket, name))
        if value is None:
            return None
        setattr(bucket, name, value)
    delays = _counter(values.get("delays"), {})
    if delays is None or not all(place.lstrip("-").isdecimal() for place in delays):
        return None
    bucket.delays = {int(place): count for place, count in delays.items()}
    return bucket


def _counter(value: object, like: object) -> Any:
    """``value`` if it is a counter of the kind of ``like``: a number, or numbers by name."""
    if isinstance(like, int):
        return value if _is_number(value) else None
    if not isinstance(value, dict):
        return None
    return value if all(_is_number(count) for count in value.values()) else None


def _is_number(value: object) -> bool:
    return type(value) is int and -MOST < value < MOST


def peaks_of(scope: ScopeKpis, day: int) -> dict[str, Any]:
    """The peaks of ``day``: of calls, of set-ups a second, and of calls on each trunk."""
    cps = scope.peak_cps
    return {
        "live": scope.live.peak_of(day),
        "cps": cps.peak if cps.day == day else 0,
        "trunks": {name: peak for name, one in scope.trunks.items() if (peak := one.peak_of(day))},
    }


def raise_peaks(scope: ScopeKpis, stored: object, day: int) -> None:
    """Raise the peaks of ``day`` to those that were stored on it, if they were higher."""
    if not isinstance(stored, dict):
        return
    raise_peak(scope.live, stored.get("live"), day)
    raise_peak(scope.peak_cps, stored.get("cps"), day)
    trunks = stored.get("trunks")
    for name, peak in trunks.items() if isinstance(trunks, dict) else ():
        if len(scope.trunks) < scope.most_trunks:
            raise_peak(gauge_of(scope.trunks, name), peak, day)


def raise_peak(gauge: Gauge, peak: object, day: int) -> None:
    """Raise one peak. A gauge that has not moved today has its present value as peak."""
    known = gauge.peak_of(day)
    if _is_number(peak):
        gauge.day, gauge.peak = day, max(known, peak)  # type: ignore[call-overload]
