"""Counts what the projection did, for ``/metrics`` and ``/statusz``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    """Plain numbers since the start of the process; the projection adds."""

    flushes: int = 0
    round_trips: int = 0
    failures: int = 0  # flushes that Redis refused or did not answer
    rewrites: int = 0  # whole tables
    drifts: int = 0  # times Redis held something unexpected
    refused_by_fence: int = 0  # times a newer writer was found
    last_flush_seconds: float = 0.0
