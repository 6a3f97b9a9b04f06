"""From messages to the table: everything is counted, and order does not matter (C, O, G)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.active_calls import ActiveCalls, Change
from livestate.call import TRANSITIONS
from livestate.nodes import Nodes
from livestate.runtime.pipeline import Pipeline
from tests.calls import START, real_calls

Raw = tuple[str, bytes]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Heard:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def note(self, change: Change) -> None:
        self.changes.append(change)


class Fed:
    """A table with all that feeds it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.heard = Heard()
        self.pipeline = Pipeline(self.table, self.nodes, (self.heard,), clock=self.clock)
        self.tally = self.pipeline.tally

    def take(self, *sent: Raw) -> Fed:
        for subject, data in sent:
            self.pipeline.take(subject, data)
            assert self.tally.holds
        return self

    @property
    def seen(self) -> dict[str, tuple[Any, ...]]:
        """What people see of each call, and how those that are over ended."""
        return {
            key: (call.state, *call[8:], None if call.live else call.conclusion)
            for key, call in self.table.calls.items()
        }


def raw(phase: str, seq: int, **told: Any) -> Raw:
    message = {"v": 1, "phase": phase, "node": "n1", "epoch": 1, "seq": seq, "ts": START} | told
    if phase not in ("heartbeat", "sync"):
        message = {"call_id": "c1", "dialog": "1.1"} | message
    return f"call.events.{phase}", orjson.dumps(message)


def sync(seq: int, *dialogs: str, **told: Any) -> Raw:
    calls = [{"call_id": "c1", "dialog": dialog, "state": "answered"} for dialog in dialogs]
    facts = {"sync_id": f"s{seq}", "part": 1, "parts": 1, "calls": calls}
    return raw("sync", seq, **(facts | told))


# -- C: counted --------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.builds(
        raw,
        st.sampled_from(["setup", "ringing", "answered", "hold", "resume", "ended", "heartbeat"]),
        st.integers(0, 12),
        epoch=st.integers(1, 2),
        dialog=st.sampled_from(["1.1", "2.2"]),
    ),
    st.builds(sync, st.integers(0, 12), epoch=st.integers(1, 2)),
    st.builds(raw, st.just("setup"), st.integers(-1, 3), node=st.sampled_from(["n1", "*", ""])),
    st.builds(raw, st.just("recording"), st.integers(0, 12)),
    st.tuples(st.sampled_from(["call.events.setup", "x"]), st.binary(max_size=20)),
)


@given(st.lists(MESSAGES | st.integers(1, 5), max_size=40))
@settings(max_examples=300, deadline=None)
def test_every_message_is_counted_as_exactly_one_thing(came: list[Raw | int]) -> None:
    fed = Fed()
    total = 0
    for one in came:
        before = (fed.tally.received, fed.tally.applied, len(fed.heard.changes))
        if isinstance(one, int):
            fed.pipeline.dropped(one)
            total += one
        else:
            fed.take(one)
            total += 1
        assert fed.tally.holds
        if fed.tally.applied == before[1]:
            assert len(fed.heard.changes) == before[2]  # nothing is told of what did not count
    assert fed.tally.received == total


def test_each_way_to_be_counted() -> None:
    fed = Fed().take(
        raw("setup", 1),  # applied
        raw("setup", 1),  # duplicate
        sync(5, "1.1"),  # applied
        raw("setup", 2, dialog="9.9"),  # stale: the list would have had it
        raw("failed", 6, dialog=None, call_id="refused"),  # applied, and never live
        raw("setup", 7, v=2),  # rejected
        ("call.events.setup", b"\xff"),  # rejected
    )
    fed.pipeline.dropped(3)
    tally = fed.tally
    assert (tally.received, tally.applied, tally.duplicate, tally.stale) == (10, 3, 1, 1)
    assert dict(tally.rejected) == {"unsupported_version": 1, "not_json": 1}
    assert (tally.dropped, tally.refused_by_proxy, tally.lists) == (3, 1, 1)
    assert fed.table.live == 1


def test_every_drop_asks_every_node_for_its_list() -> None:
    fed = Fed().take(raw("heartbeat", 0), raw("heartbeat", 0, node="n2"))
    fed.take(sync(0), sync(0, node="n2"))
    assert list(fed.nodes.to_ask(START + 9_000)) == []
    fed.pipeline.dropped(1)
    assert set(fed.nodes.to_ask(START + 9_000)) == {"n1", "n2"}


def test_a_phase_of_a_newer_bridge_is_no_gap() -> None:
    fed = Fed().take(raw("setup", 1), sync(1, "1.1"), raw("recording", 2), raw("ringing", 3))
    assert fed.tally.rejected["unknown_phase"] == 1
    assert list(fed.nodes.to_ask(START + 60_000)) == []


