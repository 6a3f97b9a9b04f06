"""Handles a few new connections a round of the event loop, and the others later, in order.

Between two rounds the loop accepts connections. When thousands of clients reconnect at once, work
that is spread over rounds here leaves room for that: otherwise the kernel's backlog overflows, and
refused clients retry seconds later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class AcceptThrottle:
    """Runs ``most`` pieces of work a round."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0  # in this round
        self._waiting: deque[Callable[[], None]] = deque()

    def run(self, work: Callable[[], None]) -> None:
        """Run ``work`` now, or in a later round if this one is full."""
        if not self._started:
            asyncio.get_running_loop().call_soon(self._next_round)
        if self._started < self._most and not self._waiting:
            self._started += 1
            work()
        else:
            self._waiting.append(work)

    def _next_round(self) -> None:
        loop = asyncio.get_running_loop()
        self._started = min(self._most, len(self._waiting))
        for _ in range(self._started):
            loop.call_soon(self._waiting.popleft())  # the rest runs even if one fails
        if self._started:
            loop.call_soon(self._next_round)
