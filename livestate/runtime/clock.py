"""What time it is; the pure modules get it as an argument.

Two clocks, because somebody may set the first one: an hour's jump of the wall clock must not make
every node an hour silent, nor every ended call an hour old.
"""

from __future__ import annotations

import time
from typing import Final


def now_ms() -> int:
    """Milliseconds since the Unix epoch, as the machine has it: to be told to others."""
    return time.time_ns() // 1_000_000


_OFFSET_NS: Final = time.time_ns() - time.monotonic_ns()


def steady_ms() -> int:
    """The same at our start, and from then on at the pace of the monotonic clock: to measure how
    long something has lasted. Slewing follows the wall clock, jumps do not."""
    return (time.monotonic_ns() + _OFFSET_NS) // 1_000_000
