"""Forged and broken messages under a node's name hide no call that is up, and leave none behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calls import START
from tests.examples import examples
from tests.speakers import EPOCH, Speaker, contested, settled

FORGED: list[dict[str, Any]] = [
    {"epoch": 2**53 - 1, "seq": 0},
    {"epoch": EPOCH * 1000 * 1000 * 2, "seq": 9},
    {"epoch": START + 400 * 86_400_000},  # ms instead of s, and a year ahead
    {"epoch": EPOCH + 86_400},  # as if it had restarted now
    {"epoch": EPOCH + 1},
    {"epoch": EPOCH - 1},
    {"epoch": 0, "seq": 0},
    {"seq": 2**53 - 1},
    {"seq": 10**9},
    {"seq": 9_000},  # as time allows
    {"seq": 1},
    {"seq": 0},
]


@pytest.mark.parametrize("claim", FORGED)
@pytest.mark.parametrize("times", [1, 20])
def test_a_forged_heartbeat_hides_no_call(claim: dict[str, Any], times: int) -> None:
    world, node = settled()
    for _ in range(times):
        world.beat(node, **claim)
    world.run(1)
    world.call(node, "4.4")
    world.say(node, "ended", "1.1")
    world.run(12)
    assert world.shown.keys() == world.truth.keys() == {"2.2", "3.3", "4.4"}
    assert world.sure == world.truth.keys()
    assert not world.hidden
    assert not world.nodes.stale(world.now)
    assert not contested(world)
    world.say(node, "ended", "2.2")
    world.run(1)
    assert world.shown.keys() == {"3.3", "4.4"}


@pytest.mark.parametrize("claim", FORGED)
def test_forged_events_and_lists_leave_nothing_behind(claim: dict[str, Any]) -> None:
    """They may show a call that there is not, until they stop; they hide none."""
    world, node = settled()
    forged = node.envelope(world.now) | claim
    ghost = {"dialog": "9.9", "call_id": "ghost"}
    for _ in range(5):
        world.send(forged | {"phase": "setup"} | ghost)
        world.send(forged | {"phase": "sync", "sync_id": "x", "part": 1, "parts": 1,
                             "calls": [ghost | {"state": "answered"}]})  # fmt: skip
        world.run(1)
    world.call(node, "4.4")
    world.say(node, "ended", "1.1")
    world.run(30)
    world.send(node.sync(world.now))  # as it does every 45 s
    world.run(1)
    assert world.shown == dict.fromkeys(("2.2", "3.3", "4.4"), "answered")
    assert world.sure == world.shown.keys()


@pytest.mark.parametrize("claim", FORGED[:2] + FORGED[7:9])
def test_an_event_further_ahead_than_time_allows_is_rejected_and_counted(
    claim: dict[str, Any],
) -> None:
    world, node = settled()
    world.send(node.envelope(world.now) | claim
               | {"phase": "setup", "dialog": "9.9", "call_id": "ghost"})  # fmt: skip
    assert world.pipeline.counters.rejected == {"unproven": 1}
    assert "9.9" not in world.shown


def test_continued_forging_shows_as_a_second_node() -> None:
    world, node = settled()
    for _ in range(10):
        world.beat(node, epoch=2**52)
        world.run(1)
        world.call(node, f"{world.now}.1")
    assert contested(world)
    assert world.shown == world.truth
    assert not world.hidden
    world.run(12)
    assert not contested(world)
    assert world.sure == world.truth.keys()


def test_a_lost_event_of_a_number_never_reached_leaves_the_call_to_its_node() -> None:
    world, node = settled()
    world.pipeline.mark_unconfirmed("n1", None)
    world.send(node.envelope(world.now) | {"phase": "lost", "seq": 2**53 - 1, "dialog": "1.1",
                                           "call_id": "1.1@a"})  # fmt: skip
    assert "1.1" not in world.shown
    world.say(node, "hold", "1.1")
    assert world.shown["1.1"] == "held"


# -- properties ----------------------------------------------------------------------------------

CLAIMS = st.fixed_dictionaries(
    {
        "epoch": st.sampled_from([EPOCH, EPOCH + 1, EPOCH - 1, EPOCH + 86_400, 0, 2**53 - 1])
        | st.integers(0, 2**53 - 1),
        "seq": st.sampled_from([0, 1, 4_990, 5_000, 5_040, 9_000]) | st.integers(0, 2**53 - 1),
    }
)


@given(st.lists(st.tuples(CLAIMS, st.integers(0, 6)), min_size=1, max_size=8))
@settings(max_examples=examples(150), deadline=None)
def test_whatever_heartbeats_are_forged_no_call_is_hidden(
    forged: list[tuple[dict[str, int], int]],
) -> None:
    world, node = settled()
    for number, (claim, pause) in enumerate(forged):
        world.beat(node, **claim)
        world.call(node, f"4{number}.1")
        world.run(pause / 2)
        if number % 2:
            world.say(node, "ended", f"4{number - 1}.1")
    world.run(20)
    world.send(node.sync(world.now))
    world.run(1)
    assert not world.hidden
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()
    assert not contested(world)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["beat", "event", "list", "half a list", "restart", "set back", "twin",
                         "silence", "call", "end"]),
        CLAIMS,
        st.integers(0, 6),
    ),
    min_size=1, max_size=10,
)  # fmt: skip


@given(STEPS)
@settings(max_examples=examples(200), deadline=None)
def test_whatever_was_said_under_a_name_the_truth_is_back_within_a_minute(
    steps: list[tuple[str, dict[str, int], int]],
) -> None:
    """Forged messages of every kind, restarts, snapshots, twins: then it is quiet, and the node
    lists as it does every 45 s."""
    world, node = settled()
    twin = Speaker(EPOCH + 40, mark="b", silent=True, beat_in=700)
    world.speakers.append(twin)
    for number, (what, claim, pause) in enumerate(steps):
        forged = node.envelope(world.now) | claim
        ghost = {"dialog": f"9.{number}", "call_id": "ghost"}
        listing = {"phase": "sync", "sync_id": f"x{number}", "part": 1, "parts": 1,
                   "calls": [ghost | {"state": "answered"}]}  # fmt: skip
        if what == "beat":
            world.send(forged | {"phase": "heartbeat"})
        elif what == "event":
            world.send(forged | {"phase": "setup"} | ghost)
        elif what == "list":
            world.send(forged | listing)
        elif what == "half a list":
            world.send(forged | listing | {"parts": 2})
        elif what == "restart":
            node.epoch, node.seq = max(world.now // 1000, node.epoch + 1), 0
            node.up.clear()
            node.mark += "r"
        elif what == "set back":
            node.epoch, node.seq = node.epoch - claim["epoch"] % 2, max(0, node.seq - 400)
            node.up.clear()
            node.mark += "s"
        elif what == "twin":
            twin.silent = not twin.silent
        elif what == "silence":
            node.silent = True
            world.run(pause)
            node.silent = False
        elif what == "call":
            world.call(node, f"4{number}.1")
        elif node.up:
            world.say(node, "ended", min(node.up))
        world.run(pause / 2)
    twin.silent = True
    world.run(45)
    world.send(node.sync(world.now))
    world.run(5)
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()
    assert not contested(world)
    assert not world.nodes.stale(world.now)
