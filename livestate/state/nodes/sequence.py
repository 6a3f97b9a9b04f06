"""One numbering of a SIP node: the numbers that came, and those that are missing.

A node numbers its events without gaps, so a missing number is a lost message, or one that is late.
:class:`Sequence` tells the two apart, and recognises a number that was seen before. It
knows nothing of calls and lists; :mod:`livestate.state.nodes.epochs` feeds it.

How a gap becomes a loss: arrivals swap by a few numbers, so a missing number is waited for until a
second has passed (:data:`GAP_MATURES_MS`) or 64 higher numbers have come
(:data:`GAP_MATURES_NUMBERS`), whichever is first. Then all that is missing is written off: a list
of dialogs is asked for, and a number that comes all the same is news, not a duplicate, because it
may tell how a call ended. More than 10,000 missing numbers are no gap: the node has not been heard
for long, and counting begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

GAP_MATURES_MS: Final = 1_000
GAP_MATURES_NUMBERS: Final = 64
MAX_MISSING: Final = 10_000
# More events a millisecond than any node sends: a number further ahead than the time since the last
# word allows is not believed before a list confirms it.
NUMBERS_PER_MS: Final = 20
# Heartbeats of one node never go back. Those of two bridges on one Kamailio may overtake each other
# by as much as one of them was held up, so the floor is the highest number of this long ago.
FLOOR_MS: Final = 2_000


def further_ahead_than_time_allows(by: int, silent_ms: int) -> bool:
    """Whether a node that was silent for so long (ms) cannot have given out ``by`` numbers more."""
    return by > MAX_MISSING + silent_ms * NUMBERS_PER_MS


@dataclass(slots=True)
class Sequence:
    """The numbers of one epoch. ``first``: lower numbers were given out before we listened, so
    they are news if they come. ``highest``: the highest number that is known to be given out. No
    more than ``most_missing`` numbers are waited for."""

    first: int
    highest: int
    missing: dict[int, int] = field(default_factory=dict)  # number → since when (ms), ascending
    written_off: set[int] = field(default_factory=set)  # missing, and not waited for any more
    overrun: int | None = None  # too many went missing at once, up to this number
    # A heartbeat below the floor, or an event far below it, is of another numbering under the same
    # name (livestate.state.nodes.rival_epochs).
    floor: int = 0
    next_floor: int = 0
    floor_at: int = 0
    low: int = 0  # the lowest number below the floor that an event had lately
    low_at: int = -2 * FLOOR_MS  # when that was
    most_missing: int = MAX_MISSING

    def take(self, seq: int, now: int) -> bool:
        """An event has this number; False if it was here before."""
        if seq > self.highest:
            self._miss(seq - 1, now)
            self.highest = seq
            return True
        self._note_low(seq, now)
        if self.missing.pop(seq, None) is not None or seq < self.first:
            return True
        if seq in self.written_off:
            self.written_off.discard(seq)
            return True
        return False

    def reach(self, seq: int, now: int) -> None:
        """A heartbeat: numbers up to ``seq`` have been given out."""
        if seq > self.highest:
            self._miss(seq, now)
            self.highest = seq

    def gap_matured(self, now: int) -> bool:
        """Whether a missing number is lost, not late. ``missing`` ascends: its first number has
        been missing for longest."""
        if not self.missing:
            return False
        oldest = next(iter(self.missing))
        return (
            now - self.missing[oldest] >= GAP_MATURES_MS
            or self.highest - oldest >= GAP_MATURES_NUMBERS
        )

    def write_off(self, up_to: int) -> None:
        """Stop waiting for numbers up to ``up_to``. One that comes all the same is no duplicate:
        it may tell how a call ended."""
        late = {number for number in self.missing if number <= up_to}
        self.missing = {n: since for n, since in self.missing.items() if n not in late}
        self.written_off |= late
        if len(self.written_off) > self.most_missing:
            self.written_off.clear()
            self.first = up_to + 1

    def _miss(self, last: int, now: int) -> None:
        """All numbers from above the highest up to ``last`` are missing."""
        if last - self.highest > self.most_missing:
            self.missing.clear()
            self.first = last + 1
            self.overrun = last
            return
        for number in range(self.highest + 1, last + 1):
            self.missing[number] = now
        if len(self.missing) > self.most_missing:
            self.write_off(last)
            self.overrun = last

    # -- signs of another numbering under the same name --------------------------------------

    def raise_floor(self, now: int) -> None:
        """A heartbeat came: later ones say no less than what was known ``FLOOR_MS`` ago."""
        if now - self.floor_at >= FLOOR_MS:
            self.floor, self.next_floor, self.floor_at = self.next_floor, self.highest, now

    def restart_floor(self, seq: int, now: int) -> None:
        """This numbering is the current one from now on, and has reached ``seq``."""
        self.floor, self.next_floor, self.floor_at = 0, seq, now

    def low_since(self, now: int, seq: int) -> int:
        """The lowest number below the floor since a little before the last heartbeat; ``seq`` if
        there is none."""
        return self.low if now - self.low_at < 2 * FLOOR_MS else seq

    def _note_low(self, seq: int, now: int) -> None:
        """An event has a number from long ago. It may be late. If a lower heartbeat follows, it was
        the first of that other numbering."""
        if seq < self.floor or seq < self.first:
            self.low = min(self.low_since(now, seq), seq)
            self.low_at = now
