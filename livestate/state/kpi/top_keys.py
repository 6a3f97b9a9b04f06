"""The most frequent of any number of keys, in bounded memory: the Space-Saving algorithm.

A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and top-k elements in data
streams" (ICDT 2005). When all places are taken, a new key replaces the least frequent one and takes
over its count, which is noted as the key's possible error. So a key is never counted too low, and
``count - error`` is never too high: only that is shown. A key with more than 1/places of all
occurrences always has a place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

PLACES: Final = 2_000

K = TypeVar("K", bound=Hashable)


class TopKeys(Generic[K]):
    """Counts of at most ``places`` keys."""

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._counts: dict[K, list[int]] = {}  # key → [count, error]
        # (count, number, key) as of some time; an entry whose count is old is corrected when it
        # comes to the top.
        self._least: list[tuple[int, int, K]] = []
        self._number = 0  # keys are not compared

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, key: K, by: int = 1) -> None:
        """The key occurred, ``by`` times at once (or for so long)."""
        found = self._counts.get(key)
        if found is not None:
            found[0] += by
            return
        error = self._evict() if len(self._counts) >= self._places else 0
        self._counts[key] = [error + by, error]
        self._number += 1
        heappush(self._least, (error + by, self._number, key))

    def at_least(self, key: K) -> int:
        """How often the key occurred, at least."""
        found = self._counts.get(key)
        return found[0] - found[1] if found is not None else 0

    def over(self, limit: int) -> Iterator[tuple[K, int]]:
        """(key, how often at least) of those that occurred ``limit`` times or more for sure."""
        for key, (count, error) in self._counts.items():
            if count - error >= limit:
                yield key, count - error

    def _evict(self) -> int:
        """Drop the least frequent key; its count."""
        while True:
            count, number, key = heappop(self._least)
            now = self._counts[key][0]
            if now == count:
                del self._counts[key]
                return count
            heappush(self._least, (now, number, key))
