"""Counters per trunk that only grow, for ``/metrics``: attempts, answers, failures by SIP class.

:class:`~livestate.state.kpi.kpis.Kpis` calls ``count`` for every change that matters to key
figures; the metrics read ``totals`` at each scrape. Trunk names come from the nodes, where a caller
may have a say in them, so at most ``most`` trunks have counters of their own: the first ones seen,
and later those with the most attempts. All others share the counters of ``OTHER``.

An attempt counts on the trunk that it took, at once; so do its answer and its failure. A call that
is re-routed has failed on the trunk before and begins on the next. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from livestate.contract.states import FINAL_STATES
from livestate.state.call import Call
from livestate.state.position import is_from_sync

MOST_NAMED: Final = 50
MOST_CANDIDATES: Final = 1_000  # trunks without counters whose attempts are compared
RANK_MS: Final = 60_000
SWAPS: Final = 5  # a minute: each is a series that ends and one that begins
OTHER: Final = "other"
CLASSES: Final = ("3xx", "4xx", "5xx", "6xx", "none")  # none: a failure without a response


class Totals:
    """What happened on one trunk since it was named."""

    __slots__ = ("answers", "failures", "recent", "seizures")

    def __init__(self) -> None:
        self.seizures = self.answers = 0
        self.failures = dict.fromkeys(CLASSES, 0)
        self.recent = 0  # attempts, halved every minute


class TrunkCounters:
    """The counters of the busiest trunks, and of the rest together."""

    def __init__(self, most: int = MOST_NAMED) -> None:
        self._most = most
        self._named: dict[str, Totals] = {}
        self._other = Totals()
        self._candidates: Counter[str] = Counter()
        self._ranked_at: int | None = None

    def count(self, before: Call | None, after: Call) -> None:
        """A call changed. Never waits."""
        attributes = after.attributes
        trunk = attributes.trunk
        if before is None:
            # A call that a list is the first to tell of began at an unknown time, maybe long ago.
            if is_from_sync(after.position):
                return
            self._seize(trunk)
            answered_before = None
        else:
            was = before.attributes
            if before.state not in FINAL_STATES:
                if (attributes.attempt or 1) > (was.attempt or 1):
                    self._fail(was.trunk, _class_of(after, before))
                    self._seize(trunk)
                elif trunk != was.trunk:
                    self._seize(trunk)
            elif not before.lost or after.lost:  # else how it ended is known after all
                return
            answered_before = was.answered_at
        if attributes.answered_at is not None:
            if answered_before is None:
                self._answer(trunk)
        elif after.state in FINAL_STATES and not after.lost and after.conclusion != "challenged":
            self._fail(trunk, _class_of(after, None))

    def count_answer(self, call: Call) -> None:
        """What ``count`` does for a call whose only news is that it is answered."""
        self._answer(call.attributes.trunk)

    def rank(self, now: int) -> None:
        """Give counters of their own to trunks that have become busier than named ones."""
        if self._ranked_at is not None and now - self._ranked_at < RANK_MS:
            return
        self._ranked_at = now
        for name, recent in self._candidates.most_common(SWAPS):
            if len(self._named) >= self._most:
                least = min(self._named, key=lambda one: self._named[one].recent)
                if recent <= 2 * self._named[least].recent + 1:
                    break  # no trunk swaps to and fro
                del self._named[least]
            self._named[name] = Totals()
            self._named[name].recent = recent
            del self._candidates[name]
        for totals in self._named.values():
            totals.recent //= 2
        halved = {name: count // 2 for name, count in self._candidates.items()}
        self._candidates = Counter({name: count for name, count in halved.items() if count})

    def totals(self) -> Iterator[tuple[str, Totals]]:
        """(trunk, its counters) of each named one, then of the rest together as ``OTHER``."""
        yield from self._named.items()
        yield OTHER, self._other

    def name(self, trunk: str) -> str:
        """Under which name this trunk is counted now."""
        return trunk if trunk in self._named else OTHER

    def _seize(self, trunk: str | None) -> None:
        if trunk is None:
            return
        totals = self._of(trunk)
        totals.seizures += 1
        totals.recent += 1
        if totals is self._other and (
            trunk in self._candidates or len(self._candidates) < MOST_CANDIDATES
        ):
            self._candidates[trunk] += 1

    def _answer(self, trunk: str | None) -> None:
        if trunk is not None:
            self._of(trunk).answers += 1

    def _fail(self, trunk: str | None, sip_class: str) -> None:
        if trunk is not None:
            self._of(trunk).failures[sip_class] += 1

    def _of(self, trunk: str) -> Totals:
        found = self._named.get(trunk)
        if found is None:
            if len(self._named) >= self._most or trunk == OTHER:
                return self._other
            found = self._named[trunk] = Totals()
        return found


def _class_of(call: Call, before: Call | None) -> str:
    """The class of the response that ended an attempt. A re-route's event carries the response
    of the branch that failed; one that repeats an older response carries none."""
    code = call.attributes.sip_code
    known = None if before is None else before.attributes.sip_code
    if code is None or code < 300 or code == known:
        return "none"
    return f"{code // 100}xx"
