"""Two nodes with one name: the calls of both are shown, and both are reported as contested."""

from __future__ import annotations

import pytest

from tests.speakers import EPOCH, Speaker, contested, settled


@pytest.mark.parametrize("epoch", [EPOCH + 1, EPOCH - 1, EPOCH * 1000, EPOCH + 86_399, EPOCH])
@pytest.mark.parametrize("seq", [3, 4_000, 900_000])
@pytest.mark.parametrize("lists", [True, False])
def test_two_nodes_with_one_name_hide_no_call(epoch: int, seq: int, lists: bool) -> None:
    world, node = settled()
    node.lists_when_asked = lists
    twin = Speaker(epoch, seq=seq, mark="b", beat_in=700, lists_when_asked=lists)
    twin.up = {"7.7": "answered"}
    world.speakers.append(twin)
    began = world.now
    while not contested(world):
        world.run(0.5)
        assert world.now - began < 10_000
    world.send(node.sync(world.now))
    world.send(twin.sync(world.now))
    for number in range(20):
        world.call(node, f"1{number}.1")
        world.call(twin, f"5{number}.1")
        if number > 5:
            world.say(node, "ended", f"1{number - 5}.1")
            world.say(twin, "ended", f"5{number - 5}.1")
        world.run(1)
        assert contested(world)
    assert world.shown.keys() >= world.truth.keys()
    mine = {"1.1", "2.2", "3.3"}
    assert not [one for one in world.hidden if one[1] in mine]
    if not (epoch == EPOCH and seq == 900_000):  # until its list proves that number
        assert not [at for at, _ in world.hidden if at > began + 10_000]
    # One of them is given another name.
    twin.silent = True
    world.run(20)
    world.send(node.sync(world.now))
    world.run(1)
    assert not contested(world)
    assert world.shown == world.truth
    assert world.sure == world.truth.keys()


def test_two_nodes_that_count_alike_show_by_their_numbers() -> None:
    """Two copies of one virtual machine: the same epoch, nearly the same numbers."""
    world, node = settled()
    twin = Speaker(EPOCH, seq=node.seq - 1, mark="b", beat_in=700)
    world.speakers.append(twin)
    began = world.now
    for number in range(10):
        world.call(node, f"1{number}.1")
        world.call(twin, f"5{number}.1")
        world.run(1)
    assert contested(world)
    assert not [at for at, _ in world.hidden if at > began + 5_000]


def test_late_heartbeats_of_a_second_bridge_make_no_second_node() -> None:
    """Two bridges on one Kamailio; one was held up, and says all that it has at once."""
    world, node = settled()
    held_up = [node.envelope(world.now)]
    for number in range(5):
        world.call(node, f"1{number}.1")
        world.run(2)
        held_up.append(node.envelope(world.now))
    for envelope in held_up:
        world.send(envelope | {"phase": "heartbeat"})
    world.run(15)
    assert not contested(world)
    assert world.sure == world.truth.keys()
    assert not world.hidden
