"""The nodes of the panel: health, why it is bad, and which stands first."""

from __future__ import annotations

from typing import Any

from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.report import NodeReport
from livestate.state.nodes.trouble import Refusals, troubles

BEGAN = 1_000_000


def rows(
    nodes: Nodes, now: int, refusals: Refusals | None = None, **calls: int
) -> list[dict[str, Any]]:
    clocks = NodeClocks()
    found = troubles(nodes, clocks, refusals or Refusals(), now)
    report = NodeReport(
        nodes.by_name.values(), found, {"fast": 9_000}, lambda name: calls.get(name, 0), now
    )
    for _ in report.steps():
        pass
    return report.rows


def test_the_silent_node_stands_first_and_the_busier_of_two_good_ones_next() -> None:
    nodes = Nodes(stale_after=6_000)
    for name, at in (("silent", 0), ("calm", 9_000), ("busy", 9_000)):
        nodes.observe(name, 7, 1, BEGAN + at, numbered=False)
        nodes.by_name[name].wants_list = False
    silent, busy, calm = rows(nodes, BEGAN + 10_000, busy=3, calm=1)
    assert (silent["node"], silent["level"], silent["silent_ms"]) == ("silent", "alarm", 10_000)
    assert silent["troubles"] == [
        {"what": "silent", "reason": "", "since_ms": 10_000, "ahead_ms": 0}
    ]
    assert (busy["node"], busy["level"], busy["calls"]) == ("busy", "", 3)
    assert (calm["node"], calm["epoch"], calm["seq"], calm["epoch_ms"]) == ("calm", 7, 1, 1_000)
    assert busy["troubles"] == []


def test_a_lost_message_shows_as_gap_then_as_a_list_that_is_awaited() -> None:
    nodes = Nodes(stale_after=60_000)
    nodes.observe("n", 1, 1, BEGAN, numbered=False)
    node = nodes.by_name["n"]
    node.wants_list = False
    nodes.observe("n", 1, 3, BEGAN, numbered=True)
    (row,) = rows(nodes, BEGAN)
    assert (row["health"], row["missing"], row["gaps"], row["level"]) == ("gap", 1, 0, "warning")
    node.mature_gap(BEGAN + 5_000)
    (row,) = rows(nodes, BEGAN + 5_000)
    assert (row["health"], row["missing"], row["gaps"]) == ("awaiting_list", 0, 1)
    assert row["waits_for_list"]


def test_a_node_that_is_known_from_before_the_restart_was_not_heard() -> None:
    nodes = Nodes(stale_after=6_000)
    nodes.restore("old", 5, 100, BEGAN)
    (row,) = rows(nodes, BEGAN + 1_000)
    assert (row["heard"], row["epoch_ms"], row["seq"]) == (False, None, 100)


def test_a_name_of_which_all_messages_are_rejected_has_a_row() -> None:
    refusals = Refusals()
    for at in (0, 3_500):
        refusals.note("bad", "bad_version", BEGAN + at)
    (row,) = rows(Nodes(stale_after=6_000), BEGAN + 4_000, refusals)
    assert (row["node"], row["level"], row["health"]) == ("bad", "alarm", "unknown")
    assert row["troubles"][0]["reason"] == "bad_version"
    assert row["epoch"] is None
