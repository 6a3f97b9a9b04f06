"""Hints of fraud and of faults in routing: callers whose calls break a rule that the page shows.

Each rule counts the calls of a view that are up or ended in the last five minutes
(:mod:`livestate.state.kpi.recent`) by caller, or by caller and number called. Memory is bounded
whatever callers do: :mod:`livestate.state.kpi.top_keys`. A hint is no proof. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from livestate.state.call import Call
from livestate.state.kpi.recent import digits_of
from livestate.state.kpi.top_keys import TopKeys
from livestate.state.kpi.window import is_challenge

AT_ONCE: Final = 100
MOST_SHOWN: Final = 200
MOST_STARTS: Final = 5_000  # beginnings of numbers whose kind is kept
START: Final = 8
# Names that many callers share.
NOBODY: Final = frozenset({"", "anonymous", "private", "restricted", "unavailable", "unknown"})


class HintRules(NamedTuple):
    """From how many calls of one caller on (in five minutes) there is a hint; 0: never."""

    at_once: int = 10  # that are up
    attempts: int = 60  # that began
    short: int = 10  # that were answered, and ended within ``short_seconds``
    repeats: int = 10  # to the same number
    loops: int = 3  # to a number that calls back as often
    unusual: int = 1  # to a premium rate or satellite number
    short_seconds: int = 6


RULES: Final = ("unusual", "loops", "short", "attempts", "at_once", "repeats")  # worst first
UNUSUAL: Final = frozenset({"premium", "satellite"})


class Party(NamedTuple):
    """A caller of a company: extensions of two companies may be equal."""

    company_id: str | None
    caller: str
    callee: str | None = None


class Hints:
    """What breaks a rule. ``kind_of(number)``: of a number called, such as ``premium``."""

    def __init__(
        self,
        calls: Iterable[Call | None],
        rules: HintRules,
        kind_of: Callable[[str], str],
        oldest: int,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.more = 0
        self._calls = calls
        self._rules = rules
        self._kind_of = kind_of
        self._kinds: dict[str, bool] = {}  # beginning of a number → whether it is unusual
        self._oldest = oldest
        self._counts: dict[str, TopKeys[Party]] = {name: TopKeys() for name in RULES}

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
        party = Party(attributes.company_id, caller)
        if call.live:
            counts["at_once"].count(party)
        elif self._is_short(call):
            counts["short"].count(party)
        if attributes.setup_at is not None and attributes.setup_at >= self._oldest:
            counts["attempts"].count(party)
        callee = digits_of(attributes.callee) or (attributes.callee or "")
        if callee:
            counts["repeats"].count(Party(attributes.company_id, caller, callee))
            if attributes.direction not in ("inbound", "internal") and self._is_unusual(callee):
                counts["unusual"].count(party)

    def _over(self, name: str, limit: int) -> Iterator[tuple[Party, int]]:
        if name != "loops":
            yield from self._counts[name].over(limit)
            return
        pairs = self._counts["repeats"]
        for party, count in pairs.over(limit):
            company, caller, callee = party
            back = pairs.at_least(Party(company, callee or "", caller))
            if back >= limit and caller < (callee or ""):  # one hint for both directions
                yield party, count + back

    def _is_short(self, call: Call) -> bool:
        answered_at = call.attributes.answered_at
        if answered_at is None or call.conclusion in ("expired", "lost"):
            return False
        return 0 <= call.over_at - answered_at < 1000 * self._rules.short_seconds

    def _is_unusual(self, callee: str) -> bool:
        start = callee[:START]
        found = self._kinds.get(start)
        if found is None:
            found = self._kind_of(callee) in UNUSUAL
            if len(self._kinds) < MOST_STARTS:
                self._kinds[start] = found
        return found


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
