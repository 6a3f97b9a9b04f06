"""Measures a loader process itself: its CPU and how late its event loop is.

An overloaded loader timestamps bytes late and would blame the service. Runs under gevent.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from typing import Final

import gevent

from loadtest.metrics import Metrics

LOOK_SECONDS: Final = 0.02
SETTLE_SECONDS: Final = 0.1  # half a second of samples would take long enough to delay clients
CPU_SECONDS: Final = 5.0  # the window of the CPU share


class LoaderHealth:
    """Run ``watch`` in its own greenlet. Records thousandths of a core, and µs of lag."""

    def __init__(self, ledger: Metrics) -> None:
        self.ledger = ledger
        self._used: deque[tuple[float, float]] = deque()

    def watch(self) -> None:
        # Dashboards hold many objects that are not garbage: a full collection would stop the
        # loop for longer than the latencies that are measured.
        gc.freeze()
        gc.set_threshold(100_000, 50, 1_000)
        now = settle_at = time.perf_counter()
        while True:
            due = now + LOOK_SECONDS  # the work below counts as lag, too
            gevent.sleep(LOOK_SECONDS)
            now = time.perf_counter()
            late = max(0.0, now - due)
            if self.ledger.measuring:
                self.ledger.sample("loader lag", late * 1e6)
                self.ledger.worst("loader lag µs", int(late * 1e6))
            if now > settle_at:
                settle_at = now + SETTLE_SECONDS
                self.ledger.settle()
                self._cpu(now)

    def _cpu(self, now: float) -> None:
        used = self._used
        used.append((now, time.process_time()))
        if not self.ledger.measuring:
            used.clear()
            return
        while now - used[0][0] > CPU_SECONDS:
            used.popleft()
        seconds = now - used[0][0]
        if seconds > CPU_SECONDS / 2:
            share = (used[-1][1] - used[0][1]) / seconds
            self.ledger.worst("loader cpu thousandths", round(1000 * share))
