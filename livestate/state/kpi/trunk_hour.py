"""How many attempts each trunk answered lately, and in the hour before: does its ASR drop?

:class:`~livestate.state.kpi.trunk_window.TrunkWindow` counts every attempt on a named trunk that is
over. An hour is twelve slots of five minutes, and the current one. "Lately" is the current slot and
the one before it, so five to ten minutes. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

SLOT_MS: Final = 300_000
SLOTS: Final = 13
RECENT: Final = 2
_ZEROS: Final = bytes(2 * 8 * SLOTS)


class Recent(NamedTuple):
    """Attempts that are over, and how many of them were answered: lately, and before that."""

    attempts: int
    answered: int
    attempts_before: int
    answered_before: int


class TrunkHour:
    """Trunk → [attempts, answered] of each slot, in one array a name: 270 bytes, whatever it
    counts. A name that had no attempt for an hour is forgotten. Names may be any text: the ASR of
    companies is compared in the same way."""

    def __init__(self) -> None:
        self._counts: dict[str, array[int]] = {}
        self._last = 0  # number of the latest slot

    def __len__(self) -> int:
        return len(self._counts)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._counts))

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def add(self, name: str, attempts: int, answered: int, now: int) -> None:
        """Several attempts are over, of which some were answered."""
        at = now // SLOT_MS
        if at > self._last:
            self._advance(at)
        elif at <= self._last - SLOTS:
            return
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = array("q", _ZEROS)
        place = 2 * (at % SLOTS)
        counts[place] += attempts
        counts[place + 1] += answered

    def of(self, trunk: str, now: int) -> Recent:
        """The counts of the last hour."""
        counts, last = self._counts.get(trunk), now // SLOT_MS
        recent, before = [0, 0], [0, 0]
        for at in range(max(last, self._last) - SLOTS + 1, self._last + 1) if counts else ():
            sums, place = recent if at > last - RECENT else before, 2 * (at % SLOTS)
            sums[0] += counts[place]  # type: ignore[index]
            sums[1] += counts[place + 1]  # type: ignore[index]
        return Recent(*recent, *before)

    def slots(self, since: int) -> list[tuple[int, dict[str, list[int]]]]:
        """(number, trunk → [attempts, answered]) of the slots that count at ``since`` or later."""
        first = max(since // SLOT_MS, self._last - SLOTS + 1)
        found = [(at, self._slot(at)) for at in range(first, self._last + 1)]
        return [(at, slot) for at, slot in found if slot]

    def restore(self, at: int, slot: dict[str, list[int]]) -> None:
        """Put back a slot from before a restart, unless that time is counted here."""
        if at <= self._last - SLOTS or self._slot(at):
            return
        for name, (attempts, answered) in slot.items():
            self.add(name, attempts, answered, at * SLOT_MS)

    def _slot(self, at: int) -> dict[str, list[int]]:
        place = 2 * (at % SLOTS)
        if not self._last - SLOTS < at <= self._last:
            return {}
        return {
            name: [counts[place], counts[place + 1]]
            for name, counts in self._counts.items()
            if counts[place]
        }

    def _advance(self, at: int) -> None:
        """Begin slot ``at``: its places, and those of slots without any attempt, count anew."""
        stale = [2 * (one % SLOTS) for one in range(max(self._last, at - SLOTS) + 1, at + 1)]
        for name, counts in tuple(self._counts.items()):
            for place in stale:
                counts[place] = counts[place + 1] = 0
            if not any(counts):
                del self._counts[name]
        self._last = at
