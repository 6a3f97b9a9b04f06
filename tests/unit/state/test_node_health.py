"""A node's health: the table, and that the state always says what is true of the node."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.nodes.health import HEALTH_TRANSITIONS, HealthState, Signal
from livestate.state.nodes.node import Node
from livestate.state.nodes.sequence import GAP_MATURES_MS, MAX_MISSING, Sequence

REAP_MS = 40_000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event", "late", "beat", "mature", "lose", "mark", "silence", "list",
                         "unnamed", "unlisted", "reap", "restart"]),
        st.integers(0, 30), st.sampled_from([1, GAP_MATURES_MS, 10_000]),
    ),
    max_size=40,
)  # fmt: skip


def truth(node: Node) -> set[HealthState]:
    """The states that fit what is known of the node, by the definitions of the module."""
    health = node.health
    if health.unconfirmed:
        return {"unconfirmed", "expired"}
    if health.loss:
        return {"awaiting_list"}
    return {"gap"} if node.sequence.missing else {"current"}


def test_every_step_leads_to_a_state_of_the_table() -> None:
    assert set(HEALTH_TRANSITIONS) == set(get_args(HealthState))
    for steps in HEALTH_TRANSITIONS.values():
        assert set(steps) <= set(get_args(Signal))
        assert set(steps.values()) <= set(HEALTH_TRANSITIONS)


def test_every_state_leads_back_to_current() -> None:
    for state in HEALTH_TRANSITIONS:
        assert state == "current" or "current" in HEALTH_TRANSITIONS[state].values()


def take(node: Node, step: str, number: int, now: int) -> Node:
    highest = node.sequence.highest
    if step == "event":
        node.take(highest + 1 + number, now)
    elif step == "late":
        node.take(max(0, highest - number), now)
    elif step == "beat":
        node.reach(highest + (number if number < 30 else 2 * MAX_MISSING), now)
    elif step == "mature":
        node.mature_gap(now)
    elif step == "lose":
        node.lose(now, highest + number)
    elif step == "mark":
        if node.health.loss:
            node.mark_unconfirmed(now)
    elif step == "silence":
        node.health.fall_silent(now, node.epoch, highest, node.last_seen_at)
    elif step in ("list", "unnamed"):
        node.list_complete(highest - number, now, now, unlisted=step == "unnamed")
        node.write_off(highest - number)
    elif step == "unlisted":
        node.health.mark_unlisted(now, node.epoch, highest)
    elif step == "reap":
        due = node.health.due_expiry(now, REAP_MS)
        assert due is None or now - due.at >= REAP_MS
        assert (due is not None) <= (node.health.state == "expired")
    else:
        new = Node(node.name, node.epoch + 1, Sequence(1, 1), last_seen_at=now)
        new.health.inherit(node.health, with_loss=bool(number % 2))
        new.lose(now)
        return new
    return node


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_the_state_is_always_what_is_true_of_the_node(
    steps: list[tuple[str, int, int]],
) -> None:
    now = 100_000
    node = Node("n", 1, Sequence(1, 1), last_seen_at=now)
    for step, number, passed in steps:
        now += passed
        node = take(node, step, number, now)
        assert node.health.state in truth(node), (step, number)


def test_a_later_loss_neither_shortens_nor_resets_the_timer() -> None:
    node = Node("n", 1, Sequence(1, 1), last_seen_at=0)
    node.lose(0)
    node.mark_unconfirmed(15_000)
    node.lose(20_000, 9)
    node.mark_unconfirmed(35_000)
    assert node.health.due_expiry(15_000 + REAP_MS - 1, REAP_MS) is None
    first = node.health.due_expiry(15_000 + REAP_MS, REAP_MS)
    assert first is not None
    assert (first.at, first.highest) == (15_000, 1)
    assert node.health.due_expiry(35_000 + REAP_MS - 1, REAP_MS) == first
    second = node.health.due_expiry(35_000 + REAP_MS, REAP_MS)
    assert second is not None
    assert (second.at, second.highest) == (35_000, 9)
    assert node.health.state == "expired"
