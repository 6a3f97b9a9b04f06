"""The receiver's messages: stamps in frames, batches of clients to connect, and the report."""

from __future__ import annotations

import statistics
import time
from array import array
from dataclasses import dataclass, field
from typing import Final

MARK: Final = b'"detail":"t'
DIGITS: Final = 19
STAMPED: Final = len(MARK) + DIGITS


def stamp() -> bytes:
    """Now, as a frame carries it."""
    return b"t%0*d" % (DIGITS, time.perf_counter_ns())


def stamped_at(mark: bytes) -> int:
    return int(mark[1 : 1 + DIGITS])


@dataclass(slots=True)
class Report:
    """Counts and latencies of all clients since the last reset."""

    deliveries: int
    bytes: int
    cpu_seconds: float
    seconds: float
    latencies_ms: array[float] = field(repr=False)

    @property
    def share_of_core(self) -> float:
        return self.cpu_seconds / self.seconds

    @property
    def cost_us(self) -> float:
        """CPU of the receiver for one delivery, in microseconds."""
        return self.cpu_seconds / max(self.deliveries, 1) * 1e6

    def percentile(self, percent: int) -> float:
        if len(self.latencies_ms) < 2:
            return float("nan")
        return statistics.quantiles(self.latencies_ms, n=100)[percent - 1]


@dataclass(slots=True)
class Ask:
    """A batch of clients. ``reads`` False: takes what the kernel takes and never reads on."""

    address: tuple[str, int]
    requests: list[bytes]
    poll_seconds: float = 0.0
    reads: bool = True
    storm: bool = False  # all connect() calls at once
    reconnect: bool = False  # cut those there are, in the same breath
