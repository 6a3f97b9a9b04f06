"""Fixtures of all stages: traffic that leaves a number of calls, a loop, and a settable timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import uvloop

from bench.hot_paths import Work
from bench.machine import many_files
from bench.workload import Message, filled
from livestate.state.active_calls import ActiveCalls

START = 1_795_000_000_000


@cache
def full(calls: int) -> tuple[list[Message], ActiveCalls]:
    """A day that leaves exactly so many live calls, and the table that it leaves."""
    return filled(calls, START)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One loop, as the service has it. It stands still between two stages."""
    many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


Bench = Callable[..., None]


@pytest.fixture
def path(benchmark: Any) -> Bench:
    """Time a path of :mod:`bench.hot_paths`; further keywords go into the JSON."""

    def timed(work: Work, **extra: object) -> None:
        benchmark.extra_info |= {"unit": work.unit, "units": work.units, **extra}
        benchmark(work.run)

    return timed


class Clock:
    """A timer for what is measured elsewhere (the last client has the last frame): it advances by
    what ``took`` adds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def took(self, seconds: float) -> None:
        self.seconds += seconds


clock = Clock()


@pytest.fixture
def rounds(benchmark: Any) -> Bench:
    """Put rounds that were measured before, in seconds, where the others are. The stage is marked
    ``benchmark(timer=clock)``."""

    def report(seconds: list[float], **extra: object) -> None:
        benchmark.extra_info |= extra
        left = iter(seconds)
        benchmark.pedantic(clock.took, setup=lambda: ((next(left),), {}), rounds=len(seconds))

    return report
