"""The trunks of a scope with their figures and alarms, the worst first: what the panel shows.

:mod:`api.panels.trunks` makes it while somebody looks, in steps: a thousand trunks with their
window take 50 ms. Definitions are those of :mod:`livestate.state.kpi.report`, of the attempts on
one trunk: an attempt that was routed again counts on each of its trunks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from livestate.state.kpi.gauges import DAY_MS, Gauge
from livestate.state.kpi.trunk_alarms import (
    Alarm,
    TrunkLimits,
    of_asr_drop,
    of_capacity,
    of_ner,
    rank,
    worst,
)
from livestate.state.kpi.trunk_hour import TrunkHour
from livestate.state.kpi.trunk_window import (
    ANSWERED,
    ATTEMPTS,
    COMPLETED,
    DELAY_MS,
    DELAYS,
    FAULTS,
    MOST_NAMED,
    NO_TRUNK,
    PLACES,
    SEIZURES,
    TALK_MS,
    Summed,
    Trunks,
    TrunkWindow,
)
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, WINDOW_MS

MINUTES: Final = BUCKETS // 2  # points of a trunk's line
_NONE: Final[Mapping[str, int]] = {}


class TrunkInfo(NamedTuple):
    """What the operator's file says of a trunk; see :mod:`api.panels.trunk_file`."""

    capacity: int | None = None
    name: str | None = None
    country: str | None = None  # ISO 3166-1, two letters


