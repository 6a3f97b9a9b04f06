"""Promise O at the level of the table: events and lists in any order end in the same calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.transitions import TRANSITIONS
from tests.calls import START, real_calls
from tests.examples import examples
from tests.unit.ingest.feeding import Fed, Raw, raw, sync

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
@settings(max_examples=examples(60), deadline=None)
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
        fields = dict(facts)
        if phase in ("ended", "failed"):
            fields |= {
                "ended_at": START + 300,
                "outcome": "answered" if phase == "ended" else "busy",
            }
        self.dialogs[number] = TRANSITIONS[state][phase]  # type: ignore[index]
        self.seq += 1
        self.sent.append(raw(phase, self.seq, epoch=self.epoch, **fields))

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
@settings(max_examples=examples(200), deadline=None)
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
@settings(max_examples=examples(200), deadline=None)
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
    fed = Fed().take(*survived, *story.sent).settle()
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
