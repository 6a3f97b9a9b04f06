"""The last 24 hours by minute, of all calls and of companies: what the charts show.

:class:`~livestate.store.history.KeptHistory` calls :meth:`History.sample` every few seconds, which
sums the half minutes of the key figures once a minute is over. While the feed is stale nothing is
sampled: a minute that was not seen is a gap. A company's minutes come from its own calls alone.

Bounded: all calls and :data:`MOST_COMPANIES` companies, those that had calls first; a company
without a call for 24 hours makes room. A company has a minute only if it had a call in it. Pure:
``now`` comes in, in ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.window import BUCKET_MS

MINUTE_MS: Final = 60_000
MINUTES: Final = 1_440
MOST_COMPANIES: Final = 100
MOST_MARKS: Final = 200
MOST: Final = 1 << 31
_BUCKETS_A_MINUTE: Final = MINUTE_MS // BUCKET_MS
ALL: Final = ""  # the scope of all calls; no company has an empty name

MarkKind: TypeAlias = Literal["stale", "restart"]


class Minute(NamedTuple):
    """Calls that were up at its end; attempts that were over in it, and those that were answered,
    and that the network served (NER)."""

    live: int
    attempts: int
    answered: int
    effective: int


class Mark(NamedTuple):
    """Something that happened to the service, not to calls. Times in ms; ``until`` None: it goes
    on."""

    kind: MarkKind
    since: int
    until: int | None


class History:
    """Minute → scope → its counts, the oldest first; and the marks."""

    def __init__(self) -> None:
        self.minutes: dict[int, dict[str, Minute]] = {}
        self.marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._begun: int | None = None  # the first minute that was seen from its beginning
        self._last: dict[str, int] = {}  # company → the last minute that it has

    # -- sampling ----------------------------------------------------------------------------

    def sample(self, kpis: Kpis, stale_since: int | None, now: int) -> int | None:
        """Sum the minute that is over; the number of that minute, or None if there is none."""
        self._mark_stale(stale_since, now)
        this = now // MINUTE_MS
        if stale_since is not None:
            self._begun = None
            return None
        if self._begun is None:
            self._begun = this + 1
        minute = this - 1
        if minute < self._begun or minute in self.minutes:
            return None
        self._put(minute, dict(self._sums(kpis, minute)))
        return minute

    def _sums(self, kpis: Kpis, minute: int) -> Iterator[tuple[str, Minute]]:
        for company, scope in kpis.scopes():
            found = _minute_of(scope, minute)
            if company is None:
                yield ALL, found
            elif any(found) and self._has_room(company, minute):
                self._last[company] = minute
                yield company, found

    def _has_room(self, company: str, minute: int) -> bool:
        if company in self._last or len(self._last) < MOST_COMPANIES:
            return True
        oldest = min(self._last, key=self._last.__getitem__)
        if self._last[oldest] > minute - MINUTES:
            return False
        del self._last[oldest]
        return True

    def _put(self, minute: int, scopes: dict[str, Minute]) -> None:
        self.minutes[minute] = scopes
        for old in [one for one in self.minutes if one <= minute - MINUTES]:
            del self.minutes[old]

    def _mark_stale(self, stale_since: int | None, now: int) -> None:
        last = self.marks[-1] if self.marks else None
        goes_on = last is not None and last.kind == "stale" and last.until is None
        if stale_since is not None and not goes_on:
            self.marks.append(Mark("stale", stale_since, None))
        elif stale_since is None and goes_on and last is not None:
            self.marks[-1] = last._replace(until=now)

    # -- kept across a restart -------------------------------------------------------------------

    def restore(self, minutes: Mapping[int, Mapping[str, Minute]], marks: list[Mark]) -> None:
        """Put back what was before a restart, beside what was sampled since."""
        known = {**minutes, **self.minutes}
        self.minutes = {minute: dict(known[minute]) for minute in sorted(known)[-MINUTES:]}
        for minute, scopes in self.minutes.items():
            for scope in scopes:
                if scope != ALL:
                    self._last[scope] = max(minute, self._last.get(scope, 0))
        self.marks = deque(
            sorted((*marks, *self.marks), key=lambda one: one.since), maxlen=MOST_MARKS
        )

    def restarted(self, now: int) -> None:
        """The service began, and others were here before."""
        self.marks = deque(
            (one if one.until is not None else one._replace(until=now) for one in self.marks),
            maxlen=MOST_MARKS,
        )
        self.marks.append(Mark("restart", now, now))

    # -- what is shown ---------------------------------------------------------------------------

    def series(self, company_id: str | None, minutes: int, now: int) -> dict[str, Any]:
        """The last ``minutes`` that are over, oldest first. A minute that was not seen is None
        everywhere; one in which a company had no call is 0."""
        scope, this = company_id or ALL, now // MINUTE_MS
        columns: dict[str, list[int | None]] = {name: [] for name in Minute._fields}
        for minute in range(this - minutes, this):
            scopes = self.minutes.get(minute)
            found = None if scopes is None else scopes.get(scope, Minute(0, 0, 0, 0))
            for place, name in enumerate(Minute._fields):
                columns[name].append(None if found is None else found[place])
        return {"first": (this - minutes) * MINUTE_MS, "step_ms": MINUTE_MS, **columns}

    def is_kept(self, company_id: str | None) -> bool:
        """Whether minutes of this company are kept: there are more companies than have room."""
        return company_id is None or company_id in self._last or len(self._last) < MOST_COMPANIES

    def marks_since(self, since: int) -> list[Mark]:
        return [one for one in self.marks if one.until is None or one.until >= since]


def _minute_of(scope: ScopeKpis, minute: int) -> Minute:
    """The sum of the half minutes of a minute that is over."""
    first = minute * _BUCKETS_A_MINUTE
    live = attempts = answered = effective = 0
    # Buckets are made by changes: where there was none, as many calls were up as before.
    live = scope.live.now
    for bucket in reversed(scope.buckets):
        if bucket.at < first + _BUCKETS_A_MINUTE:
            live = bucket.live
            break
    for bucket in scope.buckets:
        if first <= bucket.at < first + _BUCKETS_A_MINUTE:
            attempts += bucket.offered
            answered += bucket.answered
            effective += bucket.effective
    return Minute(live, attempts, answered, effective)
