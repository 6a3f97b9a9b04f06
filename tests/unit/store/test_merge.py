"""A table that Redis had and one that memory has become the one that heard everything."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.combine import combine
from livestate.state.position import epoch_of, position_at
from livestate.store import merge
from tests.calls import event
from tests.examples import examples
from tests.promises.test_order import ANY_CALL, fold, same

STORED_SECRET, OWN_SECRET = b"s" * 16, b"o" * 16


@given(ANY_CALL, st.data())
@settings(max_examples=examples(500))
def test_two_halves_of_a_call_make_the_call(events: Any, data: st.DataObject) -> None:
    halves = [data.draw(st.lists(st.sampled_from(events), min_size=1)) for _ in range(2)]
    one, other = (fold(tuple(half)) for half in halves)
    whole = fold(tuple(halves[0] + halves[1]))
    assert same(combine(one, other)) == same(whole)
    assert same(combine(other, one)) == same(whole)


class Room:
    """Events of two nodes, applied to a table that was there from the start, and to one that began
    while Redis was away."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.seq = 0
        self.through = ActiveCalls(secret=STORED_SECRET, epoch="a")
        self.memory = ActiveCalls(secret=OWN_SECRET, epoch="b")

    def say(self, *tables: ActiveCalls, nodes: tuple[str, ...] = ("n1", "n2")) -> None:
        for _ in range(60):
            self.seq += 1
            number, node = self.chance.randrange(20), self.chance.choice(nodes)
            phase = self.chance.choice(("setup", "ringing", "answered", "hold", "resume", "ended"))
            company = self.chance.choice(("101", "102", None))
            facts = {"company_id": company} if company else {}
            message = event(phase, self.seq, node=node, dialog=f"{number}.1", call_id=f"c{number}",
                         **facts)  # fmt: skip
            for table in tables:
                table.apply(message, self.seq)

    def list_of(self, node: str, *tables: ActiveCalls) -> None:
        """What the node has: what the table that heard everything has, but for a few."""
        position = position_at(1, self.seq, from_sync=True)
        kept = {
            (call.dialog, call.call_id) for call in self.through.calls.values()
            if call.live and call.node == node and self.chance.random() < 0.8
        }  # fmt: skip
        for table in tables:
            keys = {table.key_of(node, *each) for each in kept}
            for key in keys - table.calls.keys():  # first seen in the list
                known = next(c for c in self.through.calls.values()
                             if c.node == node and (c.dialog, c.call_id) in kept
                             and table.key_of(*c.identity) == key)  # fmt: skip
                table.adopt(known.replaced(unconfirmed=None), self.seq)
            deque(table.sweeps.close_missing(node, position, keys, self.seq), 0)


def shown(table: ActiveCalls) -> dict[Any, Any]:
    """The visible part of the live calls, by key and identity."""
    return {(call.key, *call.identity): (call.state, call.company_id)
            for call in table.calls.values() if call.live}  # fmt: skip


@pytest.mark.parametrize("listed", [(), ("n1",), ("n1", "n2")])
@pytest.mark.parametrize("seed", range(12))
def test_an_adopted_table_equals_one_that_folded_all(seed: int, listed: tuple[str, ...]) -> None:
    room = Room(seed)
    through, memory = room.through, room.memory
    room.say(through)
    scopes = {view.scope.company_id or "": (view.version, view.stored_floor)
              for view in through.views}  # fmt: skip
    stored = merge.Stored(
        [(call, through.versions_of(call)) for call in through.calls.values()],
        scopes,
        "a",
        STORED_SECRET,
    )
    tags = {view.scope: (view.tag, view.version) for view in through.views}
    room.say(through, memory)
    for node in listed:
        room.list_of(node, through, memory)
    room.say(through, memory)
    before = merge.in_memory(memory, {"n1": 1, "n2": 1})
    table = merge.merged(stored, before, "c", 1_000, 7).table
    room.say(through, memory)  # while it was made
    for node in listed[1:]:
        room.list_of(node, through, memory)
    merge.catch_up(table, before, merge.in_memory(memory, {}), 8)
    assert shown(table) == shown(through)
    unsure = {call.node for call in table.calls.values() if call.live and call.unconfirmed}
    assert not unsure & set(listed)
    for view in table.views:
        held = {key: at for key, _, at in view.snapshot()}
        assert (view.live, view.digest) == (len(held), sum(held.values()) % 2**53)
    for scope, position in tags.items():
        assert table.view(Scope(scope.company_id)).resumable(*position)


def test_calls_of_a_silent_node_come_back_marked_and_those_of_a_speaking_one_not() -> None:
    room = Room(1)
    room.say(room.through, nodes=("silent",))
    stored = merge.Stored(
        [(call, {}) for call in room.through.calls.values()], {}, "a", STORED_SECRET
    )
    room.say(room.memory, nodes=("speaks",))
    before = merge.in_memory(room.memory, {"speaks": 1})
    table = merge.merged(stored, before, "c", 1_000, 7).table
    up = [call for call in table.calls.values() if call.live]
    assert {call.node for call in up} == {"silent", "speaks"}
    assert all(bool(call.unconfirmed) is (call.node == "silent") for call in up)


def test_calls_of_before_a_restart_of_their_node_are_in_doubt_until_its_list() -> None:
    room = Room(2)
    room.say(room.through, nodes=("n1",))
    stored = merge.Stored(
        [(call, {}) for call in room.through.calls.values()], {}, "a", STORED_SECRET
    )
    fresh = event("setup", 1, node="n1", dialog="99.1", call_id="new", epoch=2)
    room.memory.apply(fresh, 1)
    table = merge.merged(stored, merge.in_memory(room.memory, {"n1": 2}), "c", 1_000, 7).table
    assert {
        bool(c.unconfirmed) for c in table.calls.values() if c.live and epoch_of(c.position) == 1
    } == {True}
    late = event("hold", 9_000, node="n1", dialog="0.1", call_id="c0", epoch=1)
    change = table.apply(late, 8)
    assert change is None or not change.after.live or change.after.unconfirmed
    listed = {table.key_of("n1", "99.1", "new")}
    deque(table.sweeps.close_missing("n1", position_at(2, 1, from_sync=True), listed, 9), 0)
    assert {call.dialog for call in table.calls.values() if call.live} == {"99.1"}


def test_a_stored_call_that_a_later_list_of_its_node_lacks_has_ended() -> None:
    through, memory = (ActiveCalls(secret=one, epoch="a") for one in (STORED_SECRET, OWN_SECRET))
    for number in (1, 2):
        told = event("answered", number, node="n1", dialog=f"{number}.1", call_id="c")
        through.apply(told, 1)
    memory.apply(told, 1)
    position = position_at(1, 5, from_sync=True)
    deque(memory.sweeps.close_missing("n1", position, set(memory.calls), 2), 0)
    calls = [(call, through.versions_of(call)) for call in through.calls.values()]
    stored = merge.Stored(calls, {}, "a", STORED_SECRET)
    table = merge.merged(stored, merge.in_memory(memory, {"n1": 1}), "c", 10, 7).table
    assert {call.dialog: call.live for call in table.calls.values()} == {"1.1": False, "2.1": True}
