"""How many attempts each company answered in the last hour, in all and on each of its trunks.

:mod:`livestate.state.alarms.readings` brings a company up to date when it judges it, from the
half minutes that are over; no event costs more for this. The panels of companies and of a company's
trunks read the same hours. What is here of a company comes from its own calls alone. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.trunk_hour import TrunkHour
from livestate.state.kpi.trunk_window import (
    ANSWERED,
    ATTEMPTS,
    MOST_OF_COMPANY,
    NO_TRUNK,
    TrunkWindow,
)
from livestate.state.kpi.window import BUCKET_MS

MOST_PAIRS: Final = 50_000  # (company, trunk): 14 MB; further ones are not judged


class CompanyHours:
    """``of_calls``: company ("" all calls) → its calls; ``of_trunks``: company → its trunks."""

    def __init__(self) -> None:
        self.of_calls = TrunkHour()
        self.of_trunks: dict[str, TrunkHour] = {}
        self._calls: dict[str, int] = {}  # company → number of the last half minute counted
        self._trunks: dict[str, int] = {}
        self._pairs = 0

    def count_calls(self, company: str, scope: ScopeKpis, now: int) -> None:
        """Count the calls of half minutes that are over."""
        over, counted = now // BUCKET_MS - 1, self._calls.get(company, 0)
        if counted == over:
            return
        for bucket in scope.buckets:
            if counted < bucket.at <= over:
                at = bucket.at * BUCKET_MS
                self.of_calls.add(company, bucket.offered, bucket.answered, at)
        self._calls[company] = over

    def count_trunks(self, company: str, window: TrunkWindow, now: int) -> TrunkHour:
        """Count the attempts of half minutes that are over; the hour of the company's trunks."""
        hour = self.of_trunks.get(company)
        if hour is None:
            hour = self.of_trunks[company] = TrunkHour()
        over, counted, before = now // BUCKET_MS - 1, self._trunks.get(company, 0), len(hour)
        if counted == over:
            return hour
        for at, trunks in window.buckets_of(company, now):
            for trunk, counts in trunks.counts.items() if counted < at <= over else ():
                if trunk != NO_TRUNK and (
                    trunk in hour or self._has_room(len(hour) - before, hour)
                ):
                    hour.add(trunk, counts[ATTEMPTS], counts[ANSWERED], at * BUCKET_MS)
        self._trunks[company] = over
        self._pairs += len(hour) - before
        return hour

    def keep(self, companies: Collection[str], *, trunks: bool) -> None:
        """Forget all other companies; without ``trunks`` the trunks of all."""
        self._calls = {name: at for name, at in self._calls.items() if name in companies}
        if not trunks:
            self.of_trunks, self._trunks = {}, {}
        for company in [one for one in self.of_trunks if one not in companies]:
            del self.of_trunks[company]
            self._trunks.pop(company, None)
        self._pairs = sum(map(len, self.of_trunks.values()))

    def _has_room(self, more: int, hour: TrunkHour) -> bool:
        return len(hour) < MOST_OF_COMPANY and self._pairs + more < MOST_PAIRS
