"""A node's numbers: late is not lost, a gap is a loss, a heartbeat tells of the tail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.errors import Rejected
from livestate.contract.events import Sync
from livestate.state.nodes.registry import MAX_NODES, Nodes
from livestate.state.nodes.sequence import MAX_MISSING


def make() -> Nodes:
    nodes = Nodes(stale_after=6_000)
    nodes.observe("n", 1, 1, 0, numbered=True)
    listed(nodes, 1)
    return nodes


def listed(nodes: Nodes, seq: int, at: int = 0, **changes: Any) -> set[str] | None:
    facts = {"epoch": 1, "sync_id": f"s{seq}", "part": 1, "parts": 1, "calls": ()} | changes
    part = Sync(v=1, phase="sync", node="n", seq=seq, ts=1_795_000_000_000, **facts)
    return nodes.collect(part, set(), at)


def asked(nodes: Nodes, now: int) -> list[str]:
    return list(nodes.to_ask(now))


def test_numbers_that_swap_are_no_loss() -> None:
    nodes = make()
    for seq in (3, 2, 5, 6, 4):
        assert nodes.observe("n", 1, seq, 10, numbered=True).fresh
    assert asked(nodes, 5_000) == []


def test_a_number_missing_for_a_second_is_a_loss_and_asked_for_once_in_a_while() -> None:
    nodes = make()
    nodes.observe("n", 1, 3, 10, numbered=True)
    assert asked(nodes, 1_009) == []
    assert asked(nodes, 3_010) == ["n"]
    assert asked(nodes, 3_500) == []
    assert asked(nodes, 5_010) == ["n"]
    listed(nodes, 3)
    assert asked(nodes, 9_000) == []
    assert nodes.by_name["n"].gaps == 1


def test_sixty_four_numbers_later_a_gap_is_a_loss_at_once() -> None:
    nodes = make()
    for seq in range(3, 3 + 64):
        nodes.observe("n", 1, seq, 10, numbered=True)
    assert asked(nodes, 2_000) == ["n"]


def test_a_heartbeat_reveals_lost_last_events() -> None:
    nodes = make()
    nodes.observe("n", 1, 4, 10, numbered=False)
    assert asked(nodes, 2_500) == ["n"]


def test_a_lost_number_that_comes_all_the_same_is_news_once() -> None:
    nodes = make()
    nodes.observe("n", 1, 3, 10, numbered=True)
    asked(nodes, 3_000)
    listed(nodes, 3)
    assert nodes.observe("n", 1, 2, 9_000, numbered=True).fresh
    assert not nodes.observe("n", 1, 2, 9_001, numbered=True).fresh


@given(st.permutations(range(2, 12)), st.lists(st.integers(2, 11), max_size=8))
def test_each_number_is_fresh_exactly_once(order: list[int], again: list[int]) -> None:
    nodes = make()
    fresh = [nodes.observe("n", 1, seq, 5, numbered=True).fresh for seq in [*order, *again]]
    assert fresh == [True] * len(order) + [False] * len(again)


def test_a_new_epoch_is_noticed_and_asked_about() -> None:
    nodes = make()
    assert nodes.observe("n", 2, 0, 10, numbered=False).new_epoch
    assert not nodes.observe("n", 2, 1, 20, numbered=True).new_epoch
    assert not nodes.observe("n", 1, 9, 30, numbered=True).new_epoch  # late, of the old one
    assert nodes.by_name["n"].epoch == 2
    assert asked(nodes, 3_000) == ["n"]


def test_parts_of_two_lists_are_never_mixed() -> None:
    nodes = make()
    assert listed(nodes, 5, sync_id="a", part=1, parts=2) is None
    assert listed(nodes, 6, sync_id="b", part=2, parts=2) is None
    assert listed(nodes, 5, sync_id="a", part=2, parts=2) is None
    assert listed(nodes, 5, sync_id="a", part=1, parts=2) is not None


def test_a_list_of_an_old_epoch_changes_nothing() -> None:
    nodes = make()
    nodes.observe("n", 2, 0, 10, numbered=False)
    assert listed(nodes, 5) is None


def test_a_jump_of_a_billion_numbers_costs_no_memory() -> None:
    nodes = make()
    nodes.observe("n", 1, 10**9, 10, numbered=True)
    node = nodes.by_name["n"]
    assert len(node.sequence.missing) + len(node.sequence.written_off) <= MAX_MISSING
    assert asked(nodes, 3_000) == ["n"]
    assert nodes.observe("n", 1, 500, 20, numbered=True).fresh


def test_many_jumps_in_a_row_cost_no_memory() -> None:
    nodes = make()
    for jump in range(1, 30):
        nodes.observe("n", 1, jump * MAX_MISSING, 10, numbered=True)
    node = nodes.by_name["n"]
    assert len(node.sequence.missing) + len(node.sequence.written_off) <= 2 * MAX_MISSING
    assert asked(nodes, 3_000) == ["n"]


def test_after_a_restart_what_the_node_numbered_meanwhile_is_missing() -> None:
    nodes = Nodes(stale_after=6_000)
    nodes.restore("n", 1, 7, 0)
    assert asked(nodes, 2_000) == ["n"]
    assert not nodes.observe("n", 1, 7, 10, numbered=True).fresh
    assert nodes.observe("n", 1, 9, 10, numbered=True).fresh


def test_a_silent_node_is_stale() -> None:
    nodes = make()
    assert nodes.stale(5_999) == []
    assert [node.name for node in nodes.stale(6_000)] == ["n"]


def test_a_node_whose_clock_was_set_back_is_silent_then_believed() -> None:
    nodes = Nodes(stale_after=6_000)
    nodes.observe("n", 9, 5, 0, numbered=True)
    assert not nodes.observe("n", 3, 0, 5_000, numbered=False).new_epoch  # late, or set back
    assert [node.name for node in nodes.stale(6_000)] == ["n"]
    assert not nodes.observe(
        "n", 3, 1, 20_000, numbered=True
    ).new_epoch  # an event may be very late
    assert nodes.observe("n", 3, 1, 20_000, numbered=False).new_epoch
    assert nodes.by_name["n"].epoch == 3
    assert not nodes.stale(20_000)
    assert list(nodes.to_ask(20_000)) == ["n"]


def test_a_late_event_does_not_keep_calls_for_ever() -> None:
    nodes = make()
    assert [up_to for _, up_to in nodes.due_unconfirmed(15_000, 0)] == [None]
    assert not list(nodes.due_unconfirmed(16_000, 0))
    nodes.observe("n", 1, 2, 16_500, numbered=True)  # of one call, which looks sure again
    assert not list(nodes.due_unconfirmed(31_000, 0))
    assert [up_to for _, up_to in nodes.due_unconfirmed(31_500, 0)] == [None]
    assert not list(nodes.due_unconfirmed(32_000, 0))


def doubted(nodes: Nodes, now: int) -> list[int | None]:
    return [up_to for _, up_to in nodes.due_unconfirmed(now, 0)]


def given_up(nodes: Nodes, now: int, since: int = 0) -> list[int]:
    return [doubt.highest for _, doubt in nodes.due_expiry(now, since, 100_000)]


def test_a_node_that_never_lists_is_doubted_for_each_loss_and_each_doubt_has_its_own_time() -> None:
    nodes = make()
    seq = 1
    for now in range(0, 200_000, 1_000):
        seq += 2 if now in (10_000, 50_000) else 1  # two losses, and a word every second
        nodes.observe("n", 1, seq, now, numbered=True)
        asked(nodes, now)
        if marked := doubted(nodes, now):
            # Known a second after it came about, when one more had been heard.
            assert marked == [{26_000: 14, 66_000: 55}[now]]
        if now < 126_000:
            assert not given_up(nodes, now)
        elif now < 166_000:
            assert given_up(nodes, now) == [14]
        else:
            assert given_up(nodes, now) == [55]
    listed(nodes, seq)
    assert not given_up(nodes, 400_000)


def test_a_node_that_restarts_again_and_again_puts_nothing_off_by_that() -> None:
    nodes = make()
    for epoch in range(2, 80):
        now = epoch * 2_000
        nodes.observe("n", epoch, 0, now, numbered=False)
        asked(nodes, now)
        doubted(nodes, now)
    assert [doubt.epoch for _, doubt in nodes.due_expiry(156_000, 0, 120_000)]
    assert len(nodes.by_name["n"].health.unconfirmed) < 12
    listed(nodes, 0, epoch=79)
    assert not given_up(nodes, 400_000)


def test_a_list_from_before_a_loss_does_not_mend_it() -> None:
    nodes = make()
    nodes.observe("n", 1, 9, 10, numbered=True)
    assert asked(nodes, 2_000) == ["n"]
    listed(nodes, 5, at=2_100)  # on its way when 6 to 8 were lost
    assert asked(nodes, 4_000) == ["n"]
    listed(nodes, 9, at=4_100)
    assert asked(nodes, 6_000) == []
    assert not doubted(nodes, 14_000)


def test_a_list_counts_though_a_higher_number_came_before() -> None:
    nodes = make()
    nodes.observe("n", 1, 10**9, 10, numbered=False)  # forged, or broken
    for now in range(2_000, 100_000, 2_000):
        if asked(nodes, now):
            listed(nodes, 1, at=now + 10)
        nodes.observe("n", 1, 1, now, numbered=False)
        assert not doubted(nodes, now)
    assert asked(nodes, 100_000) == []


def test_a_node_that_loses_again_and_again_but_lists_is_not_doubted() -> None:
    nodes = make()
    seq = 1
    for now in range(0, 60_000, 1_000):
        before, seq = seq, seq + 2
        nodes.observe("n", 1, seq, now, numbered=True)
        asked(nodes, now)
        if now % 4_000 == 3_000:
            listed(nodes, before, at=now)  # it was on its way when there was one more loss
        assert not doubted(nodes, now)


def test_a_list_ends_all_doubt() -> None:
    nodes = make()
    nodes.observe("n", 1, 9, 10, numbered=True)
    asked(nodes, 2_000)
    nodes.observe("n", 1, 10, 10_000, numbered=True)
    assert doubted(nodes, 17_000) == [9]
    assert given_up(nodes, 117_000) == [9]
    listed(nodes, 10, at=117_000)
    assert not given_up(nodes, 117_000)


def test_after_a_reconnect_nodes_get_time_to_list() -> None:
    nodes = make()
    assert doubted(nodes, 15_000) == [None]
    assert not given_up(nodes, 200_000, since=199_000)
    assert not given_up(nodes, 213_999, since=199_000)
    assert given_up(nodes, 214_000, since=199_000) == [1]


def test_forged_names_take_no_memory_and_hold_up_no_node_that_is_known() -> None:
    nodes = make()
    for number in range(1, MAX_NODES):
        nodes.observe(f"forged-{number}", 1, 1, 10, numbered=False)
    with pytest.raises(Rejected, match="too_many_nodes"):
        nodes.observe("forged-again", 1, 1, 10, numbered=True)
    assert nodes.observe("n", 1, 2, 10, numbered=True).fresh
    assert len(nodes.by_name) == MAX_NODES
