"""What the feed monitor does at each tick, when, and how much of it at once; bounds by value."""

from __future__ import annotations

import asyncio

import pytest

from livestate.state.nodes.node import Held, Node
from livestate.state.position import position_at
from tests.calls import event
from tests.unit.ingest.monitor_rig import REAP_MS, STARTED, Rig


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause that is made for the loop's other work."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


# -- lists ---------------------------------------------------------------------------------------


async def test_nodes_are_asked_for_lists_a_hundred_at_once(pauses: list[float]) -> None:
    rig = Rig()
    rig.hear(*(f"n{number}" for number in range(250)))
    await rig.tick(100)
    assert (len(set(rig.listed)), rig.monitor.asked, pauses) == (250, 250, [0, 0])
    assert rig.resubscribed == 1


async def test_while_not_connected_nothing_is_asked_for_marked_or_expired() -> None:
    rig = Rig()
    rig.hear()
    rig.call(1)
    rig.connected = False
    for at in range(0, 200_000, 20_000):
        await rig.tick(at)
    assert (rig.listed, rig.marked, rig.lost, rig.renewed) == ([], [], [], 0)
    assert rig.resubscribed == 10


async def test_calls_of_a_silent_node_are_marked_fifteen_seconds_after_we_were_connected() -> None:
    rig = Rig()
    rig.hear()
    rig.connected = False
    await rig.tick(1_000)
    rig.connected = True
    await rig.tick(2_000)
    await rig.tick(16_999)
    assert rig.marked == []
    await rig.tick(17_000)
    assert rig.marked == [("n1", None)]


async def test_calls_before_a_loss_are_marked_up_to_it() -> None:
    rig = Rig()
    rig.hear(seq=7)
    rig.nodes.by_name["n1"].lose(STARTED)
    await rig.tick(0)
    rig.hear(seq=9, at=14_500)  # whose gap is no loss yet
    await rig.tick(15_000)
    assert rig.marked == [("n1", position_at(1, 7, from_sync=True))]


async def test_a_node_whose_rivals_are_gone_is_settled() -> None:
    rig = Rig()
    rig.hear()
    node: Node = rig.nodes.by_name["n1"]
    node.settling = True
    node.held = Held(STARTED, 44, None)  # type: ignore[arg-type]
    await rig.tick(0)
    assert rig.settled == [("n1", 44)]


# -- expiry --------------------------------------------------------------------------------------


def unconfirmed(calls: int) -> Rig:
    """Calls of a node that were marked at 0 s; nothing of it is heard."""
    rig = Rig()
    rig.hear()
    for number in range(1, calls + 1):
        rig.call(number)
    for _ in rig.table.sweeps.unconfirm("n1", STARTED):
        pass
    node = rig.nodes.by_name["n1"]
    node.sequence.highest = calls
    node.mark_unconfirmed(STARTED)
    node.health.silent_since = node.last_seen_at
    return rig


async def test_calls_that_stay_unconfirmed_are_published_as_lost_every_two_seconds() -> None:
    rig = unconfirmed(2)
    await rig.tick(0)
    await rig.tick(REAP_MS - 1)
    assert rig.lost == []
    await rig.tick(REAP_MS)
    first = [("1.1", 2, 1, STARTED + REAP_MS), ("2.1", 2, 1, STARTED + REAP_MS)]
    assert sorted(rig.lost) == first
    await rig.tick(REAP_MS + 1_999)
    assert len(rig.lost) == 2
    await rig.tick(REAP_MS + 2_000)
    assert len(rig.lost) == 4
    rig.call(1, "ended", at=REAP_MS + 2_100)
    await rig.tick(REAP_MS + 4_000)
    assert [dialog for dialog, *_ in rig.lost[4:]] == ["2.1"]


async def test_calls_with_newer_events_are_not_lost() -> None:
    rig = unconfirmed(2)
    rig.call(3)
    for _ in rig.table.sweeps.unconfirm("n1", STARTED):
        pass
    await rig.tick(0)
    await rig.tick(REAP_MS)
    assert sorted(dialog for dialog, *_ in rig.lost) == ["1.1", "2.1"]


