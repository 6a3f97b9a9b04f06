"""How the feed monitor judges the source, what it logs of nodes, and how late it ticks."""

from __future__ import annotations

import asyncio
import logging

import pytest

from livestate.ingest.monitor import FeedMonitor
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble
from livestate.state.source import Source
from tests.unit.ingest.monitor_rig import STARTED, Rig

# -- the source ----------------------------------------------------------------------------------


async def test_the_source_is_stale_since_the_first_of_its_worst_troubles() -> None:
    rig = Rig()
    await rig.tick(500)
    assert rig.source == Source(STARTED, "no_node"), (
        "no node was ever heard: an empty table is unknown"
    )
    assert rig.updated_at == STARTED + 500
    rig.hear()
    await rig.tick(1_000)
    assert rig.source == Source()
    clock = Trouble("n1", "clock", ahead_ms=9_000)
    rig.found = (clock,)
    await rig.tick(1_500)
    assert rig.source == Source(troubles=(clock,)), "shown, and the table is fed"
    lists = Trouble("n1", "lists", 700, "too_long")
    refused = Trouble("n2", "refused", 300, "bad_name")
    contested = Trouble("n3", "contested", 500)
    silent = [Trouble("n4", "silent", 900), Trouble("n5", "silent", 600)]
    found: list[Trouble] = [clock]
    for more, since, reason in (
        ([lists], 700, "lists"), ([refused], 300, "refused"),
        ([contested], 500, "contested"), (silent, 600, "silent"),
    ):  # fmt: skip
        found += more
        rig.found = tuple(found)
        await rig.tick(2_000)
        shown = tuple(one._replace(since=None) for one in found)
        assert rig.source == Source(since, reason, shown)


async def test_without_a_connection_the_source_is_stale_since_it_was_lost() -> None:
    rig = Rig()
    rig.hear()
    await rig.tick(500)
    rig.connected = False
    await rig.tick(1_000)
    assert rig.source == Source(STARTED + 1_000)
    await rig.tick(1_500)
    assert rig.source == Source(STARTED + 1_000)


# -- the log -------------------------------------------------------------------------------------


async def test_troubles_of_nodes_are_logged_once_ten_a_tick_and_their_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "livestate.watch")
    rig = Rig()
    rig.hear()
    clock = Trouble("n1", "clock", ahead_ms=9_000)
    rig.found = (clock, Trouble("n1", "silent", 1))

    async def logged(at: int) -> list[str]:
        caplog.clear()
        await rig.tick(at)
        return [record.getMessage() for record in caplog.records]

    assert await logged(0) == ["the clock of a node is wrong: node=n1 ahead_seconds=9 reason=''"]
    assert await logged(500) == []
    rig.found = ()
    assert await logged(1_000) == ["a node has recovered: node=n1 trouble=clock"]
    rig.found = tuple(Trouble(f"n{n}", "lists", 1, f"r{n}") for n in range(25))
    assert len(await logged(1_500)) == 10


# -- the task ------------------------------------------------------------------------------------


async def test_the_monitor_ticks_twice_a_second_and_measures_how_late_it_is() -> None:
    rig = Rig()
    loop = asyncio.get_running_loop()
    asked: list[float] = []
    seen: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        """The first pause is on time (too short, that is), the second one 0.3 s late."""
        asked.append(seconds)
        seen.append((rig.monitor.lag_seconds, rig.monitor.worst_lag_seconds))
        if len(asked) == 2:
            began = loop.time()
            while loop.time() < began + seconds + 0.3:
                await asyncio.sleep(0.01)
        if len(asked) == 3:
            rig.connected = False
        if len(asked) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await rig.monitor.run(sleep)
    assert asked == [0.5, 0.5, 0.5, 0.05]
    assert rig.resubscribed == 4
    assert seen[0] == seen[1] == (0.0, 0.0)
    assert 0.29 < seen[2][0] == seen[2][1] < 5
    assert seen[3] == (0.0, seen[2][1])


def test_the_default_level_hides_debug_messages() -> None:
    table, nodes = ActiveCalls(secret=b"s" * 16, epoch="e"), Nodes(stale_after=6_000)
    rig = Rig()
    quiet = FeedMonitor(table, nodes, rig, rig, lambda keys: None, lambda node, up_to: None,
                        lambda node, held: None, lambda now: (), clock=lambda: STARTED,
                        ended_ms=1, ended_calls=1, reap_ms=1)  # fmt: skip
    asyncio.run(quiet.tick(STARTED + 10_000))
    assert rig.unused == 1
