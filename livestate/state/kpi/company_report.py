"""The companies with their figures, the worst first: what the panel of companies shows.

:mod:`api.panels.companies` makes it while a user looks, in steps. Figures are of calls, as the
tiles of a company show them (:mod:`livestate.state.kpi.report`); only the responses are of
attempts, because a call that was routed again got several. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from livestate.state.kpi.gauges import DAY_MS
from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.trunk_alarms import (
    Alarm,
    CompanyLimits,
    of_asr_drop,
    of_ner,
    rank,
    worst,
)
from livestate.state.kpi.trunk_hour import TrunkHour
from livestate.state.kpi.trunk_window import TrunkWindow
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, WINDOW_MS, Bucket

MOST_SHOWN: Final = 500  # companies in a document; the rest is counted
MINUTES: Final = BUCKETS // 2  # points of a company's line


class CompanyReport:
    """The rows at ``now``; ``hour``: company → its calls of the last hour; ``counted_ms``: since
    counting began; ``limits``: of the alarms."""

    def __init__(
        self,
        scopes: Iterable[tuple[str, ScopeKpis]],
        trunks: TrunkWindow,
        hour: TrunkHour,
        *,
        counted_ms: int,
        now: int,
        limits: CompanyLimits,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.more = 0  # companies without a row
        self.more_live = 0  # calls of those that are up
        self.window_seconds = min(WINDOW_MS, counted_ms) // 1000
        self._scopes = tuple(scopes)
        self._trunks = trunks
        self._counted_ms = counted_ms
        self._now = now
        self._hour = hour
        self._limits = limits

    def steps(self) -> Iterator[None]:
        """Fill ``rows``, a few companies a step, the worst first."""
        ranked = []
        for company, scope in self._scopes:
            window = self._window(scope)
            if not window and not scope.live.now:
                continue
            offered = sum(bucket.offered for bucket in window)
            faults = offered - sum(bucket.effective for bucket in window)
            alarms = self._alarms(company, offered, faults, scope.live.now)
            level = worst(alarms)
            order = rank(level, offered, faults, scope.live.now / 1e9)
            ranked.append((order, company, scope, level, alarms))
            yield
        ranked.sort(key=lambda one: one[:2])
        for _, company, scope, level, alarms in ranked[:MOST_SHOWN]:
            found = [one._asdict() for one in alarms]
            row = {"company_id": company, "level": level, "alarms": found}
            self.rows.append(row | self._figures(company, scope))
            yield
        rest = ranked[MOST_SHOWN:]
        self.more, self.more_live = len(rest), sum(scope.live.now for _, _, scope, *_ in rest)

    def _alarms(self, company: str, offered: int, faults: int, live: int) -> list[Alarm]:
        found = (
            of_ner(offered, faults, live, self._counted_ms, self._limits.ner),
            of_asr_drop(self._hour.of(company, self._now), self._limits.asr_drop),
        )
        return [one for one in found if one is not None]

    def _window(self, scope: ScopeKpis) -> list[Bucket]:
        oldest = self._now // BUCKET_MS - BUCKETS
        return [bucket for bucket in scope.buckets if bucket.at > oldest]

    def _figures(self, company: str, scope: ScopeKpis) -> dict[str, Any]:
        window = self._window(scope)
        offered, answered, effective, completed, talk_ms, delay_ms, delays = (
            sum(values)
            for values in zip(
                *(
                    (
                        one.offered,
                        one.answered,
                        one.effective,
                        one.completed,
                        one.talk_ms,
                        one.delay_ms,
                        sum(one.delays.values()),
                    )
                    for one in window or (Bucket(0),)
                ),
                strict=True,
            )
        )
        return {
            "live": scope.live.now,
            "peak": scope.live.peak_of(self._now // DAY_MS),
            "seizures": max(0, sum(one.setups for one in window)),
            "attempts": offered,
            "answered": answered,
            "faults": offered - effective,
            "asr": _ratio(100 * answered, offered),
            "ner": _ratio(100 * effective, offered),
            "acd_seconds": _ratio(talk_ms, 1000 * completed),
            "pdd_ms": _ratio(delay_ms, delays),
            "codes": self._codes(company),
            "asr_by_minute": self._by_minute(window),
        }

    def _codes(self, company: str) -> dict[str, int]:
        """How often each response ended an attempt without an answer, the most frequent first."""
        found: dict[str, int] = {}
        for _, trunks in self._trunks.buckets_of(company, self._now):
            for codes in trunks.codes.values():
                for code, times in codes.items():
                    found[code] = found.get(code, 0) + times
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def _by_minute(self, window: list[Bucket]) -> list[float | None]:
        """The ASR of each minute of the window, oldest first; None where no call ended."""
        last = self._now // BUCKET_MS // 2
        sums = [[0, 0] for _ in range(MINUTES)]
        for bucket in window:
            place = bucket.at // 2 - last + MINUTES - 1
            if place >= 0:
                sums[place][0] += bucket.offered
                sums[place][1] += bucket.answered
        return [_ratio(100 * answered, offered) for offered, answered in sums]


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 1) if whole else None
