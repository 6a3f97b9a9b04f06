"""Where calls go: counts by the beginning of the number that was called.

:mod:`api.panels.destinations` reads them and resolves each beginning once, not each call. Calls
from outside to the company (``inbound``) and inside it have no destination. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from livestate.state.call import Call
from livestate.state.kpi.recent import digits_of
from livestate.state.kpi.window import is_challenge, is_effective

DIGITS: Final = 7  # with the plus: a country code and at least three digits of an area
MOST: Final = 5_000  # beginnings with counts of their own; callers may make up any number
OTHERS: Final = ""
AT_ONCE: Final = 100


class Counts:
    """Of one beginning. ``sample`` is one whole number, from which its country is found."""

    __slots__ = ("answered", "attempts", "completed", "faults", "live", "sample", "seizures",
                 "talk_ms")  # fmt: skip

    def __init__(self, sample: str = "") -> None:
        self.sample = sample
        self.live = self.seizures = self.attempts = self.answered = self.faults = 0
        self.completed = self.talk_ms = 0

    def count(self, call: Call, oldest: int) -> None:
        """``oldest``: when the time that is looked at begins (ms)."""
        attributes = call.attributes
        setup_at = attributes.setup_at
        self.seizures += setup_at is not None and setup_at >= oldest
        if call.live:
            self.live += 1
            return
        outcome = call.conclusion
        answered = attributes.answered_at is not None or call.state == "ended"
        self.attempts += 1
        self.answered += answered
        self.faults += not is_effective(call, answered, outcome)
        if attributes.answered_at is not None and outcome not in ("expired", "lost"):
            self.completed += 1
            self.talk_ms += max(0, call.over_at - attributes.answered_at)

    def add(self, other: Counts) -> None:
        """Count what ``other`` has counted too."""
        for name in ("live", "seizures", "attempts", "answered", "faults", "completed", "talk_ms"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Destinations:
    """The counts by beginning; those beyond the bound and no numbers are under ``OTHERS``."""

    def __init__(self, calls: Iterable[Call | None], oldest: int) -> None:
        self.by_start: dict[str, Counts] = {}
        self._calls = calls
        self._oldest = oldest

    def steps(self) -> Iterator[None]:
        """Count all calls, some in each step."""
        counts = self.by_start
        for number, call in enumerate(self._calls):
            if number % AT_ONCE == 0:
                yield
            if call is None or call.attributes.direction in ("inbound", "internal"):
                continue
            if not call.live and (call.conclusion == "rejected_local" or is_challenge(call)):
                continue  # never offered to the network (decision 15)
            callee = digits_of(call.attributes.callee)
            start = callee[:DIGITS]
            found = counts.get(start)
            if found is None:
                if len(counts) >= MOST:
                    start = callee = OTHERS
                found = counts.setdefault(start, Counts(callee))
            found.count(call, self._oldest)