def test_a_step_that_the_table_does_not_know_is_counted() -> None:
    fed = Fed().take(raw("answered", 1), raw("ringing", 2))
    assert "ringing" not in TRANSITIONS["answered"]
    assert (fed.tally.irregular, fed.tally.applied) == (1, 2)


NASTY = b"[" * 700 + b"]" * 700


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        raw("setup", 1)[1][:-1] + b',"x":' + NASTY + b"}",
        raw("setup", 1)[1][:-1] + b',"from":"\\ud800","x":' + NASTY + b"}",
        raw("setup", 1)[1][:-1] + b',"from":"\\ud800","x":' + b"1" * 5_000 + b"}",
        raw("setup", 1)[1][:-1] + b',"x":1e999,"x":1e999}',
        raw("setup", 1)[1][:-1] + b',"\\ud800":1}',
    ],
)
def test_nothing_that_comes_stops_the_pipeline(data: bytes) -> None:
    fed = Fed().take(("call.events.setup", data), raw("setup", 2))
    assert fed.tally.rejected.total() == 1
    assert fed.table.live == 1


# -- a new epoch ---------------------------------------------------------------------------------


def test_a_restarted_nodes_calls_stay_in_doubt_until_its_list() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(raw("heartbeat", 0, epoch=2))
    assert fed.table.live == 2
    assert all(call.unconfirmed for call in fed.table.calls.values())
    fed.take(sync(0, "1.1", epoch=2))
    kept, gone = sorted(fed.table.calls.values(), key=lambda call: call.dialog)
    assert (kept.live, kept.unconfirmed) == (True, False)
    assert (gone.live, gone.conclusion) == (False, "lost")


def test_another_nodes_restart_puts_nothing_in_doubt() -> None:
    fed = Fed().take(raw("answered", 1), raw("heartbeat", 0, node="n2"))
    fed.take(raw("heartbeat", 0, node="n2", epoch=2), sync(0, node="n2", epoch=2))
    (call,) = fed.table.calls.values()
    assert (call.live, call.unconfirmed) == (True, None)


def test_a_restart_first_heard_of_in_an_unknown_phase_is_a_restart() -> None:
    fed = Fed().take(raw("answered", 1), raw("recording", 1, epoch=2), raw("heartbeat", 1, epoch=2))
    (call,) = fed.table.calls.values()
    assert call.unconfirmed


@pytest.mark.parametrize("late", [raw("hold", 2), raw("answered", 2, dialog="2.2")])
def test_an_event_from_before_a_restart_leaves_the_doubt(late: Raw) -> None:
    """It tells what was, not whether the call is still there; and order must not matter."""
    before, restart = raw("answered", 1), raw("heartbeat", 0, epoch=2)
    overtaken = Fed().take(before, restart, late)
    assert all(call.unconfirmed for call in overtaken.table.calls.values())
    assert overtaken.seen == Fed().take(before, late, restart).seen


def test_a_restarted_node_that_was_lost_in_between_is_healed_by_its_list() -> None:
    """Its first events of the new epoch never came; the list has what is true."""
    fed = Fed().take(raw("answered", 1), raw("hold", 9, epoch=2, dialog="3.3"))
    assert list(fed.nodes.to_ask(START + 9_000)) == ["n1"]
    fed.take(sync(9, "3.3", epoch=2))
    assert fed.table.live == 1


# -- lists in parts ------------------------------------------------------------------------------


def test_nothing_is_lost_before_the_last_part_of_a_list_is_here() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(sync(2, part=1, parts=2))
    assert fed.table.live == 2
    fed.take(sync(2, "2.2", part=2, parts=2))
    assert fed.table.live == 1
    assert fed.tally.lost == 1


def test_a_list_that_lacks_a_part_ends_no_call_and_the_next_one_does() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 2, dialog="2.2"))
    fed.take(sync(2, "2.2", part=1, parts=2, sync_id="a"))
    fed.take(sync(2, part=2, parts=2, sync_id="b"))
    assert fed.table.live == 2
    fed.take(sync(2, "1.1", part=1, parts=2, sync_id="b"))
    assert [call.dialog for call in fed.table.calls.values() if call.live] == ["1.1"]


def test_a_call_missing_from_one_list_and_in_the_next_is_live() -> None:
    """The set of live calls is the last list's: nobody ever said that this one ended."""
    fed = Fed().take(raw("answered", 1), sync(2), sync(3, "1.1"))
    assert fed.table.live == 1


def test_a_call_that_ended_is_not_brought_back_by_a_list_that_still_has_it() -> None:
    fed = Fed().take(raw("answered", 1), raw("ended", 3), sync(2, "1.1"), sync(3, "1.1"))
    assert fed.table.live == 0


