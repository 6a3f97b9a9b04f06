"""Ended calls stay for a while: late events must find them, and clients must hear that they ended.

They are kept for minutes, so a late ``ringing`` cannot bring an ended call back. The table tells
:class:`Retention` when a call ends or turns out to be live, and the monitor trims it twice a
second.
"""

from __future__ import annotations

from collections import Counter, deque

from livestate.contract.states import FINAL_STATES
from livestate.state.call import Call
from livestate.state.call_weight import ExtraWeights
from livestate.state.views import Views


class Retention:
    """The ended calls of a table in the order in which they ended."""

    def __init__(self, calls: dict[str, Call], views: Views, weights: ExtraWeights) -> None:
        self.trimmed = True  # nothing was left over by the last ``trim``
        self._calls = calls
        self._views = views
        self._weights = weights
        self._ended: deque[tuple[int, str]] = deque()  # (when in ms, key), oldest first
        # A call that was found to be live stays in the queue, for a deque has no cheap removal.
        # key → entries of it to skip.
        self._revived: Counter[str] = Counter()

    def ended(self, key: str, now: int) -> None:
        self._ended.append((now, key))

    def revived(self, key: str) -> None:
        """An ended call is live: a list of its node has it, or an event shows that it goes on."""
        self._revived[key] += 1

    def trim(self, older_than: int, at_most: int, limit: int) -> list[str]:
        """Forget calls that ended before ``older_than`` (ms), and all over the weight ``at_most``
        (:mod:`livestate.state.call_weight`); their keys.

        It looks at ``limit`` ended calls and tombstones at most, so that it is short; call it again
        while there is more (:attr:`trimmed` is False).
        """
        forgotten: list[str] = []
        ended = self._ended
        left = limit
        weights = self._weights
        while left and ended and (ended[0][0] < older_than or len(ended) + weights.ended > at_most):
            left -= 1
            _, key = ended.popleft()
            if skipped := self._revived.pop(key, 0):
                if skipped > 1:
                    self._revived[key] = skipped - 1
                continue
            call = self._calls.get(key)
            if call is not None and call.state in FINAL_STATES:
                del self._calls[key]
                weights.forget(key)
                self._views.forget(call)
                forgotten.append(key)
        self.trimmed = self._views.trim(older_than, at_most, left) > 0
        return forgotten
