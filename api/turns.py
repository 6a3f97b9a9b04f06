"""So many a round of the event loop, and the others after them in their order.

Between two rounds the loop looks at its sockets. Work that takes its turn here lets new connections
be accepted meanwhile, thousands of which would overflow the backlog and try again seconds later.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """``most`` turns a round."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0  # in this round
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def mine(self) -> None:
        """Back when it is the caller's turn: at once, unless there is a crowd."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            loop.call_soon(self._next_round, loop)
        if self._taken < self._most and not self._waiting:
            self._taken += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._taken = 0
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waits may have been cancelled
                self._taken += 1
                turn.set_result(None)
        if self._taken:
            loop.call_soon(self._next_round, loop)
