"""Bounds what invalid input writes to the log: the number of lines, and their characters.

Every module that logs rejected input uses it, so that a flood fills no disk and hostile text
forges no line.
"""

from __future__ import annotations

from typing import Final

BURST: Final = 10
ANOTHER_EVERY_SECONDS: Final = 10.0
MAX_CHARS: Final = 300


class LogLimit:
    """Ten lines at once, then one more every 10 s. Times are in seconds and only go forward."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._asked_at: float | None = None
        self._unlogged = 0

    def allows(self, now: float) -> int | None:
        """None if this line must not be logged, else the number of lines left out since the last
        one."""
        if self._asked_at is not None:
            gained = (now - self._asked_at) / ANOTHER_EVERY_SECONDS
            self._left = min(self._left + gained, BURST)
        self._asked_at = now
        if self._left < 1:
            self._unlogged += 1
            return None
        self._left -= 1
        unlogged, self._unlogged = self._unlogged, 0
        return unlogged


def printable(text: str, most: int = MAX_CHARS) -> str:
    """Text from outside on one line of the log: line breaks and control characters escaped, at
    most ``most`` characters of it."""
    return text[:most].encode("unicode_escape").decode()
