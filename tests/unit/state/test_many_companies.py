"""10,000 companies with trunks of their own: no step of alarms and panels holds the loop for long.

CPU time of this thread, so a busy machine does not count. Half of the 50 ms that promise K allows:
other machines have half the speed. Without the collector of cycles, which in a test walks through
all that pytest holds; a service keeps its collections short (livestate/process/memory.py).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest

from livestate.state.alarms.board import Board
from livestate.state.alarms.readings import COMPANIES_A_ROUND, Readings
from livestate.state.kpi.trunk_alarms import CompanyLimits
from livestate.state.nodes.registry import Nodes
from tests.unit.state.test_alarm_readings import ALL_ON, LIVE
from tests.unit.state.test_kpis import Room

COMPANIES = 10_000
TRUNKS_OF_EACH = 3
MOST_MS = 25.0


@pytest.fixture(scope="module")
def room() -> Room:
    room = Room()
    for number in range(COMPANIES * TRUNKS_OF_EACH):
        company, trunk = f"c{number % COMPANIES}", f"gw-{number % 7_000}"
        room.say("setup", f"{number}", company_id=company, trunk=trunk)
        room.say("failed", f"{number}", company_id=company, trunk=trunk, sip_code=503,
                 outcome="congestion")  # fmt: skip
    room.now += 31_000
    return room


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Longest:
    """The longest step of CPU time, ms, and which it was."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.what = ""
        self._began = time.thread_time()

    def begin(self) -> None:
        self._began = time.thread_time()

    def step(self, what: str) -> None:
        took = 1000 * (time.thread_time() - self._began)
        if took > self.ms:
            self.ms, self.what = took, what
        self.begin()


def measured(longest: Longest, what: str, steps: Iterator[Any]) -> Iterator[Any]:
    longest.begin()
    for number, step in enumerate(steps):
        yield step
        longest.step(f"{what}, step {number}")
    longest.step(f"{what}, the end")


def test_no_round_of_the_alarms_holds_the_loop(room: Room) -> None:
    longest = Longest()
    board = Board(ALL_ON)
    readings = Readings(room.kpis, Nodes(stale_after=6_000))
    rounds = COMPANIES // COMPANIES_A_ROUND + 2
    for number in range(rounds):
        now = room.now + 2_000 * number
        steps = readings.steps(ALL_ON, {}, LIVE, now)
        for step in measured(longest, f"round {number}", steps):
            if step is not None:
                board.update(*step, now)
        longest.begin()
        board.finish(now, blind=False)
        longest.step(f"round {number}, finish")
        board.take_changes()
        longest.step(f"round {number}, changes")
    assert longest.ms < MOST_MS, longest.what


def test_no_step_of_a_panel_holds_the_loop(room: Room) -> None:
    longest = Longest()
    for name, make in (
        ("companies", lambda: room.kpis.company_report(CompanyLimits())),
        ("trunks", lambda: room.kpis.trunk_report(None, {})),
        ("a company's trunks", lambda: room.kpis.trunk_report("c5", {})),
    ):
        longest.begin()
        report = make()
        longest.step(f"{name}, the beginning")
        for _ in measured(longest, name, report.steps()):
            pass
    assert longest.ms < MOST_MS, longest.what
