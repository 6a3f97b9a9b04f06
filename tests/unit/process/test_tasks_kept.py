"""A task that fails is started again and reported; one that is cancelled ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from livestate.process import tasks
from livestate.process.tasks import cancel_and_wait, failures, keep_running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tasks, "PAUSE_SECONDS", 0.001)
    failures.clear()
    yield
    failures.clear()


async def test_one_that_fails_begins_again_until_it_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise KeyError(f"planted {runs}")

    with caplog.at_level(logging.ERROR):
        await keep_running("figures", run)
    assert runs == 4
    assert failures == {"figures": 3}
    assert caplog.text.count("a task failed, it is started again: task=figures") == 3
    assert "planted 2" in caplog.text, "with its traceback"


async def test_a_group_of_which_one_fails_begins_again() -> None:
    runs = 0

    async def fail() -> None:
        raise ValueError("planted")

    async def run() -> None:
        nonlocal runs
        runs += 1
        async with asyncio.TaskGroup() as group:
            if runs == 1:
                group.create_task(fail())
            await asyncio.sleep(0.01)

    await keep_running("alarms", run)
    assert (runs, failures) == (2, {"alarms": 1})


async def test_pauses_grow_and_are_short_again_after_a_calm_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(tasks, "MOST_SECONDS", 0.004)
    monkeypatch.setattr(tasks, "CALM_SECONDS", 0.05)
    monkeypatch.setattr(tasks.asyncio, "sleep", sleep)
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 5:
            await real(0.06)
        if runs < 7:
            raise RuntimeError("planted")

    await keep_running("watch", run)
    assert pauses == [0.001, 0.002, 0.004, 0.004, 0.001, 0.002]


async def test_one_that_is_cancelled_ends_also_during_its_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "PAUSE_SECONDS", 60.0)

    async def fail() -> None:
        raise RuntimeError("planted")

    for run in (asyncio.Event().wait, fail):
        task = keep_running("any", run)
        await asyncio.sleep(0.01)
        await cancel_and_wait(task)
        assert task.cancelled()


async def test_a_cancelled_error_without_a_cancellation_is_a_failure() -> None:
    """As by a library that lets the CancelledError of a task of its own through."""
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError

    await keep_running("reading", run)
    assert (runs, failures) == (2, {"reading": 1})
