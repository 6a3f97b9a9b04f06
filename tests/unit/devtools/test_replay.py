"""A replay is the network of its capture: what that says of a call, and nothing else, ends it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.messages import Outgoing
from livestate.devtools.publisher import Publisher
from livestate.devtools.replay import PAUSE_MS, Replay, read
from tests.conftest import World
from tests.harness import Node, Stream, agrees, metrics, now_ms

CAPTURES = files("livestate.devtools") / "captures"
START = 1_800_000_000_000


def frames(name: str) -> list[tuple[int, object]]:
    return read((CAPTURES / f"{name}.jsonl").read_text().splitlines())


def messages(source: Replay) -> list[Outgoing]:
    """Everything it publishes, to its end."""
    published = []
    while not source.done:
        published += source.due(source.next_at())
    return published


def lists(name: str) -> list[tuple[int, set[str]]]:
    """Each list of a capture: how many frames have come when it is complete, and its dialogs."""
    found: list[tuple[int, set[str]]] = []
    feed = KamailioFeed()
    for number, (_, frame) in enumerate(frames(name), 1):
        for outgoing in feed.feed(frame):
            if outgoing.message["phase"] == "sync":
                found.append((number, {call["dialog"] for call in outgoing.message["calls"]}))
    return found


def listed(source: Replay, now: int = START) -> set[str]:
    """The dialogs in the lists of all nodes."""
    return {
        call["dialog"]
        for node in source.nodes for part in source.listing(node, now)
        for call in part.message["calls"]
    }  # fmt: skip


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize(
    "name", ["capture-small", "capture-restart-dbtext", "capture-restart-nodb"]
)
def test_what_is_up_at_the_end_of_a_capture_stays_up(name: str, rounds: int) -> None:
    taken = frames(name)
    for upto, dialogs in lists(name):
        source = Replay(taken[:upto], START, rounds=rounds)
        messages(source)
        assert listed(source) == dialogs, f"{name} cut after {upto} frames"
        assert source.live == len(dialogs)


def test_calls_stay_up_in_the_pause_between_two_rounds() -> None:
    upto, dialogs = max(lists("capture-small"), key=lambda each: len(each[1]))
    source = Replay(frames("capture-small")[:upto], START, rounds=2)
    while source.round == 0:
        list(source.due(source.next_at()))
    assert listed(source) == dialogs
    list(source.due(source.next_at() + PAUSE_MS))  # the network starts again
    assert listed(source) == set()


def test_a_call_that_began_before_the_capture_is_known_from_its_list() -> None:
    taken = frames("capture-small")
    (before, _), (upto, dialogs) = lists("capture-small")[1:3]
    source = Replay(taken[before:upto], START)
    messages(source)
    assert listed(source) == dialogs


def test_a_replay_lists_no_call_that_the_list_of_the_node_lacked() -> None:
    source = Replay(frames("capture-restart-nodb"), START)
    messages(source)
    assert listed(source) == set(), "Kamailio restarted without a database"
    assert source.live == 0


def test_after_a_restart_the_first_list_is_the_one_of_the_capture() -> None:
    source = Replay(frames("capture-restart-dbtext"), START)
    epochs = set()
    while len(epochs) < 2:
        for outgoing in source.due(source.next_at()):
            message: Any = outgoing.message
            if message["epoch"] not in epochs and epochs and message["phase"] != "sync":
                assert not listed(source), "no list has said yet which calls survived"
            epochs.add(message["epoch"])
    messages(source)
    assert source.live == 0


@pytest.mark.slow
async def test_a_replayed_file_that_ends_ends_no_call(world: World) -> None:
    upto, dialogs = max(lists("capture-small"), key=lambda each: len(each[1]))
    service = world.service()
    async with service, await Stream.open(service.url, service.token()) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        replay = Replay(frames("capture-small")[:upto], now_ms(), speed=20, rounds=2)
        await Publisher(world.nats.url, replay, clock=now_ms).run()
        async with await Node.connect(world.nats.url) as node:  # what comes later is seen later
            await node.call("1.1")
            await stream.until(lambda s: f"1.1@{node.name}" in s.states, 10)
            assert len(stream.dashboard.calls) == 1 + len(dialogs)
            assert not any(call.get("unconfirmed") for call in stream.dashboard.calls.values())
            await agrees(service, stream, service.token())
        counted = await metrics(service)
    assert counted["livestate_calls_lost_total"] == len(dialogs), "those of the first round only"