def test_a_call_that_began_while_its_nodes_list_was_under_way_is_not_lost() -> None:
    fed = Fed().take(raw("setup", 1), raw("setup", 4, dialog="4.4"), sync(3, "1.1"))
    assert fed.table.live == 2


def test_a_list_that_was_overtaken_by_the_next_one_brings_no_call_back() -> None:
    fed = Fed().take(sync(9, "2.2"), sync(5, "1.1", "2.2"))
    assert [call.dialog for call in fed.table.calls.values() if call.live] == ["2.2"]


def test_a_list_ends_calls_of_its_own_node_only() -> None:
    fed = Fed().take(raw("answered", 1), raw("answered", 1, node="n2"), sync(5, node="n2"))
    assert [call.node for call in fed.table.calls.values() if call.live] == ["n1"]


# -- O: order, at the level of the table ----------------------------------------------------------

REAL = [
    [
        # A node's restart has tests of its own: here each epoch is another node.
        raw(**(one.model_dump(by_alias=True, exclude_none=True)
                          | {"node": f"n{one.epoch}"}))
        for one in events
    ]
    for events in real_calls()[:60]
]  # fmt: skip


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_events_of_many_calls_in_any_order_make_the_same_table(data: st.DataObject) -> None:
    """Without lists: any interleaving, any duplication, any lateness."""
    calls = data.draw(st.lists(st.sampled_from(REAL), min_size=1, max_size=8, unique_by=id))
    events = [one for call in calls for one in call]
    again = data.draw(st.lists(st.sampled_from(events), max_size=8))
    assert Fed().take(*data.draw(st.permutations(events + again))).seen == Fed().take(*events).seen


_RINGING = ("ringing", "early_media", "reroute", "answered", "failed")
STEPS_OF = {
    "trying": _RINGING, "ringing": _RINGING, "early": _RINGING,
    "answered": ("hold", "ended"), "held": ("resume", "ended"), "ended": (), "failed": (),
}  # fmt: skip


@dataclass
class Story:
    """A node that tells the truth: its dialogs, what it said of them, and its lists."""

    seq: int = 0
    dialogs: dict[int, str] = field(default_factory=dict)  # number → state
    facts: dict[int, dict[str, Any]] = field(default_factory=dict)
    epoch: int = 1
    sent: list[Raw] = field(default_factory=list)
    lists: int = 0

    def step(self, caller: int, phase: str) -> None:
        """A caller's dialog goes on; a step that a node would never make is none."""
        number = 10 * self.epoch + caller  # an id that a dialog had is never used again
        if self.dialogs.get(number - 10) in ("answered", "held"):
            number -= 10  # it was kept over the restart
        state = self.dialogs.get(number)
        if state is None:
            phase, state = "setup", "trying"
            self.facts[number] = {
                "dialog": f"{number}.1", "call_id": f"c{number}", "attempt": 1, "trunk": "gw-1",
                "company_id": f"10{number % 3}", "setup_at": START + number,
            }  # fmt: skip
        elif phase not in STEPS_OF[state]:
            return
        facts = self.facts[number]
        if phase in ("ringing", "early_media"):
            facts.setdefault("progress_at", START + 100 + number)
        elif phase == "answered":
            facts["answered_at"] = START + 200 + number
        elif phase == "reroute":
            facts["attempt"] += 1
            facts["trunk"] = f"gw-{facts['attempt']}"
        told = dict(facts)
        if phase in ("ended", "failed"):
            told |= {"ended_at": START + 300, "outcome": "answered" if phase == "ended" else "busy"}
        self.dialogs[number] = TRANSITIONS[state][phase]  # type: ignore[index]
        self.seq += 1
        self.sent.append(raw(phase, self.seq, epoch=self.epoch, **told))

    def list_dialogs(self, since: int) -> None:
        """A list asked for ``since`` numbers ago: its dialogs may be newer than it says."""
        self.lists += 1
        calls = [
            self.facts[number] | {"state": state, "held": state == "held"}
            for number, state in self.dialogs.items() if state not in ("ended", "failed")
        ]  # fmt: skip
        at = max(0, self.seq - since)
        self.sent.append(sync(at, epoch=self.epoch, sync_id=f"l{self.lists}", calls=calls))

    def restart(self, kept: Iterable[int]) -> None:
        self.epoch += 1
        self.seq = 0
        kept = {10 * (self.epoch - 1) + caller for caller in kept}
        self.dialogs = {number: state for number, state in self.dialogs.items()
                        if number in kept and state in ("answered", "held")}  # fmt: skip
        self.list_dialogs(0)


