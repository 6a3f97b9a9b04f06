"""Deadlines of many streams on one timer: buckets of a second, turned once a second.

A stream has two (its login expires, it is renewed); a timer of the loop's own for each would cost
every idle stream half a kilobyte.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

TURN_SECONDS: Final = 1.0

Item = TypeVar("Item", bound=Hashable)


class Wheel(Generic[Item]):
    """``due(item)`` is called once for each item, up to a second after its time."""

    def __init__(self, due: Callable[[Item], None]) -> None:
        self._due = due
        self._buckets: defaultdict[int, set[Item]] = defaultdict(set)
        self._bucket_of: dict[Item, int] = {}
        self._turned = 0

    def __len__(self) -> int:
        return len(self._bucket_of)

    def put(self, item: Item, at: float) -> None:
        """Seconds on the clock that ``turn`` gets. One that is over is due at the next turn."""
        bucket = max(math.ceil(at), self._turned + 1)
        self._bucket_of[item] = bucket
        self._buckets[bucket].add(item)

    def take(self, item: Item) -> None:
        """Its deadline does not matter any more; safe to call twice."""
        bucket = self._bucket_of.pop(item, None)
        if bucket is not None:
            self._buckets[bucket].discard(item)
            if not self._buckets[bucket]:
                del self._buckets[bucket]

    def turn(self, now: float) -> None:
        """Everything that is due by ``now``."""
        until = math.floor(now)
        for bucket in sorted(bucket for bucket in self._buckets if bucket <= until):
            for item in self._buckets.pop(bucket):
                del self._bucket_of[item]
                self._due(item)
        self._turned = max(until, self._turned)
