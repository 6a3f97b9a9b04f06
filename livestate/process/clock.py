"""Reads the time; pure modules get it as an argument.

There are two clocks, because the system clock may be set: a jump by an hour must not make every
node an hour silent, nor every ended call an hour old.
"""

from __future__ import annotations

import time
from typing import Final


def now_ms() -> int:
    """Milliseconds since the Unix epoch, from the system clock: for times in messages and
    records."""
    return time.time_ns() // 1_000_000


_OFFSET_NS: Final = time.time_ns() - time.monotonic_ns()


def steady_ms() -> int:
    """Milliseconds since the Unix epoch as of the process' start, advanced by the monotonic clock:
    to measure durations. It follows slewing of the system clock, not jumps."""
    return (time.monotonic_ns() + _OFFSET_NS) // 1_000_000
