"""Key figures of all calls and of each company: calls that are up now, and how calls went lately.

The pipeline calls :meth:`Kpis.on_change` for every change; the stream asks for
:meth:`Kpis.figures` with each heartbeat. A company's figures come from the changes of its own calls
alone, so nothing in them depends on another company.

A call counts in the window in which it ended, once. A lost call counts nowhere until an event or a
CDR tells how it really ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from livestate.contract.states import FINAL_STATES
from livestate.state.active_calls import Change
from livestate.state.call import Call
from livestate.state.kpi.company_hours import CompanyHours
from livestate.state.kpi.company_report import CompanyReport
from livestate.state.kpi.gauges import DAY_MS, gauge_of
from livestate.state.kpi.report import busiest, report
from livestate.state.kpi.scope_kpis import LiveCounts, ScopeKpis
from livestate.state.kpi.trunk_alarms import CompanyLimits, TrunkLimits
from livestate.state.kpi.trunk_report import TrunkInfo, TrunkReport
from livestate.state.kpi.trunk_window import TrunkWindow
from livestate.state.kpi.trunks import TrunkCounters
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, WINDOW_MS, Ending
from livestate.state.position import is_from_sync

LATE_MS: Final = 5_000  # by so much clocks of nodes may be off


class Kpis:
    """The figures of all scopes. ``clock`` is in ms and does not jump."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._started = clock()
        self._all = ScopeKpis()
        self._of: dict[str, ScopeKpis] = {}
        self._pruned = self._started // DAY_MS
        self.trunks = TrunkCounters()
        self.trunk_window = TrunkWindow()
        self.trunk_limits = TrunkLimits()  # of the alarm rules
        self.company_hours = CompanyHours()

    # -- changes ---------------------------------------------------------------------------

    def on_change(self, change: Change) -> None:
        """A call changed. Never waits; it only adds integers. Most changes do not affect the KPIs,
        and most others only move a call from one state to another."""
        before, after, _ = change
        if before is not None:
            was, attributes = before.attributes, after.attributes
            if (
                was.trunk == attributes.trunk
                and was.company_id == attributes.company_id
                and was.attempt == attributes.attempt
            ):
                was_over, is_over = before.state in FINAL_STATES, after.state in FINAL_STATES
                if not was_over and not is_over:
                    self._change_state(before, after)
                    return
                if was_over and is_over and _ended_the_same(before, after):
                    return
        now = self._clock()
        is_over = after.state in FINAL_STATES
        ending = None if not is_over or after.lost else Ending(after)
        scopes = self._scopes_of(after)
        self.trunks.count(before, after)
        self._count_live(before, after, scopes, now)
        self._count_begin(before, after, scopes, now)
        self._count_window(before, after, ending, is_over and ending is None, scopes, now)
        self.trunk_window.count(before, after, ending, now)

    def _change_state(self, before: Call, after: Call) -> None:
        """The call rings, is answered or held: as many calls are up as before, everywhere."""
        answered = after.attributes.answered_at
        was_answered = before.attributes.answered_at
        if before.state == after.state and was_answered == answered:
            return
        if was_answered is None and answered is not None:
            self.trunks.count_answer(after)
        for scope in self._scopes_of(after):
            scope.change_state(before, after)

    def _count_live(
        self, before: Call | None, after: Call, scopes: tuple[ScopeKpis, ...], now: int
    ) -> None:
        """Count the call among those that are up, or no longer."""
        day = now // DAY_MS
        if before is not None and before.state not in FINAL_STATES:
            if before.attributes.company_id == after.attributes.company_id:
                self._leave(before, scopes, after.state not in FINAL_STATES, day)
            else:
                former = self._scopes_of(before)  # the company that it moves away from too
                self._leave(before, former, False, day)
                for scope in former:
                    scope.bucket(now).live = scope.live.now
        if after.state not in FINAL_STATES:
            self._enter(after, scopes, day)

    def _leave(self, before: Call, scopes: tuple[ScopeKpis, ...], goes_on: bool, day: int) -> None:
        """A call ended, or changed in a way that counters show. ``goes_on``: it is the same
        conversation of the same company."""
        for scope in scopes:
            scope.leave(before, day)
            if not goes_on:
                scope.remove_answered(before)
        company = before.attributes.company_id
        if company is not None:
            gauge_of(self._all.companies, company).move(-1, day)

    def _enter(self, after: Call, scopes: tuple[ScopeKpis, ...], day: int) -> None:
        for scope in scopes:
            scope.enter(after, day)
            scope.add_answered(after)
        company = after.attributes.company_id
        if company is not None:
            gauge_of(self._all.companies, company).move(1, day)

    def _count_begin(
        self, before: Call | None, after: Call, scopes: tuple[ScopeKpis, ...], now: int
    ) -> None:
        """Count a call that begins, or an attempt that ended because the call is routed again."""
        if before is None:
            # A call that a list names first began at an unknown time, maybe long ago.
            if after.state not in FINAL_STATES and not is_from_sync(after.position):
                for scope in scopes:
                    scope.count_setup(now)
        elif before.state not in FINAL_STATES and _attempt(after) > _attempt(before):
            for scope in scopes:
                scope.bucket(now).count_attempt(before.attributes.trunk, answered=False)

    def _count_window(
        self,
        before: Call | None,
        after: Call,
        ending: Ending | None,
        is_lost: bool,
        scopes: tuple[ScopeKpis, ...],
        now: int,
    ) -> None:
        """Bring the bucket of now up to date; count the call in it if its end is known now."""
        was_live = before is not None and before.state not in FINAL_STATES
        if ending is not None and (
            # It was counted before.
            (before is not None and not was_live and not before.lost)
            # After a restart CDRs tell ends of long ago, which the window does not cover.
            or after.over_at < max(self._started, now - WINDOW_MS) - LATE_MS
        ):
            ending = None
        becomes_lost = was_live and is_lost
        for scope in scopes:
            bucket = scope.bucket(now)
            bucket.live = scope.live.now
            if becomes_lost:
                bucket.lost += 1
            if ending is not None:
                bucket.count_end(ending)
                if ending.outcome == "challenged":
                    scope.uncount_setup(now)

    def parts(self, company_id: str) -> Iterator[object]:
        """All objects that the figures of a company are made of; none refers back to another."""
        own, calls = self._of.get(company_id), self._all.companies.get(company_id)
        if own is not None:
            yield from own.parts()
        if calls is not None:
            yield calls

    def _scopes_of(self, call: Call) -> tuple[ScopeKpis, ...]:
        company = call.attributes.company_id
        if company is None:
            return (self._all,)
        own = self._of.get(company)
        if own is None:
            own = self._of[company] = ScopeKpis()
        return self._all, own

    # -- kept across a restart: livestate/store/figures.py -------------------------------------

    @property
    def started(self) -> int:
        """Since when the window counts (ms)."""
        return self._started

    def started_at(self, started: int) -> None:
        """The window goes on from before our restart."""
        self._started = min(self._started, started)

    def scopes(self) -> Iterator[tuple[str | None, ScopeKpis]]:
        """The counters of all calls (None) and of each company."""
        yield None, self._all
        yield from self._of.items()

    def scope(self, company_id: str | None) -> ScopeKpis:
        """The counters of all calls (None) or of one company, made at their first use."""
        if company_id is None:
            return self._all
        return self._of.setdefault(company_id, ScopeKpis())

    # -- after a restart, or an exchange of the table ----------------------------------------

    def restore(self, counts: Mapping[str | None, LiveCounts]) -> None:
        """Calls of before our restart are up; they do not begin now. Called before any change."""
        now = self._clock()
        day = now // DAY_MS
        for company, own in counts.items():
            scope = self._all if company is None else self._of.setdefault(company, ScopeKpis())
            scope.restore(own, day)
            scope.bucket(now).live = scope.live.now
            if company is not None:
                gauge_of(self._all.companies, company).move(own.states.total(), day)

    def replace(self, counts: Mapping[str | None, LiveCounts], since: Iterable[Change]) -> None:
        """The table was exchanged for another: these calls were up in it, maybe under other keys,
        and have changed ``since``. No call begins or ends by that."""
        day = self._clock() // DAY_MS
        for scope in (self._all, *self._of.values()):
            scope.forget_live(day)
        self.restore(counts)
        self.correct(since)

    def correct(self, changes: Iterable[Change]) -> None:
        """Calls are otherwise than they were counted. No call begins or ends by that."""
        day = self._clock() // DAY_MS
        for before, after, _ in changes:
            if before is not None and before.live:
                self._leave(before, self._scopes_of(before), False, day)
            if after.live:
                self._enter(after, self._scopes_of(after), day)

    # -- figures -----------------------------------------------------------------------------

    def figures(self, company_id: str | None) -> dict[str, Any]:
        """The figures of all calls (None) or of one company; see
        :func:`~livestate.state.kpi.report.report`."""
        now = self._clock()
        self._prune(now)
        if company_id is not None:
            return report(self._of.get(company_id, ScopeKpis()), self._started, now)
        figures = report(self._all, self._started, now)
        figures["companies"] = list(busiest(self._all.companies, now // DAY_MS))
        return figures

    def trunk_report(self, company_id: str | None, info: Mapping[str, TrunkInfo]) -> TrunkReport:
        """The trunks of all calls (None) or of one company, the worst first. ``info``: what the
        operator says of trunks."""
        now = self._clock()
        scope = self._all if company_id is None else self._of.get(company_id)
        return TrunkReport(
            self.trunk_window,
            scope.trunks if scope is not None else {},
            info,
            company=company_id,
            counted_ms=now - self._started,
            now=now,
            limits=self.trunk_limits,
            hour=(
                self.trunk_window.hour
                if company_id is None
                else self.company_hours.of_trunks.get(company_id)
            ),
        )

    def company_report(self, limits: CompanyLimits) -> CompanyReport:
        """The companies, the worst first."""
        now = self._clock()
        return CompanyReport(
            self._of.items(),
            self.trunk_window,
            self.company_hours.of_calls,
            counted_ms=now - self._started,
            now=now,
            limits=limits,
        )

    def live_by_trunk(self) -> dict[str, int]:
        """How many calls are up on each trunk, under the names that its counters have."""
        found = {name: 0 for name, _ in self.trunks.totals()}
        for trunk, gauge in self._all.trunks.items():
            found[self.trunks.name(trunk)] += gauge.now
        return found

    def forget(self, companies: Iterable[str]) -> None:
        """Companies that the table has evicted: quiet ones of very many."""
        for company in companies:
            self._of.pop(company, None)
            gauge = self._all.companies.get(company)
            if gauge is not None and not gauge.now:
                del self._all.companies[company]

    def _prune(self, now: int) -> None:
        """Once a day, forget names that were not seen today."""
        day = now // DAY_MS
        if day == self._pruned:
            return
        self._pruned = day
        oldest = now // BUCKET_MS - BUCKETS
        for company, scope in tuple(self._of.items()):
            quiet = not scope.buckets or scope.buckets[-1].at <= oldest
            if quiet and not scope.live.peak_of(day):
                del self._of[company]
        trunks = [scope.trunks for scope in (self._all, *self._of.values())]
        for names in (self._all.companies, *trunks):
            for name in [name for name, gauge in names.items() if not gauge.peak_of(day)]:
                del names[name]


def _ended_the_same(before: Call, after: Call) -> bool:
    """Whether no counter looks at what differs between two records of a call that is over."""
    was, now = before.attributes, after.attributes
    return (
        before.state == after.state
        and was.outcome == now.outcome
        and was.answered_at == now.answered_at
        and before.lost == after.lost
    )


def _attempt(call: Call) -> int:
    return call.attributes.attempt or 1
