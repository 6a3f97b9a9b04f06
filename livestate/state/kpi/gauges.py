"""A count that goes up and down, with the highest value of the day.

A day begins and ends at midnight UTC, because nodes may stand in several time zones.
"""

from __future__ import annotations

from typing import Final

DAY_MS: Final = 86_400_000


class Gauge:
    """The value now, and its peak of today. ``day`` is a number: ms since the epoch // DAY_MS."""

    __slots__ = ("day", "now", "peak")

    def __init__(self) -> None:
        self.now = self.peak = self.day = 0

    def move(self, by: int, day: int) -> None:
        was, self.now = self.now, self.now + by
        if day != self.day:  # the day began with the value that it had then
            self.day, self.peak = day, was
        if self.now > self.peak:
            self.peak = self.now

    def peak_of(self, day: int) -> int:
        return self.peak if day == self.day else self.now


def gauge_of(names: dict[str, Gauge], name: str) -> Gauge:
    """The gauge of a name, made at its first use."""
    found = names.get(name)
    if found is None:
        found = names[name] = Gauge()
    return found
