"""Faults of whole nodes: which node, which fault, since when; forged names take no memory."""

from __future__ import annotations

from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Refusal, Refusals, Trouble, troubles

BEGAN = 1_000_000


def heard(name: str, at: int) -> Nodes:
    nodes = Nodes(stale_after=6_000)
    nodes.observe(name, 1, 1, at, numbered=False)
    return nodes


def refused(*at: int, name: str = "n", reason: str = "bad_name") -> Refusals:
    refusals = Refusals()
    for when in at:
        refusals.note(name, f"{reason} at {when}", BEGAN + when)
    return refusals


def shown(refusals: Refusals, now: int, nodes: Nodes | None = None) -> dict[str, Refusal]:
    return dict(refusals.of_nothing_else(nodes or Nodes(stale_after=6_000), BEGAN + now))


def test_a_name_is_refused_once_its_messages_were_rejected_for_three_seconds() -> None:
    assert shown(refused(0), 1) == {}
    assert shown(refused(0), 9_000) == {}, "one bad message, however long ago, breaks no node"
    assert shown(refused(0, 2_999), 9_000) == {}
    assert shown(refused(0, 2_000, 3_000), 9_000) == {
        "n": Refusal(BEGAN, BEGAN + 3_000, "bad_name at 3000", 3)
    }


def test_after_thirty_seconds_without_a_rejection_a_name_is_forgotten() -> None:
    refusals = refused(0, 3_000)
    assert "n" in shown(refusals, 33_000)
    assert "n" in refusals.by_name
    assert shown(refusals, 33_001) == {}
    assert not refusals.by_name, "a name that nobody uses takes no memory"
    assert refused(0, 30_000).by_name["n"] == Refusal(BEGAN, BEGAN + 30_000,
                                                      "bad_name at 30000", 2)  # fmt: skip
    assert refused(0, 30_001).by_name["n"] == Refusal(BEGAN + 30_001, BEGAN + 30_001,
                                                      "bad_name at 30001", 1)  # fmt: skip
    both = refused(0, 3_000)
    both.note("other", "r", BEGAN + 33_001)
    both.note("other", "r", BEGAN + 36_001)
    assert list(shown(both, 36_001)) == ["other"], "the forgotten one hides no other"


def test_a_node_of_which_good_messages_come_as_well_is_not_refused() -> None:
    refusals = refused(0, 2_000, 5_000)
    assert "n" in shown(refusals, 5_000, heard("another", BEGAN + 5_000))
    assert "n" in shown(refusals, 5_000, heard("n", BEGAN - 10_000))
    assert "n" in shown(refusals, 5_000, heard("n", BEGAN + 2_000))
    assert "n" not in shown(refusals, 5_000, heard("n", BEGAN + 2_001))


def test_a_hundred_names_are_kept_those_that_were_rejected_last() -> None:
    refusals = Refusals()
    for number in range(100):
        refusals.note(f"forged-{number}", "r", number)
    assert len(refusals.by_name) == 100
    refusals.note("forged-0", "r", 200)
    assert len(refusals.by_name) == 100
    refusals.note("one-more", "r", 201)
    assert len(refusals.by_name) == 100
    assert "forged-0" in refusals.by_name
    assert "one-more" in refusals.by_name
    assert "forged-1" not in refusals.by_name


def test_all_faults_of_all_nodes_are_listed_the_worst_first() -> None:
    nodes, clocks = Nodes(stale_after=6_000), NodeClocks()
    for name, at in (("two", 9_000), ("mute", 3_000), ("lists", 9_000), ("clock", 9_000),
                     ("fine", 9_000), ("broken", 3_000)):  # fmt: skip
        nodes.observe(name, 1, 1, at, numbered=False)
    nodes.by_name["two"].contested_since = 8_000
    nodes.list_refused("lists", "too_long", 3_000)
    nodes.list_refused("lists", "bad_part", 8_000)
    nodes.list_refused("fine", "too_long", 3_001)
    nodes.list_refused("never heard of", "too_long", 1)
    refusals = Refusals()
    for at in (3_000, 6_000):
        refusals.note("broken", "bad_version", at)
        refusals.note("new", "bad_name", at - 1_000)
    for name, ahead in (("clock", 3_600_000), ("gone", 9_000)):
        clocks.observe(name, BEGAN + ahead, BEGAN)
    assert troubles(nodes, clocks, refusals, 9_000) == (
        Trouble("two", "contested", 8_000),
        Trouble("broken", "refused", 3_000, "bad_version"),
        Trouble("new", "refused", 2_000, "bad_name"),
        Trouble("mute", "silent", 3_000),  # once: the broken one is silent because it is refused
        Trouble("lists", "lists", 3_000, "bad_part"),
        Trouble("clock", "clock", ahead_ms=3_600_000),
    )
    assert set(clocks.off) == {"clock"}, "the clock of a node that was removed is forgotten"
