"""Limits filtered views: each of them costs work for every change of every call.

A filter (``state``, ``trunk``) makes a view of its own, which all clients that ask for the same
share. One login could ask for a new filter with each request, and each of 40 wide filters receives
each of 50,000 calls when a node falls silent. So the views of an instance and of a user are
bounded, and the rate at which one user may make new ones.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from livestate.state.access import Scope

NEW_A_SECOND: Final = 2.0  # filtered views that one user may make, after a burst
REMEMBERED: Final = 10_000  # users whose rate is kept


class Filters:
    """The filtered views that streams watch, by user. ``most`` is of the instance."""

    def __init__(self, most: int, most_per_user: int) -> None:
        self._most = most
        self._most_per_user = most_per_user
        self._streams: Counter[Scope] = Counter()
        self._of_user: dict[str, Counter[Scope]] = {}
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # views made, when

    def __len__(self) -> int:
        return len(self._streams)

    def refuses(self, subject: str, scope: Scope, now: float, paid: bool = False) -> bool:
        """Whether a user may not have this view now, ``now`` in seconds of a steady clock. One
        that the user watches already is free; one that others watch counts for the user only.
        Each new one that is not refused is charged to the user, unless it was ``paid`` for before
        it was made."""
        if not scope.filtered:
            return False
        own = self._of_user.get(subject, Counter())
        if scope in own:
            return False
        if len(own) >= self._most_per_user:
            return True
        if scope in self._streams:
            return False
        return len(self._streams) >= self._most or not (paid or self._pays(subject, now))

    def _pays(self, subject: str, now: float) -> bool:
        spent, at = self._spent.pop(subject, (0.0, now))
        spent = max(0.0, spent - (now - at) * NEW_A_SECOND)
        paid = spent + 1 <= 2 * self._most_per_user
        self._spent[subject] = spent + paid, now
        if len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)
        return paid

    def opened(self, subject: str, scope: Scope) -> None:
        if scope.filtered:
            self._streams[scope] += 1
            self._of_user.setdefault(subject, Counter())[scope] += 1

    def closed(self, subject: str, scope: Scope) -> None:
        if not scope.filtered:
            return
        own = self._of_user[subject]
        for counter in (own, self._streams):
            counter[scope] -= 1
            if not counter[scope]:
                del counter[scope]
        if not own:
            del self._of_user[subject]
