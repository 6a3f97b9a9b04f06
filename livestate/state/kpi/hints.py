"""Hints of fraud and of faults in routing: callers whose calls break a rule that the page shows.

Each rule counts the calls of a view that are up or ended in the last five minutes
(:mod:`livestate.state.kpi.recent`) by caller, or by caller and number or country called. Memory is
bounded whatever callers do: :mod:`livestate.state.kpi.top_keys`. A hint is no proof. The rules are
those of other monitors (OpenSIPS' ``fraud_detection``, VoIPmonitor's anti-fraud alerts): calls at
once, attempts, the same destination again, talk time, and countries that are risky or new, which
is what international revenue share fraud (IRSF) looks like. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from livestate.state.call import Call
from livestate.state.kpi.recent import digits_of
from livestate.state.kpi.top_keys import TopKeys
from livestate.state.kpi.window import is_challenge

AT_ONCE: Final = 100
MOST_SHOWN: Final = 200
# Names that many callers share.
NOBODY: Final = frozenset({"", "anonymous", "private", "restricted", "unavailable", "unknown"})


class HintRules(NamedTuple):
    """From how many calls of one caller on (in five minutes) there is a hint; 0: never."""

    at_once: int = 10  # that are up
    attempts: int = 60  # that began
    short: int = 10  # that were answered, and ended within ``short_seconds``
    wangiri: int = 20  # that the caller gave up within ``short_seconds``, to be called back
    repeats: int = 10  # to the same number
    loops: int = 3  # to a number that calls back as often
    unusual: int = 1  # to a premium rate or satellite number
    risk: int = 1  # to a country of ``LIVESTATE_RISK_COUNTRIES``
    new_country: int = 1  # to a country that the company did not call before
    talk: int = 120  # minutes of talk of its calls together
    short_seconds: int = 6


COUNTRY_RULES: Final = frozenset({"risk", "new_country"})
MINUTE_MS: Final = 60_000
# Worst first.
RULES: Final = ("risk", "unusual", "new_country", "loops", "wangiri", "short", "talk", "attempts",
                "at_once", "repeats")  # fmt: skip
UNUSUAL: Final = frozenset({"premium", "satellite"})


class Party(NamedTuple):
    """A caller of a company: extensions of two companies may be equal."""

    company_id: str | None
    caller: str
    callee: str | None = None
    country: str | None = None


class About(Protocol):
    """What hints ask about a number called; :class:`api.panels.numbering.Place` has it."""

    @property
    def country(self) -> str | None: ...
    @property
    def kind(self) -> str: ...


class Outside(NamedTuple):
    """What hints know besides calls. ``about(number)``: of a number called; ``risky``: countries;
    ``is_new(company, country)``: whether a company did not call it before."""

    about: Callable[[str], About]
    risky: frozenset[str] = frozenset()
    is_new: Callable[[str | None, str], bool] = lambda company, country: False


class Hints:
    """What breaks a rule, of calls from ``oldest`` until ``now`` (ms)."""

    def __init__(
        self,
        calls: Iterable[Call | None],
        rules: HintRules,
        outside: Outside,
        *,
        oldest: int,
        now: int,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.more = 0
        self._calls = calls
        self._rules = rules
        self._outside = outside
        self._oldest = oldest
        self._now = now
        # (company, caller[, callee or country]) of each rule
        self._counts: dict[str, TopKeys[tuple[str | None, ...]]] = {
            name: TopKeys() for name in RULES
        }

    def steps(self) -> Iterator[None]:
        """Count all calls, some in each step; then fill ``rows``, the worst rule first."""
        for number, call in enumerate(self._calls):
            if number % AT_ONCE == 0:
                yield
            if call is not None and not (not call.live and is_challenge(call)):
                self._count(call)
        yield
        found = []
        for place, name in enumerate(RULES):
            limit = getattr(self._rules, name)
            if limit:
                found += [
                    (place, -count, party, name, limit) for party, count in self._over(name, limit)
                ]
            yield
        found.sort(key=lambda one: one[:2])
        self.rows = [
            {"rule": name, "limit": limit, "count": -count, **party._asdict()}
            for _, count, party, name, limit in found[:MOST_SHOWN]
        ]
        self.more = max(0, len(found) - MOST_SHOWN)

    def _count(self, call: Call) -> None:
        attributes, counts = call.attributes, self._counts
        caller = digits_of(attributes.caller) or (attributes.caller or "")
        if caller.lower() in NOBODY:
            return
        party = (attributes.company_id, caller)
        if call.live:
            counts["at_once"].count(party)
        else:
            self._count_short(call, party)
        answered_at, setup_at = attributes.answered_at, attributes.setup_at
        if answered_at is not None and call.conclusion not in ("expired", "lost"):
            until = self._now if call.live else call.over_at
            counts["talk"].count(party, max(0, until - answered_at))
        if setup_at is not None and setup_at >= self._oldest:
            counts["attempts"].count(party)
        callee = digits_of(attributes.callee) or (attributes.callee or "")
        if callee:
            counts["repeats"].count((*party, callee))
            if attributes.direction not in ("inbound", "internal"):
                self._count_place(party, callee)

    def _count_short(self, call: Call, party: tuple[str | None, ...]) -> None:
        """A call is over: was it answered for a moment, or given up after one ring?"""
        answered_at, setup_at = call.attributes.answered_at, call.attributes.setup_at
        outcome, rule, since = call.conclusion, "", 0
        if answered_at is not None and outcome not in ("expired", "lost"):
            rule, since = "short", answered_at
        elif answered_at is None and outcome == "canceled" and setup_at is not None:
            rule, since = "wangiri", setup_at
        if rule and 0 <= call.over_at - since < 1000 * self._rules.short_seconds:
            self._counts[rule].count(party)

    def _count_place(self, party: tuple[str | None, ...], callee: str) -> None:
        place = self._outside.about(callee)
        if place.kind in UNUSUAL:
            self._counts["unusual"].count((*party, callee))
        country = place.country
        if country is not None:
            if country in self._outside.risky:
                self._counts["risk"].count((*party, country))
            if self._outside.is_new(party[0], country):
                self._counts["new_country"].count((*party, country))

    def _over(self, name: str, limit: int) -> Iterator[tuple[Party, int]]:
        if name == "loops":
            yield from self._loops(limit)
        elif name in COUNTRY_RULES:
            for (company, caller, country), count in self._counts[name].over(limit):
                yield Party(company, caller or "", None, country), count
        elif name == "talk":
            for (company, caller), ms in self._counts[name].over(limit * MINUTE_MS):
                yield Party(company, caller or ""), ms // MINUTE_MS
        else:
            for (company, caller, *callee), count in self._counts[name].over(limit):
                yield Party(company, caller or "", *callee), count

    def _loops(self, limit: int) -> Iterator[tuple[Party, int]]:
        pairs = self._counts["repeats"]
        for (company, caller, callee), count in pairs.over(limit):
            back = pairs.at_least((company, callee, caller))
            if back >= limit and (caller or "") < (callee or ""):  # one hint for both directions
                yield Party(company, caller or "", callee), count + back


def parse(text: str) -> HintRules:
    """Rules written as ``attempts=100,short=0``; the others keep their defaults. Raises
    ValueError."""
    given: dict[str, int] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = (one.strip() for one in part.partition("="))
        if name not in HintRules._fields or not value.isascii() or not value.isdecimal():
            raise ValueError(
                f"a list such as attempts=100,short=0 of {', '.join(HintRules._fields)}, with "
                "whole numbers"
            )
        if len(value) > 6:
            raise ValueError(f"a list in which {name} is at most 999999")
        given[name] = int(value)
    return HintRules(**given)
