"""Promise K in pieces: slices, the probe, caps of users, companies that are let go of."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from livestate.contract.events import SyncedCall
from livestate.process.loop_probe import Hold, LoopProbe
from livestate.process.slices import Slices
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.narrowed import Narrowing
from livestate.state.position import position_at
from livestate.state.sweeps import PAUSE_EVERY, Step
from tests.calls import event
from tests.child_program import printed_numbers

# -- slices --------------------------------------------------------------------------------------


def busy(seconds: float) -> None:
    over = time.thread_time() + seconds
    while time.thread_time() < over:
        sum(range(100))


async def test_long_work_leaves_room_for_others_and_is_done() -> None:
    slices = Slices(asyncio.get_running_loop())
    rounds = 0
    steps = []

    def work(name: str) -> Iterator[None]:
        for _ in range(40):
            busy(0.001)
            steps.append(name)
            yield

    assert not slices.start(work("a"))
    slices.add(work("b"))
    while len(slices):
        rounds += 1
        await asyncio.sleep(0)
    assert steps.count("a") == steps.count("b") == 40
    assert rounds >= 8
    first = steps.index("b")
    assert "a" in steps[first : first + 3]  # they take turns


async def test_a_step_that_fails_ends_its_own_work_only() -> None:
    loop = asyncio.get_running_loop()
    slices = Slices(loop)
    failed: list[Any] = []
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    done = []

    def bad() -> Iterator[None]:
        yield
        raise ValueError("a defect")

    def good() -> Iterator[None]:
        for number in range(5):
            done.append(number)
            yield

    slices.add(bad())
    slices.add(good())
    while len(slices):
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert done == [0, 1, 2, 3, 4]
    assert [str(error) for error in failed] == ["a defect"]


# -- the probe -----------------------------------------------------------------------------------


async def test_the_probe_names_a_function_that_holds_the_loop() -> None:
    found: list[Hold] = []
    with LoopProbe(asyncio.get_running_loop(), over_budget=found.append) as probe:
        await asyncio.sleep(0.1)
        busy(0.3)
        await asyncio.sleep(0.1)
        assert probe.over == 1
        assert "busy" in found[0].function
        assert found[0].callback > 0.1
        assert probe.lately() == found[0]
        assert probe.lately().callback == 0


async def test_many_short_callbacks_are_no_hold() -> None:
    loop = asyncio.get_running_loop()
    with LoopProbe(loop) as probe:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while probe.worst_round < 0.05:  # its thread may have had no processor for a while
                for _ in range(60):
                    loop.call_soon(busy, 0.004)
                await asyncio.sleep(0.5)
        assert probe.over == 0
        assert probe.worst_round > probe.worst_callback


# -- sweeps over a node's calls ------------------------------------------------------------------


def full(number: int) -> ActiveCalls:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    for n in range(number):
        table.apply(event("answered", n + 1, dialog=f"{n}.1", call_id=f"c{n}"), 1)
    return table


def listed(table: ActiveCalls, number: int, seq: int) -> str:
    item = SyncedCall(call_id=f"c{number}", dialog=f"{number}.1", state="answered")
    key = table.key_of("n1", item.dialog, item.call_id)
    table.apply_listed("n1", key, item, position_at(1, seq, from_sync=True), 2)
    return key


def test_a_list_that_comes_during_a_sweep_is_newer_than_the_sweep() -> None:
    table = full(20)
    sweep = table.sweeps.close_missing("n1", position_at(1, 20, from_sync=True), set(), 2)
    next(sweep)
    named = {listed(table, number, 21) for number in range(20)}
    before = {key for key in named if table.calls[key].live}
    assert len(list(sweep)) == 0
    assert {key for key in named if table.calls[key].live} == before
    assert not table.sweeps._running


def test_a_call_with_a_newer_event_is_not_marked() -> None:
    table = full(20)
    sweep = table.sweeps.unconfirm("n1", 2)
    marked = next(sweep).after.key
    for number in range(20):
        table.apply(event("hold", 100 + number, dialog=f"{number}.1", call_id=f"c{number}"), 2)
    assert list(sweep) == []
    assert not table.calls[marked].unconfirmed


NOW_LISTED = position_at(1, 9_000, from_sync=True)
BEFORE_ALL = position_at(1, 0)


SWEEPS: dict[str, Callable[[ActiveCalls], Iterator[Step]]] = {
    "silence": lambda table: table.sweeps.unconfirm("n1", 3, BEFORE_ALL),
    "a restart": lambda table: table.sweeps.restarted("n1", 3, position_at(1, 0)),
    "a list": lambda table: table.sweeps.close_missing("n1", BEFORE_ALL, set(), 3),
    "a list with calls that have no name": lambda table: table.sweeps.unconfirm_missing(
        "n1", NOW_LISTED, set(), 3, lambda _: True),
    "a list of another epoch": lambda table: table.sweeps.close_of_epoch(
        "n1", position_at(2, 1, from_sync=True), set(), 3, lambda _: False),
    "a list that takes over": lambda table: table.sweeps.take_over(
        "n1", NOW_LISTED, set(table.calls), lambda: NOW_LISTED, 3, lambda _: False),
    "numbers that go back": lambda table: table.sweeps.set_back(
        "n1", 3, BEFORE_ALL, BEFORE_ALL, lambda: NOW_LISTED),
}  # fmt: skip


@pytest.mark.parametrize("what", SWEEPS)
def test_a_sweep_that_changes_no_call_makes_pauses_too(what: str) -> None:
    table = full(4 * PAUSE_EVERY)
    if what == "a restart":
        deque(table.sweeps.unconfirm("n1", 2), 0)
    assert list(SWEEPS[what](table)) == [None] * 4


def test_a_call_that_ended_and_was_forgotten_during_a_sweep_is_left_out() -> None:
    table = full(20)
    sweep = table.sweeps.unconfirm("n1", 2)
    next(sweep)
    for number in range(20):
        table.apply(event("ended", 100 + number, dialog=f"{number}.1", call_id=f"c{number}"), 3)
    table.trim(1_000, 0)
    assert list(sweep) == []


def test_a_hundred_thousand_ended_calls_are_forgotten_a_few_at_a_time() -> None:
    table = full(1_000)
    for n in range(1_000):
        table.apply(event("ended", 2_000 + n, dialog=f"{n}.1", call_id=f"c{n}"), 3)
    rounds = 0
    while True:
        forgotten = table.trim(1_000, 10_000, 50)
        assert len(forgotten) <= 50
        rounds += 1
        if table.retention.trimmed:
            break
    assert rounds >= 20
    assert not table.calls
    assert not table.view(Scope()).rows


# -- coming back from long ago ---------------------------------------------------------------------


def took(work: Callable[[], object]) -> float:
    """Seconds of CPU, the best of nine."""
    tries = []
    for _ in range(9):
        began = time.thread_time()
        work()
        tries.append(time.thread_time() - began)
    return min(tries)


def test_the_first_rows_of_a_long_diff_cost_little_wherever_it_begins() -> None:
    view = full(20_000).view(Scope())
    whole = took(lambda: list(view.since(1)))
    for version in (1, 10_000, 19_000):
        assert view.oldest(version, 500) == list(view.since(version))[::-1][:500]
        assert took(partial(view.oldest, version, 500)) < whole / 5


def test_a_client_that_most_of_a_large_view_is_new_to_gets_a_snapshot() -> None:
    table = full(12_000)
    view = table.view(Scope())
    assert view.far_behind(1)
    assert not view.far_behind(6_500)  # less than half
    assert not view.far_behind(11_999)
    small = full(100)
    for _ in range(100):
        for n in range(100):
            small.apply(event("hold", small.view(Scope()).version + 1, dialog=f"{n}.1",
                              call_id=f"c{n}"), 1)  # fmt: skip
    assert not small.view(Scope()).far_behind(1)  # few rows, however often they changed


def test_no_step_of_a_new_filter_takes_as_long_as_reading_each_call_twice() -> None:
    """A client with a new filter: its calls are found in steps."""
    table = full(20_000)
    base, scope = table.view(Scope()), Scope(states=frozenset({"answered"}))

    def read_twice() -> list[str]:
        calls = table.calls
        return [calls[key].state for key in base.rows if calls[key].live]

    def narrow() -> float:
        narrowing = Narrowing(base, scope, table.calls)
        steps = narrowing.steps()
        longest = 0.0
        for work in (*[lambda: next(steps, None)] * 12, narrowing.view):
            began = time.process_time()
            work()
            longest = max(longest, time.process_time() - began)
        return longest

    assert min(narrow() for _ in range(5)) < took(read_twice)


# -- the cycle collector -------------------------------------------------------------------------

COLLECTED = """
import gc, time
from livestate.process.memory import set_up_collector
from livestate.state.active_calls import ActiveCalls
from tests.calls import event

began, longest = 0.0, 0.0

def collected(phase, info):
    global began, longest
    if phase == "start":
        began = time.thread_time()
    elif info["generation"] < 2:
        longest = max(longest, time.thread_time() - began)

set_up_collector()
gc.callbacks.append(collected)
table = ActiveCalls(secret=b"s" * 16, epoch="e")
kept = []
for n in range(50_000):
    change = table.apply(event("answered", n + 1, dialog=f"{n}.1", call_id=f"c{n}"), 1)
    kept.append([[change, {n: [n]}] for _ in range(8)])
began = time.thread_time()
gc.collect()
print(longest, time.thread_time() - began)
"""


async def test_no_collection_of_garbage_walks_all_that_a_long_list_makes() -> None:
    longest, whole = await printed_numbers(COLLECTED)
    assert 0 < longest < whole / 6, (longest, whole)