STEPS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from(["ringing", "early_media", "reroute", "answered", "hold", "resume",
                         "ended", "failed", "list", "beat"]),
        st.integers(0, 2),
    ),
    min_size=4, max_size=30,
)  # fmt: skip


def tell(steps: list[tuple[int, str, int]]) -> Story:
    story = Story()
    for number, what, late in steps:
        if what == "list":
            story.list_dialogs(late)
        elif what == "beat":
            story.sent.append(raw("heartbeat", story.seq, epoch=story.epoch))
        else:
            story.step(number, what)
    return story


def jumbled(draw: st.DrawFn, sent: list[Raw]) -> list[Raw]:
    """Overtaken by two at most, some twice: as a real Kamailio's messages come."""
    places = [at + draw(st.integers(0, 2)) for at in range(len(sent))]
    order = sorted(range(len(sent)), key=lambda at: (places[at], draw(st.booleans())))
    came = [sent[at] for at in order]
    for at in draw(st.lists(st.integers(0, len(came) - 1), max_size=4)):
        came.insert(min(at + draw(st.integers(1, 4)), len(came)), came[at])
    return came


@pytest.mark.parametrize(
    ("phase", "state"), [("early_media", "early"), ("ringing", "ringing"), ("reroute", "trying")]
)
def test_a_list_that_overtakes_one_event_by_one_leaves_the_same_state(
    phase: str, state: str
) -> None:
    rings = "ringing" if phase != "ringing" else "early_media"
    before = [raw("setup", 1), raw(rings, 2)]
    last = raw(phase, 3, attempt=2)
    calls = [{"call_id": "c1", "dialog": "1.1", "state": state, "attempt": 2}]
    in_order = Fed().take(*before, last, sync(3, calls=calls))
    overtaken = Fed().take(*before, sync(3, calls=calls), last)
    assert [call.state for call in in_order.table.calls.values()] == [state]
    assert overtaken.seen == in_order.seen


def answered(state: str) -> str:
    """As far as a list is the last word: how a call rings, it may not know."""
    return state if state in ("answered", "held") else "ringing"


@given(STEPS, st.data())
@settings(max_examples=200, deadline=None)
def test_lists_and_events_that_overtake_each_other_end_in_the_truth(
    steps: list[tuple[int, str, int]], data: st.DataObject
) -> None:
    story = tell(steps)
    if not story.sent:
        return
    fed = Fed().take(*jumbled(data.draw, story.sent))
    shown = {call.dialog: answered(call.state) for call in fed.table.calls.values() if call.live}
    live = {f"{number}.1": answered(state) for number, state in story.dialogs.items()
            if state not in ("ended", "failed")}  # fmt: skip
    assert shown == live
    over = {call.dialog: call.conclusion for call in fed.table.calls.values() if not call.live}
    assert {f"{number}.1" for number in story.dialogs} == over.keys() | shown.keys()
    assert "lost" not in over.values()  # nothing was


@given(STEPS, STEPS, st.sets(st.integers(1, 4)), st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_was_lost_the_next_list_mends_it(
    before: list[tuple[int, str, int]],
    after: list[tuple[int, str, int]],
    kept: set[int],
    data: st.DataObject,
) -> None:
    """Promise G: any messages lost, a restart in the middle, and one list that arrives."""
    story = tell(before)
    if data.draw(st.booleans()):
        story.restart(kept)
    for number, what, late in after:
        if what == "list":
            story.list_dialogs(late)
        elif what != "beat":
            story.step(number, what)
    survived = [one for one in story.sent if data.draw(st.integers(0, 2))]
    story.sent.clear()
    story.list_dialogs(0)
    fed = Fed().take(*survived, *story.sent)
    shown = {call.dialog: answered(call.state) for call in fed.table.calls.values() if call.live}
    assert shown == {f"{number}.1": answered(state) for number, state in story.dialogs.items()
                     if state not in ("ended", "failed")}  # fmt: skip
    assert not any(call.unconfirmed for call in fed.table.calls.values() if call.live)


def test_a_node_whose_clock_was_set_back_loses_its_old_calls_and_its_new_ones_count() -> None:
    fed = Fed().take(raw("ringing", 7, epoch=9), raw("setup", 8, epoch=9, dialog="3.3"))
    fed.clock.now += 20_000
    fed.take(raw("heartbeat", 0, epoch=3), raw("answered", 1, epoch=3, dialog="2.2"))
    live = {call.dialog for call in fed.table.calls.values() if call.live}
    assert live == {"2.2"}
    over = [call.conclusion for call in fed.table.calls.values() if not call.live]
    assert over == ["lost", "lost"]
    fed.take(sync(2, "2.2", epoch=3), raw("ended", 3, epoch=3, dialog="2.2"))
    assert fed.table.live == 0
