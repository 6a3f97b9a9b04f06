"""The rules of alarms: which figure, from which value on, and for how long.

A rule has a limit of a warning and one of an alarm; without both it is off. :data:`DEFAULTS` apply
unless the operator's file says otherwise (:mod:`api.panels.alarm_file`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from livestate.state.kpi.trunk_alarms import LEVELS, CompanyLimits, Level, Limits, TrunkLimits


class Rule(NamedTuple):
    """``raise_ms``: how long a figure must be past a limit before the alarm is raised;
    ``clear_ms``: how long it must be good again before the alarm is over. ``low_is_bad``: the
    figure is past a limit below it. ``companies``: each company has the rule too, for its own
    calls."""

    name: str
    warning: float | None = None
    alarm: float | None = None
    raise_ms: int = 60_000
    clear_ms: int = 120_000
    low_is_bad: bool = False
    companies: bool = False

    @property
    def on(self) -> bool:
        return self.warning is not None or self.alarm is not None


class Reading(NamedTuple):
    """One figure now. ``level``: which limit it has passed; ``limit``: that one, or the value that
    it is compared with. ``bad``: grows as it gets worse, to keep the worst value."""

    level: Level
    value: float
    limit: float | None
    bad: float


Rules = Mapping[str, Rule]

# Those of all calls, in the order in which the page lists them.
FIGURES: Final = ("live_calls", "cps", "asr", "ner", "asr_drop", "pdd_p95_ms",
                  "failures_per_minute")  # fmt: skip
TRUNKS: Final = ("trunk_capacity", "trunk_ner", "trunk_asr_drop")
FEED: Final = ("feed_stale", "node_silent")

_TRUNKS: Final = TrunkLimits()
DEFAULTS: Final[Rules] = {
    rule.name: rule
    for rule in (
        Rule("live_calls"),
        Rule("cps"),
        Rule("asr", 40.0, 25.0, low_is_bad=True),
        Rule("ner", 85.0, 70.0, low_is_bad=True, companies=True),
        Rule("asr_drop", 75.0, 50.0, low_is_bad=True, companies=True),
        Rule("pdd_p95_ms", 5_000.0, 10_000.0),
        Rule("failures_per_minute"),
        Rule("trunk_capacity", *_TRUNKS.capacity, raise_ms=10_000, clear_ms=60_000),
        Rule("trunk_ner", *_TRUNKS.ner, low_is_bad=True),
        Rule("trunk_asr_drop", *_TRUNKS.asr_drop, low_is_bad=True, companies=True),
        Rule("feed_stale", None, 10.0, raise_ms=0, clear_ms=10_000),
        Rule("node_silent", None, 10.0, raise_ms=0, clear_ms=30_000),
    )
}


def judge(rule: Rule, value: float) -> Reading:
    """Which limit of the rule a value has passed. A capacity of 80 % is passed at 80."""
    sign = -1 if rule.low_is_bad else 1
    for level, limit in (("alarm", rule.alarm), ("warning", rule.warning)):
        if limit is not None and _past(value, limit, low_is_bad=rule.low_is_bad):
            return Reading(level, value, limit, sign * value)  # type: ignore[arg-type]
    return Reading("", value, None, sign * value)


def _past(value: float, limit: float, *, low_is_bad: bool) -> bool:
    return value < limit if low_is_bad else value >= limit


def trunk_limits(rules: Rules) -> TrunkLimits:
    """The limits of trunks, for the trunks panel: one truth for it and for the alarms."""
    capacity, ner, drop = (limits_of(rules[name]) for name in TRUNKS)
    return TrunkLimits(capacity, ner, drop)


def limits_of(rule: Rule) -> Limits:
    return rule.warning, rule.alarm


def worse(one: Level, than: Level) -> bool:
    return LEVELS.index(one) > LEVELS.index(than)


def company_limits(rules: Rules) -> CompanyLimits:
    """The limits of each company's NER and of the drop of its ASR."""
    return CompanyLimits(
        *(
            limits_of(rules[name]) if rules[name].companies else (None, None)
            for name in CompanyLimits._fields
        )
    )
