"""How often a view may commit, one timer for several wishes, and a source that is not checked."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from livestate.fanout.context import CommitRate, FanoutContext, Timer
from livestate.state.source import Source
from tests.dashboards import Loop


def test_a_commit_may_take_a_fifth_of_the_time_between_40_and_90_milliseconds() -> None:
    rate = CommitRate()
    for cost, pause in ((0.0, 0.04), (0.01, 0.04), (0.011, 0.044), (0.02, 0.08), (0.025, 0.09),
                        (0.05, 0.09), (0.06, 0.09), (0.08, 0.12), (2.0, 3.0)):  # fmt: skip
        assert rate.after(cost) == pytest.approx(pause), cost
    own = CommitRate(shortest=1.0, longest=8.0, headroom=2.0)
    assert [own.after(cost) for cost in (0.1, 3.0, 5.0, 10.0)] == [1.0, 6.0, 7.5, 15.0]


@pytest.mark.parametrize("cost", [0.001, 0.03, 0.055])
def test_a_source_with_the_period_of_a_tick_is_not_late_for_ever_as_it_was_once(
    cost: float,
) -> None:
    rate, late, begun = CommitRate(), [], -1.0
    for number in range(20):
        change = number * 0.1
        begun = max(change + 0.04 * (number == 5), begun + rate.after(cost))
        late.append(begun - change)
    assert max(late[:5]) == pytest.approx(0.0)
    assert max(late[5:]) == pytest.approx(0.04)
    assert max(late[10:]) == pytest.approx(0.0)


def test_a_timer_calls_once_at_the_earliest_time_that_was_asked_for() -> None:
    loop, called = Loop(), []
    loop.now = 10.0
    timer = Timer(cast("asyncio.AbstractEventLoop", loop), lambda: called.append(loop.now))
    assert not timer.planned
    timer.at(12.0)
    timer.at(15.0)
    timer.at(12.0)
    assert timer.planned
    assert len(loop.timers) == 1
    timer.at(11.0)
    assert len(loop.timers) == 1
    loop.advance(9.0)
    assert called == [11.0]
    assert not timer.planned
    timer.at(5.0)  # over: in the loop's next round
    assert called == [11.0]
    timer.at(20.0)
    timer.at(19.0)
    loop.advance(0)
    assert called == [11.0, 19.0]
    timer.at(30.0)
    timer.cancel()
    timer.cancel()
    assert not timer.planned
    loop.advance(100)
    assert called == [11.0, 19.0]
    timer.at(200.0)
    loop.advance(100)
    assert called == [11.0, 19.0, 200.0]


def test_a_source_that_was_not_checked_for_three_seconds_is_silent_since_then() -> None:
    loop = Loop()
    loop.now = 100.0
    context = FanoutContext(cast("asyncio.AbstractEventLoop", loop), CommitRate(), 5.0,
                            (100.0, 77_000))  # fmt: skip
    loop.now = 103.0
    assert context.source_now() == Source()
    loop.now = 103.001
    assert context.source_now() == Source(77_000)
    context.source = Source(50_000, "lists")
    assert context.source_now() == Source(50_000, "lists"), "it is known to be stale for longer"
    assert (context.commits, context.snapshots, context.snapshot_bytes) == (0, 0, 0)
    assert context.most_snapshot_bytes == 128_000_000
    context.snapshot_bytes = 70
    context.release(30)
    assert context.snapshot_bytes == 40