async def test_a_thousand_calls_of_a_node_expire_a_tick(pauses: list[float]) -> None:
    rig = unconfirmed(1_150)
    await rig.tick(0)
    await rig.tick(REAP_MS)
    assert (len(rig.lost), pauses) == (1_000, [0] * 10), "a pause behind each hundred"
    for dialog, *_ in rig.lost:
        rig.call(int(dialog.split(".")[0]), "ended", at=REAP_MS)
    await rig.tick(REAP_MS + 500)
    assert len({dialog for dialog, *_ in rig.lost}) == 1_150, "the rest at the next tick"
    assert pauses == [0] * 11
    await rig.tick(REAP_MS + 1_000)
    assert len(rig.lost) == 1_150


# -- what is kept in memory ----------------------------------------------------------------------


async def test_ended_calls_are_forgotten_after_their_time_in_slices(pauses: list[float]) -> None:
    rig = Rig()
    for number in range(1, 5_001):
        rig.call(number, "ended")
    await rig.tick(300_000)
    assert not any(rig.forgotten)
    await rig.tick(300_001)
    assert [len(keys) for keys in rig.forgotten if keys] == [2_000, 2_000, 1_000]
    assert pauses == [0, 0]
    assert not rig.table.calls


async def test_companies_without_a_call_are_evicted_every_ten_seconds() -> None:
    rig = Rig()
    for number in range(1_003):
        company = event("answered", 2 * number + 1, dialog=f"{number}.1", company_id=f"c{number}")
        rig.table.apply(company, STARTED)
        rig.table.apply(event("ended", 2 * number + 2, dialog=f"{number}.1"), STARTED)
    rig.table.trim(STARTED + 1, 0)
    await rig.tick(9_999)
    assert (rig.unused, rig.evicted) == (0, [])
    await rig.tick(10_000)
    assert rig.unused == 1
    assert [len(names) for names in rig.evicted] == [3], "the thousand most active ones stay"
    await rig.tick(19_999)
    assert rig.unused == 1
    await rig.tick(20_000)
    assert (rig.unused, rig.evicted[1:]) == (2, [[]])


async def test_a_node_without_calls_is_forgotten_after_a_minute_of_silence() -> None:
    rig = Rig()
    rig.hear("n1", "n2", "n3")
    rig.call(1)
    rig.table.nodes.listed["n2"] = position_at(1, 1)
    rig.hear("n3", at=55_000)
    await rig.tick(60_000)
    assert set(rig.nodes.by_name) == {"n1", "n2", "n3"}
    await rig.tick(60_001)
    assert set(rig.nodes.by_name) == {"n1", "n3"}
    assert "n2" not in rig.table.nodes.listed


# -- the connection ------------------------------------------------------------------------------


async def test_a_connection_without_messages_for_20_s_is_replaced() -> None:
    rig = Rig()
    await rig.tick(0)
    await rig.tick(50_000)
    assert rig.renewed == 0, "no node was ever heard"
    rig.hear("n1", "n2", at=50_000)
    await rig.tick(69_999)
    assert rig.renewed == 0
    rig.hear("n2", at=70_000)
    await rig.tick(89_999)
    assert rig.renewed == 0, "one of them is heard"
    await rig.tick(90_000)
    assert (rig.renewed, rig.monitor.renewals) == (1, 1)
    await rig.tick(119_999)
    assert rig.renewed == 1
    rig.call(1)  # its node is not forgotten
    await rig.tick(120_000)
    assert (rig.renewed, rig.monitor.renewals) == (2, 2)
    fresh = Rig()
    fresh.hear(at=-60_000)
    fresh.call(1)
    await fresh.tick(10_000)
    await fresh.tick(29_999)
    assert fresh.renewed == 0, "it was connected a moment ago"
    await fresh.tick(30_000)
    assert fresh.renewed == 1
