"""One node whose numbers start again: a restart, a snapshot, another host, a clock set back."""

from __future__ import annotations

import pytest

from tests.speakers import EPOCH, Speaker, World, contested, settled


@pytest.mark.parametrize("epoch", [EPOCH + 86_410, EPOCH + 200_000, EPOCH - 3_600, 5, EPOCH])
@pytest.mark.parametrize("away", [0, 1, 8])
def test_a_restarted_node_shows_its_calls_in_seconds(epoch: int, away: int) -> None:
    """A restart, a snapshot, a take-over by another host: whatever its numbers are then."""
    world, node = settled()
    node.silent = True
    world.run(away)
    after = Speaker(epoch, seq=40, mark="a", beat_in=200)
    after.up = {"2.2": "answered", "8.8": "answered"}  # 2.2 lived on
    world.speakers.append(after)
    world.run(6)
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()
    assert not world.nodes.stale(world.now)
    world.call(after, "9.9")
    world.say(after, "ended", "2.2")
    world.run(3)
    assert world.shown == {"8.8": "answered", "9.9": "answered"}
    assert not contested(world)


def test_a_node_set_back_that_never_lists_is_stale_then_adopted() -> None:
    world, node = settled()
    node.lists_when_asked = False
    node.seq = 4_000
    node.up = {"8.8": "answered"}
    world.run(7)
    assert world.nodes.stale(world.now)
    world.run(10)
    assert not world.nodes.stale(world.now)
    world.call(node, "9.9")
    assert world.shown == {"9.9": "answered"}
    world.send(node.sync(world.now))
    assert world.shown.keys() == {"8.8", "9.9"}


def set_back_by(back: int, *, lists: bool) -> tuple[World, Speaker]:
    """A virtual machine that is set back: 33 calls are over, five new ones begin at once."""
    world, node = settled()
    world.call(node, *(f"{number}.1" for number in range(10, 40)))
    world.run(10)
    node.seq -= back
    node.up = {}
    node.lists_when_asked = lists
    for number in range(5):
        world.call(node, f"n{number}.1")
        world.run(0.5)
    return world, node


@pytest.mark.parametrize("back", [1, 2, 5, 10, 11, 30, 60, 4_000])
def test_a_node_set_back_by_a_little_or_much_shows_the_truth_in_seconds(back: int) -> None:
    """By a little, its numbers have passed those of before when the next heartbeat comes."""
    world, _ = set_back_by(back, lists=True)
    world.run(12)
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()
    assert not world.hidden


@pytest.mark.parametrize("back", [1, 10, 30, 60, 4_000])
def test_a_node_set_back_without_lists_keeps_its_events(back: int) -> None:
    world, node = set_back_by(back, lists=False)
    world.run(25)
    assert not world.hidden
    assert world.truth.keys() <= world.shown.keys()
    if back >= 30:  # it was seen to be lower: what it had before is over, or marked
        assert world.sure <= world.truth.keys()
        assert len(world.shown) <= 10
    world.send(node.sync(world.now))
    world.run(1)
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()


@pytest.mark.parametrize("known", [6, 20])
@pytest.mark.parametrize("back", [30, 4_000])
def test_a_node_that_never_listed_keeps_its_events(back: int, known: int) -> None:
    node = Speaker(EPOCH, seq=5_000, lists_when_asked=False)
    world = World(node)
    world.beat(node)
    world.call(node, *(f"{number}.1" for number in range(35)))
    world.run(known)
    node.seq -= back
    node.up = {}
    world.call(node, *(f"n{number}.1" for number in range(5)))
    world.run(25)
    assert not world.hidden
    assert world.truth.keys() <= world.shown.keys()
    assert world.sure <= world.truth.keys()


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH - 86_400, 5])
def test_calls_that_begin_before_the_first_lower_heartbeat_are_shown(
    epoch: int, lists: bool
) -> None:
    world, node = settled()
    node.silent = True
    after = Speaker(epoch, mark="c", lists_when_asked=lists, beat_in=2_000)
    world.speakers.append(after)
    for number in range(4):
        world.call(after, f"n{number}.1")
        world.run(0.5)
    world.run(25)
    assert not world.hidden
    assert world.shown.keys() == after.up.keys()
    world.send(after.sync(world.now))
    assert world.sure == world.truth.keys()


@pytest.mark.parametrize("late", [0, 30_000])
def test_a_late_duplicate_of_a_forgotten_call_brings_nothing_back(late: int) -> None:
    world, node = settled()
    world.say(node, "setup", "9.9")
    twice = node.envelope(world.now - late) | {"phase": "setup", "dialog": "9.9",
                                               "call_id": "9.9@a"}  # fmt: skip
    world.say(node, "ended", "9.9")
    world.send(node.sync(world.now))
    if late:
        world.now += late
        world.table.trim(world.now, 0)
    world.send(twice)
    assert "9.9" not in world.shown


def test_a_name_that_moves_from_host_to_host_and_back_follows_in_seconds() -> None:
    hosts = [Speaker(EPOCH, seq=100), Speaker(EPOCH + 7, seq=50_000, mark="b", silent=True)]
    world = World(*hosts)
    for turn in range(6):
        here, away = hosts[turn % 2], hosts[(turn + 1) % 2]
        away.silent, here.silent = True, False
        away.up.clear()
        world.call(here, f"{turn}.1")
        world.run(6)
        assert world.shown == world.truth, turn
        assert world.sure == world.truth.keys(), turn
        world.run(4)


def test_numbers_that_jump_after_a_long_silence_are_believed() -> None:
    world, node = settled()
    node.silent = True
    world.run(120)
    node.silent = False
    node.seq += 1_000_000
    world.run(3)
    world.call(node, "4.4")
    world.run(1)
    assert world.shown.keys() >= {"4.4"}
    assert world.pipeline.counters.rejected.total() == 0


def test_after_our_own_restart_whatever_a_node_says_is_news() -> None:
    for epoch, seq in ((EPOCH, 9_000_000), (EPOCH, 3), (EPOCH - 5, 3), (EPOCH + 5, 3)):
        node = Speaker(epoch, seq=seq, up={"1.1": "answered"})
        world = World(node)
        world.nodes.restore("n1", EPOCH, 5_000, world.now)
        world.run(4)
        assert world.sure == {"1.1"}, (epoch, seq)
        assert not contested(world)
