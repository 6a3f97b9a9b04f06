"""Reads the figures that alarms judge: of all calls, of companies, of trunks, and of the feed.

:class:`~api.panels.alarm_watch.AlarmWatch` walks :meth:`Readings.steps` every two seconds, and
gives the loop to others between two steps. A figure that is measured on too few calls has no
reading.
While the feed is stale only the feed is read: figures of calls that ended unseen would say nothing.
A company's readings come from its own calls alone. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from livestate.state.alarms.rules import FIGURES, Reading, Rule, Rules, judge
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import ScopeKpis
from livestate.state.kpi.trunk_alarms import (
    MIN_ATTEMPTS,
    MIN_COUNTED_MS,
    is_measured,
    ner_of,
    of_asr_drop,
    used_of,
)
from livestate.state.kpi.trunk_hour import Recent
from livestate.state.kpi.trunk_report import TrunkInfo
from livestate.state.kpi.trunk_window import ATTEMPTS, FAULTS, NO_TRUNK
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, STEP, Bucket
from livestate.state.nodes.registry import Nodes
from livestate.state.source import Source

COMPANIES_A_ROUND: Final = 500
# A node that stays in the list of nodes may have any name; those seen last are read.
MOST_NODES: Final = 200


class Key(NamedTuple):
    """What an alarm is about: a rule, for all calls (None) or a company, and a trunk or node."""

    rule: str
    company_id: str | None = None
    subject: str = ""


class Readings:
    """Reads the figures of ``kpis`` and ``nodes``."""

    def __init__(self, kpis: Kpis, nodes: Nodes) -> None:
        self._kpis = kpis
        self._nodes = nodes
        self._hours = kpis.company_hours
        self._next = 0  # the company that the next round begins with

    def steps(
        self, rules: Rules, info: Mapping[str, TrunkInfo], source: Source, now: int
    ) -> Iterator[tuple[Key, Reading] | None]:
        """Each figure that is measured and whose rule is on; None where nothing was to be read."""
        yield from self._feed(rules, source, now)
        if source.stale_since is not None:
            return
        yield from self._scope(rules, None, self._kpis.scope(None), now)
        yield from self._companies(rules, now)
        yield from self._trunks(rules, info, now)

    # -- the feed ----------------------------------------------------------------------------

    def _feed(self, rules: Rules, source: Source, now: int) -> Iterator[tuple[Key, Reading]]:
        stale, silent = rules["feed_stale"], rules["node_silent"]
        if stale.on:
            since = source.stale_since
            yield Key(stale.name), judge(stale, 0.0 if since is None else _seconds(now - since))
        if silent.on:
            away = {node.name for node in self._nodes.stale(now)}
            nodes = sorted(self._nodes.by_name.values(), key=lambda one: -one.last_seen_at)
            for node in nodes[:MOST_NODES]:
                seconds = _seconds(now - node.last_seen_at) if node.name in away else 0.0
                yield Key(silent.name, None, node.name), judge(silent, seconds)

    # -- all calls, and companies --------------------------------------------------------------

    def _companies(self, rules: Rules, now: int) -> Iterator[tuple[Key, Reading] | None]:
        """Some companies a round, in turn: there may be 20,000."""
        wanted = {name: rule for name, rule in rules.items() if rule.companies and rule.on}
        drop = wanted.get("trunk_asr_drop")
        if not self._next or not wanted:  # a round through all companies begins, or there is none
            known = {company or "" for company, _ in self._kpis.scopes()} if wanted else {""}
            self._hours.keep(known, trunks=drop is not None)
        if not wanted:
            return
        scopes = [(company, scope) for company, scope in self._kpis.scopes() if company is not None]
        first, last = self._next, self._next + COMPANIES_A_ROUND
        self._next = last if last < len(scopes) else 0
        for company, scope in scopes[first:last]:
            yield from self._scope(wanted, company, scope, now)
            if drop is not None:
                yield from self._trunks_of(drop, company, now)
            yield None

    def _trunks_of(self, drop: Rule, company: str, now: int) -> Iterator[tuple[Key, Reading]]:
        """The drop of the ASR on a trunk, of the calls of one company."""
        hour = self._hours.count_trunks(company, self._kpis.trunk_window, now)
        for trunk in hour:
            reading = _dropped(drop, hour.of(trunk, now))
            if reading is not None:
                yield Key(drop.name, company, trunk), reading

    def _scope(
        self, rules: Rules, company: str | None, scope: ScopeKpis, now: int
    ) -> Iterator[tuple[Key, Reading]]:
        for name in FIGURES:
            rule = rules.get(name)
            if rule is None or not rule.on:
                continue
            if name == "asr_drop":
                reading = self._drop(rule, company or "", scope, now)
            else:
                value = self._value(name, scope, now)
                reading = None if value is None else judge(rule, value)
            if reading is not None:
                yield Key(name, company), reading

    def _value(self, name: str, scope: ScopeKpis, now: int) -> float | None:
        if name == "live_calls":
            return float(scope.live.now)
        if name == "cps":
            return scope.cps(now)
        last = now // BUCKET_MS
        if name == "failures_per_minute":  # of the last whole minute
            minute = [one for one in scope.buckets if last - 2 <= one.at < last]
            return float(sum(one.offered - one.effective for one in minute))
        window = [one for one in scope.buckets if one.at > last - BUCKETS]
        offered = sum(one.offered for one in window)
        if offered < MIN_ATTEMPTS:
            return None
        if name == "pdd_p95_ms":
            return _p95(window)
        if now - self._kpis.started < MIN_COUNTED_MS:
            return None  # failed calls end first
        good = sum(one.answered if name == "asr" else one.effective for one in window)
        return round(100 * good / offered, 1)

    def _drop(self, rule: Rule, scope_name: str, scope: ScopeKpis, now: int) -> Reading | None:
        """The ASR of the last minutes against the hour before."""
        self._hours.count_calls(scope_name, scope, now)
        return _dropped(rule, self._hours.of_calls.of(scope_name, now))

    # -- trunks ------------------------------------------------------------------------------

    def _trunks(
        self, rules: Rules, info: Mapping[str, TrunkInfo], now: int
    ) -> Iterator[tuple[Key, Reading] | None]:
        capacity, ner, drop = (
            rules[name] for name in ("trunk_capacity", "trunk_ner", "trunk_asr_drop")
        )
        gauges = self._kpis.scope(None).trunks
        if capacity.on:
            for trunk, about in info.items():
                gauge = gauges.get(trunk)
                used = used_of(gauge.now if gauge is not None else 0, about.capacity)
                if used is not None:
                    yield Key(capacity.name, None, trunk), judge(capacity, used)
        if not (ner.on or drop.on):
            return
        window = self._kpis.trunk_window
        sums: dict[str, list[int]] = {}
        for _, trunks in window.buckets_of(None, now):
            for trunk, counts in trunks.counts.items():
                found = sums.setdefault(trunk, [0, 0])
                found[0] += counts[ATTEMPTS]
                found[1] += counts[FAULTS]
            yield None
        for trunk, (attempts, faults) in sums.items():
            if trunk == NO_TRUNK:
                continue
            gauge = gauges.get(trunk)
            live = gauge.now if gauge is not None else 0
            value = ner_of(attempts, faults, live, now - self._kpis.started)
            if ner.on and value is not None:
                yield Key(ner.name, None, trunk), judge(ner, value)
            reading = _dropped(drop, window.hour.of(trunk, now)) if drop.on else None
            if reading is not None:
                yield Key(drop.name, None, trunk), reading
            yield None


def _dropped(rule: Rule, hour: Recent) -> Reading | None:
    """``value`` is the ASR of the last minutes, ``limit`` that of the hour before."""
    if not is_measured(hour):
        return None
    asr = round(100 * hour.answered / hour.attempts, 1)
    before = round(100 * hour.answered_before / hour.attempts_before, 1)
    alarm = of_asr_drop(hour, (rule.warning, rule.alarm))
    return Reading(alarm.level if alarm is not None else "", asr, before, -asr)


def _p95(window: list[Bucket]) -> float | None:
    """The post-dial delay that 95 % of the calls do not exceed, in ms."""
    bins: Counter[int] = Counter()
    for bucket in window:
        bins.update(bucket.delays)
    if bins.total() < MIN_ATTEMPTS:
        return None
    left = 0.95 * bins.total()
    for place in sorted(bins):
        left -= bins[place]
        if left < 0:
            return float(round(math.exp(place * STEP)))
    return None


def _seconds(ms: int) -> float:
    return round(max(0, ms) / 1000, 1)
