"""How many attempts each trunk answered lately, and in the hour before: does its ASR drop?

:class:`~livestate.state.kpi.trunk_window.TrunkWindow` counts every attempt on a named trunk that is
over. An hour is twelve slots of five minutes, and the current one. "Lately" is the current slot and
the one before it, so five to ten minutes. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

SLOT_MS: Final = 300_000
SLOTS: Final = 13
RECENT: Final = 2


class Recent(NamedTuple):
    """Attempts that are over, and how many of them were answered: lately, and before that."""

    attempts: int
    answered: int
    attempts_before: int
    answered_before: int


class TrunkHour:
    """Slots of trunk → [attempts, answered]; as many names as the window has."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, dict[str, list[int]]]] = deque(maxlen=SLOTS)

    def add(self, name: str, attempts: int, answered: int, now: int) -> None:
        """Attempts on a trunk are over, of which some were answered."""
        slot = self._slot(now)
        counts = slot.get(name)
        if counts is None:
            counts = slot[name] = [0, 0]
        counts[0] += attempts
        counts[1] += answered

    def of(self, trunk: str, now: int) -> Recent:
        """The counts of the last hour."""
        last = now // SLOT_MS
        recent, before = [0, 0], [0, 0]
        for at, slot in self._slots:
            found = slot.get(trunk)
            if found is not None and at > last - SLOTS:
                sums = recent if at > last - RECENT else before
                sums[0] += found[0]
                sums[1] += found[1]
        return Recent(*recent, *before)

    def slots(self, since: int) -> list[tuple[int, dict[str, list[int]]]]:
        """(number, trunk → [attempts, answered]) of the slots that count at ``since`` or later."""
        return [(at, slot) for at, slot in self._slots if at >= since // SLOT_MS]

    def restore(self, at: int, slot: dict[str, list[int]]) -> None:
        """Put back a slot from before a restart, unless that time is counted here."""
        kept = dict(self._slots)
        if slot and at not in kept:
            kept[at] = slot
            self._slots = deque(sorted(kept.items()), maxlen=SLOTS)

    def _slot(self, now: int) -> dict[str, list[int]]:
        at = now // SLOT_MS
        if not self._slots or self._slots[-1][0] < at:
            self._slots.append((at, {}))
        return self._slots[-1][1]
