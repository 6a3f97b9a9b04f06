"""Calls that two nodes have: the owner's word, and what counts when there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from livestate.process.slices import Slices
from livestate.state.nodes.registry import MAX_NODES
from tests.calls import START
from tests.unit.ingest.feeding import Fed, Raw

SILENT = 16_000


def raw(phase: str, node: str, seq: int, **fields: Any) -> Raw:
    message = {"v": 1, "phase": phase, "node": node, "epoch": 1, "seq": seq, "ts": START} | fields
    return f"call.events.{phase}", orjson.dumps(message)


def call(phase: str, seq: int, dialog: str = "1.1", node: str = "a", **fields: Any) -> Raw:
    return raw(phase, node, seq, **({"call_id": "c", "dialog": dialog} | fields))


def listed(phase: str, node: str, seq: int, *dialogs: str, **changes: Any) -> Raw:
    state = changes.pop("state", "answered")
    owner = {"owner": "a"} if phase == "copies" else {}
    calls = [{"call_id": "c", "dialog": one, "state": state} | owner for one in dialogs]
    facts = {"sync_id": f"{node}{seq}{len(dialogs)}", "part": 1, "parts": 1, "calls": calls}
    return raw(phase, node, seq, **(facts | changes))


class Two(Fed):
    """Nodes a, the owner of two calls, and b, which has copies of them."""

    def __init__(self, *dialogs: str) -> None:
        super().__init__()
        for number, dialog in enumerate(dialogs or ("1.1", "2.1")):
            self.take(call("answered", 1 + number, dialog, trunk="gw-2"))
        self.take(listed("sync", "b", 0), listed("copies", "b", 0, *(dialogs or ("1.1", "2.1"))))

    def states(self) -> dict[str, str]:
        return {one.dialog: one.state for one in self.table.calls.values()}

    def marked(self) -> set[str]:
        return {one.dialog for one in self.table.calls.values() if one.live and one.unconfirmed}

    def wait(self, ms: int, *beating: str) -> None:
        """Time goes on, and these beat. As the watch does it."""
        for _ in range(0, ms, 1_000):
            self.clock.now += 1_000
            for name in beating:
                node = self.nodes.by_name[name]
                self.take(raw("heartbeat", name, node.sequence.highest, epoch=node.epoch))
            for node, up_to in list(self.nodes.due_unconfirmed(self.clock.now, START)):
                assert up_to is None
                self.pipeline.mark_unconfirmed(node.name, None)


def test_copies_are_no_second_row() -> None:
    two = Two()
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    assert {one.node for one in two.table.calls.values()} == {"a"}


def test_while_its_owner_sends_a_copy_changes_nothing() -> None:
    two = Two()
    two.take(listed("copies", "b", 0, "1.1", "2.1", "3.1"))
    two.take(listed("copies", "b", 0))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    two.take(call("ended", 3))
    two.take(listed("copies", "b", 0, "1.1", "2.1"))  # the link between them is down
    assert two.states() == {"1.1": "ended", "2.1": "answered"}


def test_a_silent_owners_calls_go_on_by_their_copies_as_the_same_rows() -> None:
    two = Two()
    keys = set(two.table.calls)
    two.wait(SILENT, "b")
    assert two.marked() == {"1.1", "2.1"}
    assert "b" in list(two.nodes.to_ask(two.clock.now)), "it is asked for its list at once"
    two.take(listed("sync", "b", 0), listed("copies", "b", 0, "1.1", "2.1"))
    assert not two.marked()
    two.wait(200_000, "b")
    assert not two.marked()
    assert set(two.table.calls) == keys
    assert all(one.live and one.trunk == "gw-2" for one in two.table.calls.values())


def test_a_node_with_more_dialogs_than_calls_is_asked_for_copies() -> None:
    """Its last list is from before these calls."""
    fed = Two("1.1")
    fed.take(raw("heartbeat", "c", 0, dialogs=0), listed("sync", "c", 0))
    fed.take(raw("heartbeat", "b", 0, dialogs=2), listed("copies", "b", 0))
    fed.wait(1_000, "b", "c")
    fed.take(raw("heartbeat", "b", 0, dialogs=2))
    list(fed.nodes.to_ask(fed.clock.now))
    fed.wait(SILENT - 1_000, "c")
    fed.take(raw("heartbeat", "b", 0, dialogs=2))
    fed.pipeline.mark_unconfirmed("a", None)
    asked = list(fed.nodes.to_ask(fed.clock.now))
    assert "b" in asked
    assert "c" not in asked


def test_a_call_whose_copy_is_gone_is_lost() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.take(listed("copies", "b", 0, "2.1"))
    assert two.states() == {"1.1": "ended", "2.1": "answered"}
    two.take(listed("copies", "b", 0))
    assert two.table.live == 0
    assert {one.conclusion for one in two.table.calls.values()} == {"lost"}


async def test_copies_that_are_all_gone_at_once_do_not_hold_the_loop() -> None:
    """They are ended in slices, and a list that comes meanwhile is newer."""
    dialogs = [f"{number}.1" for number in range(3_000)]
    two = Two("0.1")
    two.wait(SILENT, "b")
    for part in range(1, 16):
        names = dialogs[part * 200 - 200 : part * 200]
        two.take(listed("copies", "b", 0, *names, sync_id="all", part=part, parts=15))
    assert two.table.live == 3_000
    slices = Slices(asyncio.get_running_loop())
    two.pipeline._sinks._slices = slices
    two.take(listed("copies", "b", 0))
    over = 3_000 - two.table.live
    assert 0 < over < 3_000
    last = next(one.dialog for one in reversed(two.table.calls.values()) if one.live)
    two.take(listed("copies", "b", 0, last))
    async with asyncio.timeout(10):
        while len(slices):
            await asyncio.sleep(0)
    assert [one.dialog for one in two.table.calls.values() if one.live] == [last]


def test_a_list_of_copies_that_is_not_complete_ends_nothing() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.take(listed("copies", "b", 0, "2.1", parts=2))
    assert two.table.live == 2
    two.take(listed("copies", "b", 0, "1.1", parts=2, part=2, sync_id="b01"))
    assert two.table.live == 2


def test_what_was_not_answered_is_not_taken_over() -> None:
    """Its INVITE died with its owner."""
    two = Two("1.1")
    two.take(call("ringing", 2, "9.1"))
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "9.1", state="ringing"))
    assert two.marked() == {"1.1", "9.1"}


def test_an_answer_known_by_the_copy_only_counts() -> None:
    two = Two("1.1")
    two.take(call("ringing", 2, "9.1"))
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "9.1"))
    assert two.states() == {"1.1": "answered", "9.1": "answered"}


def test_an_owner_that_comes_back_without_its_calls_does_not_end_them() -> None:
    """It restarted, and its dialogs are at the other node."""
    two = Two()
    keys = set(two.table.calls)
    two.wait(20_000, "b")  # it was away for so long
    two.take(raw("heartbeat", "a", 0, epoch=2), listed("sync", "a", 0, epoch=2))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    assert not two.marked()
    two.take(listed("sync", "a", 1, "1.1", epoch=2))  # one came back by replication
    assert set(two.table.calls) == keys
    assert two.table.live == 2
    two.take(listed("sync", "a", 2, epoch=2), listed("copies", "b", 0))
    two.take(listed("sync", "a", 3, epoch=2))
    assert two.table.live == 0


def test_in_one_life_the_owners_list_is_final() -> None:
    two = Two()
    two.take(listed("sync", "a", 9, "2.1"))
    assert two.states() == {"1.1": "ended", "2.1": "answered"}


def test_an_owner_that_restarted_does_not_end_what_a_copy_has_meanwhile() -> None:
    two = Two()
    two.take(raw("heartbeat", "a", 0, epoch=2))
    two.take(listed("copies", "b", 0, "1.1", "2.1"), listed("sync", "a", 0, epoch=2))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    two.take(call("hold", 1, "2.1", node="b", owner="a"), listed("sync", "a", 0, epoch=2))
    assert two.states() == {"1.1": "answered", "2.1": "held"}


def test_an_owner_back_from_silence_decides_again() -> None:
    """Its bridge was away, and so was the link between the two: the copy is of before."""
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.take(raw("heartbeat", "a", 2), listed("sync", "a", 2, "1.1"))
    assert two.states() == {"1.1": "answered", "2.1": "ended"}
    two.take(listed("copies", "b", 0, "1.1", "2.1"), listed("sync", "a", 2, "1.1"))
    assert two.states() == {"1.1": "answered", "2.1": "ended"}


@pytest.mark.parametrize("epoch", [1, 0, 7], ids=["same", "earlier", "later"])
def test_an_end_by_the_other_node_ends_the_owners_call(epoch: int) -> None:
    """The BYE went there; whichever of the two was started first."""
    two = Two()
    two.take(call("ended", 1, node="b", owner="a", epoch=epoch + 1, by="caller"))
    assert two.states() == {"1.1": "ended", "2.1": "answered"}
    assert len(two.table.calls) == 2
    two.take(listed("sync", "a", 2, "2.1"))
    assert two.states() == {"1.1": "ended", "2.1": "answered"}


def test_the_owner_decides_after_an_event_of_its_partner() -> None:
    two = Two()
    two.take(call("hold", 1, node="b", owner="a", epoch=99))
    assert two.states()["1.1"] == "held"
    two.take(call("resume", 3))
    assert two.states()["1.1"] == "answered"
    two.take(listed("sync", "a", 4, "2.1"))
    assert two.states()["1.1"] == "ended"


def test_a_cdr_of_the_other_node_ends_the_owners_call() -> None:
    two = Two()
    cdr = call("ended", 1, node="b", owner="a", by="caller")[1]
    assert two.pipeline.handle_cdr(cdr) is None
    assert two.states() == {"1.1": "ended", "2.1": "answered"}


def test_copies_of_an_unknown_owner_are_its_calls() -> None:
    """We start while it is down; it comes back later, and has them."""
    fed = Fed()
    fed.take(listed("sync", "b", 0), listed("copies", "b", 0, "1.1"))
    (key,) = fed.table.calls
    assert fed.table.calls[key].node == "a"
    fed.take(listed("sync", "a", 3, "1.1", epoch=5))
    assert set(fed.table.calls) == {key}
    assert fed.table.calls[key].state == "answered"


def test_calls_of_two_silent_nodes_are_marked() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.wait(130_000, "b")
    assert not two.marked()
    two.wait(SILENT)
    assert two.marked() == {"1.1", "2.1"}
    given_up = {node.name for node, _ in two.nodes.due_expiry(two.clock.now, START, 120_000)}
    assert "a" not in given_up, "they have their own time"
    two.wait(121_000)
    given_up = {node.name for node, _ in two.nodes.due_expiry(two.clock.now, START, 120_000)}
    assert "a" in given_up


def test_an_owner_that_is_the_node_itself_or_no_name_is_none() -> None:
    fed = Fed().take(call("answered", 1, owner="a"))
    assert [one.node for one in fed.table.calls.values()] == ["a"]
    fed.take(call("answered", 2, "5.1", owner="*"))
    assert fed.counters.rejected


def test_a_copy_that_is_refused_ends_neither_its_call_nor_the_others() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    good = {"call_id": "d", "dialog": "2.1", "state": "answered", "owner": "a"}
    bad = {"call_id": "c", "dialog": "1.1", "state": "answered", "owner": "not a name"}
    two.take(raw("copies", "b", 0, sync_id="odd", part=1, parts=1, calls=[good, bad]))
    assert two.states()["1.1"] == "answered"
    assert two.counters.listed_rejected, "counted"
    assert not two.counters.rejected, "the list is not refused for it"
    assert "1.1" not in two.marked()


def test_a_copy_that_could_not_be_listed_is_marked_and_not_over() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.take(listed("copies", "b", 0, "2.1", unlisted=1))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    assert two.marked() == {"1.1"}, "it expires unless a list or an event confirms it"


def test_lists_of_copies_with_one_name_are_not_mixed() -> None:
    two = Two()
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 0, "1.1", "2.1"))
    two.take(listed("copies", "b", 1, "1.1", sync_id="same", parts=2))
    two.take(listed("copies", "b", 2, sync_id="same", parts=2, part=2))
    assert two.table.live == 2


def test_copies_invent_neither_nodes_nor_calls_without_end() -> None:
    fed = Fed()
    fed.table.most = 1_000
    fed.take(listed("sync", "b", 0))
    for part in range(1, 61):
        calls = [
            {"call_id": "c", "dialog": "1.1", "state": "answered", "owner": f"x{part}-{number}"}
            for number in range(200)
        ]
        fed.take(raw("copies", "b", 0, sync_id="s", part=part, parts=60, calls=calls))
    assert fed.counters.rejected["too_many_calls"] == 55
    for number in range(60):
        calls = [
            {"call_id": "c", "dialog": "1.1", "state": "answered", "owner": f"y{number}-{one}"}
            for one in range(200)
        ]
        fed.take(raw("copies", "b", 0, sync_id=f"{number}", part=1, parts=1, calls=calls))
    assert len(fed.nodes.by_name) <= MAX_NODES