class TrunkReport:
    """The rows of one scope at ``now``; ``counted_ms``: since counting began.

    ``company`` None is all calls: only then the file's facts and its capacities apply. ``hour`` is
    of the calls of this scope, so a company's rows hold nothing but its own calls.
    """

    def __init__(
        self,
        window: TrunkWindow,
        gauges: Mapping[str, Gauge],
        info: Mapping[str, TrunkInfo],
        *,
        company: str | None,
        counted_ms: int,
        now: int,
        limits: TrunkLimits | None = None,
        hour: TrunkHour | None = None,
    ) -> None:
        self._limits = limits or TrunkLimits()
        self.rows: list[dict[str, Any]] = []
        self.window_seconds = min(WINDOW_MS, counted_ms) // 1000
        self._hour = hour
        self._window = window
        self._gauges = gauges
        self._info = info if company is None else {}
        self._company = company
        self._counted_ms = counted_ms
        self._now = now
        self._buckets = window.buckets_of(company, now)
        self._last = now // BUCKET_MS
        if company is None and window.summed_at != self._last:
            window.summed_at, window.summed = self._last, {}
        self._unnamed = 0  # calls on trunks without a row

    def steps(self) -> Iterator[None]:
        """Fill ``rows``, one a step, and sort them, the worst first."""
        names = {name for _, trunks in self._buckets for name in trunks.counts} - {NO_TRUNK}
        names |= self._info.keys()
        # Somebody may make up a trunk for each of 50,000 calls.
        room = max(0, MOST_NAMED - len(names))
        for number, (name, gauge) in enumerate(tuple(self._gauges.items())):
            if gauge.now and name not in names:
                if room:
                    names.add(name)
                    room -= 1
                else:
                    self._unnamed += gauge.now
            if number % 1_000 == 0:
                yield
        ranked = []
        for name in names:
            row, order = self._row(name)
            ranked.append((order, name, row))
            yield
        ranked.sort(key=lambda one: one[:2])
        self.rows = [row for _, _, row in ranked]

    def without_trunk(self) -> dict[str, Any] | None:
        """The figures of calls that no trunk carries: between phones of the same exchange."""
        sums = _sum(self._buckets, NO_TRUNK, self._last)
        some = sums.counts[ATTEMPTS] or sums.counts[SEIZURES]
        return self._figures(sums) if some else None

    def others(self) -> dict[str, Any] | None:
        """Trunks beyond those that have a row, together."""
        everything = self._company is None
        buckets = [(one.at, one.others) for one in self._window.buckets] if everything else []
        sums = _sum(buckets, NO_TRUNK, self._last)
        if not (self._unnamed or sums.counts[ATTEMPTS] or sums.counts[SEIZURES]):
            return None
        return self._figures(sums) | {"live": self._unnamed}

    def _row(self, name: str) -> tuple[dict[str, Any], tuple[int, float, float]]:
        info = self._info.get(name, TrunkInfo())
        gauge = self._gauges.get(name)
        live = gauge.now if gauge is not None else 0
        sums = self._sum(name)
        counts = sums.counts
        limits = self._limits
        found = [of_ner(counts[ATTEMPTS], counts[FAULTS], live, self._counted_ms, limits.ner)]
        if self._company is None:
            found.append(of_capacity(live, info.capacity, limits.capacity))
        if self._hour is not None:
            found.append(of_asr_drop(self._hour.of(name, self._now), limits.asr_drop))
        alarms = [one for one in found if one is not None]
        level = worst(alarms)
        row: dict[str, Any] = {
            "trunk": name,
            "level": level,
            "alarms": [_alarm(one) for one in alarms],
            "live": live,
            "peak": gauge.peak_of(self._now // DAY_MS) if gauge is not None else 0,
            **self._figures(sums),
            "asr_by_minute": _by_minute(sums),
        }
        row |= {key: value for key, value in info._asdict().items() if value is not None}
        used = live / info.capacity if info.capacity else 0.0
        return row, rank(level, counts[ATTEMPTS], counts[FAULTS], used or live / 1e9)

    def _sum(self, name: str) -> Summed:
        """The window's counts of one trunk. Of all calls only the current bucket is added anew."""
        if self._company is not None:
            return _sum(self._buckets, name, self._last)
        known = self._window.summed.get(name)
        if known is None:
            over = [one for one in self._buckets if one[0] < self._last]
            known = _sum(over, name, self._last)
            if self._window.summed_at == self._last:
                self._window.summed[name] = known
        now = [one for one in self._buckets[-1:] if one[0] == self._last]
        if not now or name not in now[0][1].counts:
            return known
        return _sum(now, name, self._last, known)

    def _figures(self, sums: Summed) -> dict[str, Any]:
        counts, codes, _ = sums
        attempts = counts[ATTEMPTS]
        return {
            "seizures": max(0, counts[SEIZURES]),
            "attempts": attempts,
            "answered": counts[ANSWERED],
            "faults": counts[FAULTS],
            "asr": _ratio(100 * counts[ANSWERED], attempts),
            "ner": _ratio(100 * (attempts - counts[FAULTS]), attempts),
            "acd_seconds": _ratio(counts[TALK_MS], 1000 * counts[COMPLETED]),
            "pdd_ms": _ratio(counts[DELAY_MS], counts[DELAYS]),
            "codes": dict(sorted(codes.items(), key=lambda one: -one[1])),
        }


def _sum(
    buckets: list[tuple[int, Trunks]], name: str, last: int, before: Summed | None = None
) -> Summed:
    """The counts of one trunk in these buckets, added to those of ``before``. ``last``: number of
    the bucket of now."""
    codes = dict(before.codes) if before else {}
    minutes = [list(one) for one in before.minutes] if before else [[0, 0] for _ in range(MINUTES)]
    found = [before.counts] if before else []
    for at, trunks in buckets:
        own, place = trunks.counts.get(name), at // 2 - last // 2 + MINUTES - 1
        if own is None:
            continue
        found.append(own)
        for code, times in trunks.codes.get(name, _NONE).items():
            codes[code] = codes.get(code, 0) + times
        if place >= 0:
            minutes[place][0] += own[ATTEMPTS]
            minutes[place][1] += own[ANSWERED]
    counts = array("q", map(sum, zip(*found, strict=True)) if found else bytes(8 * PLACES))
    return Summed(counts, codes, minutes)


def _by_minute(sums: Summed) -> list[float | None]:
    """The ASR of each minute of the window, oldest first; None where no attempt ended."""
    return [_ratio(100 * answered, attempts) for attempts, answered in sums.minutes]


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 1) if whole else None


def _alarm(one: Alarm) -> dict[str, Any]:
    return one._asdict()
