"""Decides how often the relay asks its node for a list of dialogs.

Each list takes some 10 ms of the node's time, and a list that NATS refused is mostly refused again.
So there is at least a second between two lists, and twice as long after each one that could not be
published.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

AGAIN_SECONDS: Final = 1.0


class ListPace:
    """The pause between two lists: 1 s, doubled after each failed one up to ``longest`` seconds."""

    def __init__(self, longest: float) -> None:
        self.seconds = AGAIN_SECONDS
        self._longest = longest
        self._refused_later = False
        self._fresh = asyncio.Event()

    def published(self) -> None:
        """Note that a list was handed to NATS, which may still refuse it."""
        if not self._refused_later:
            self.seconds = AGAIN_SECONDS
        self._refused_later = False

    def refused(self, *, later: bool = False) -> None:
        """Note that a list could not be published. ``later``: the server refused one that was
        handed to it before."""
        self.seconds = min(2 * self.seconds, self._longest)
        self._refused_later = later

    def reset(self) -> None:
        """Forget failures: the connection is a new one."""
        self.seconds = AGAIN_SECONDS
        self._fresh.set()

    async def pause(self) -> None:
        """Wait until the next list may be asked for."""
        self._fresh.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._fresh.wait()
