"""How often a view may commit, one timer for several wishes, and a source that is not checked."""

from __future__ import annotations

import asyncio
from itertools import accumulate
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.fanout.context import CommitRate, FanoutContext, Pace, Timer
from livestate.state.source import Source
from tests.dashboards import Loop


def test_a_commit_may_take_a_fifth_of_the_time_between_forty_and_a_hundred_milliseconds() -> None:
    rate = CommitRate()
    for cost, pause in ((0.0, 0.04), (0.01, 0.04), (0.011, 0.044), (0.025, 0.1),
                        (0.05, 0.1), (0.066, 0.1), (0.08, 0.12),
                        (2.0, 3.0)):  # fmt: skip
        assert rate.after(cost) == pytest.approx(pause), cost
    own = CommitRate(shortest=1.0, longest=8.0, headroom=2.0)
    assert [own.after(cost) for cost in (0.1, 3.0, 5.0, 10.0)] == [1.0, 6.0, 8.0, 15.0]


def commits_of(changes: list[float], rate: CommitRate, cost: float) -> list[float]:
    """When a producer commits whose view changes at these times, each commit taking ``cost``."""
    pace, commits = Pace(rate), []
    pace.cost = cost
    for at in changes:
        if not commits or at > commits[-1]:  # else the commit that is planned shows it
            commits.append(max(at, pace.next()))
            pace.begin(commits[-1])
    return commits


def test_a_source_with_the_period_of_the_commits_is_not_late_for_ever_as_it_was_once() -> None:
    changes = [number * 0.1 for number in range(100)]
    changes[10] += 0.04  # one is late
    commits = commits_of(changes, CommitRate(), 0.05)
    late = [commit - change for commit, change in zip(commits, changes, strict=True)]
    assert max(late[:11]) == pytest.approx(0.0)
    assert max(late[11:]) <= 0.04
    assert max(late[15:]) == pytest.approx(0.0)


@given(
    st.lists(st.floats(0.0, 0.3), min_size=1, max_size=60),
    st.floats(0.0, 0.3),
    st.sampled_from([CommitRate(), CommitRate(longest=0.02), CommitRate(longest=1.0)]),
)
def test_no_change_waits_longer_than_an_interval_and_on_average_they_are_apart(
    pauses: list[float], cost: float, rate: CommitRate
) -> None:
    changes = list(accumulate(pauses, initial=5.0))
    commits, interval = commits_of(changes, rate, cost), rate.after(cost)
    assert commits[0] == changes[0]
    waits = [min(one for one in commits if one >= at) - at for at in changes]
    assert max(waits) <= interval * 1.000001
    for count in range(1, len(commits)):
        least = min(b - a for a, b in zip(commits, commits[count:], strict=False))
        assert least >= (count - 0.5) * interval * 0.999999
        assert least >= 1.5 * cost * 0.999999


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
