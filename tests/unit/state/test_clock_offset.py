"""A node's clock is off, or is set in the middle of a call: durations are right, or unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.events import Sync, SyncedCall
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.clock_offset import TOLERANCE_MS, NodeClocks
from tests.calls import START
from tests.examples import examples
from tests.speakers import Speaker, World

HOUR = 3_600_000
EPOCH = START // 1000 - 60
OFFSETS = [0, HOUR, -HOUR, 30_000, -30_000, -START, 400 * 24 * HOUR, 4_000, 2**53 - 1 - 2 * START]


class Room(World):
    """Calls with times as a node's bridge tells them: cumulative, in the node's clock."""

    def __init__(self, clock_off: int = 0) -> None:
        self.node = Speaker(EPOCH, clock_off=clock_off)
        self.clocks = NodeClocks()
        self.now = START
        self.clocks = NodeClocks()
        self.kpis = Kpis(lambda: self.now)
        super().__init__(self.node, clocks=self.clocks, sinks=(self.kpis,))
        self.facts: dict[str, dict[str, int]] = {}
        self.run(1)

    def tell(self, phase: str, dialog: str, **facts: Any) -> None:
        at = self.now + self.node.clock_off
        known = self.facts.setdefault(dialog, {})
        name = {"setup": "setup_at", "ringing": "progress_at", "answered": "answered_at",
                "ended": "ended_at"}.get(phase)  # fmt: skip
        if name:
            known[name] = at
        if phase == "ended":
            facts |= {"outcome": "answered"}
        self.say(self.node, phase, dialog, **known, **facts)

    def talk(self, dialog: str, seconds: float, setting: int | None = None) -> None:
        """A call of so long; in its middle the clock is set."""
        self.tell("setup", dialog)
        self.run(2)
        self.tell("ringing", dialog)
        self.run(1)
        self.tell("answered", dialog)
        self.run(seconds / 2)
        if setting is not None:
            self.node.clock_off = setting
        self.run(seconds / 2)
        self.tell("ended", dialog)

    def figure(self, name: str) -> Any:
        return self.kpis.figures(None)[name]

    def record(self, dialog: str) -> Any:
        return next(call for call in self.table.calls.values() if call.dialog == dialog)


def test_a_room_knows_its_figures() -> None:
    room = Room()
    for number in range(3):
        room.talk(f"{number}.1", 60)
    assert room.figure("acd_seconds") == pytest.approx(60, abs=0.6)
    assert room.figure("pdd_ms") == pytest.approx(2_000, abs=600)


@pytest.mark.parametrize("off", OFFSETS)
def test_a_clock_that_is_always_off_changes_no_duration(off: int) -> None:
    room = Room(off)
    room.run(12)
    for number in range(3):
        room.talk(f"{number}.1", 60)
    assert room.pipeline.counters.rejected.total() == 0
    assert room.figure("acd_seconds") == pytest.approx(60, abs=0.6)
    for call in room.table.calls.values():
        assert call.setup_at is not None
        assert abs(call.setup_at - room.now) < 1_000_000, "it is in our clock"
    assert list(room.clocks.off) == (["n1"] if abs(off) > TOLERANCE_MS else [])


@pytest.mark.parametrize("before", OFFSETS)
@pytest.mark.parametrize("after", OFFSETS)
@pytest.mark.parametrize("seconds", [4, 60])
def test_a_clock_set_in_the_middle_of_a_call_makes_no_hour_of_it(
    before: int, after: int, seconds: int
) -> None:
    room = Room(before)
    room.run(12)
    room.talk("1.1", seconds, setting=after)
    acd = room.figure("acd_seconds")
    assert acd is None or acd == pytest.approx(seconds, abs=11)
    call = room.record("1.1")
    assert call.state == "ended"
    assert call.answered_at is None or abs(call.answered_at - room.now) < seconds * 1000 + 11_000
    room.run(12)
    room.talk("2.2", 60)
    assert room.figure("acd_seconds") == pytest.approx(60 if acd is None else (60 + acd) / 2, abs=6)
    off = before if abs(after - before) <= TOLERANCE_MS else after
    assert ("n1" in room.clocks.off) == (abs(off) > TOLERANCE_MS)


def test_a_node_whose_clock_is_off_is_named_with_how_far() -> None:
    room = Room(HOUR)
    assert room.clocks.off == {"n1": HOUR}
    room.node.clock_off = 0
    room.run(15)
    assert room.clocks.off == {}


def test_a_late_message_is_no_wrong_clock() -> None:
    room = Room()
    room.run(10)
    late = room.node.envelope(room.now) | {"phase": "heartbeat"}
    room.run(4)
    for seconds in (10, 20, 30):
        room.send(late | {"ts": room.now - seconds * 1_000})
        room.run(2.5)
        assert room.clocks.off == {}
    room.talk("1.1", 60)
    assert room.figure("acd_seconds") == pytest.approx(60, abs=0.6)


def test_a_forged_time_makes_no_duration_wrong() -> None:
    room = Room()
    room.run(10)
    room.tell("setup", "1.1")
    room.tell("answered", "1.1")
    for number in range(60):
        room.beat(room.node, ts=(0, room.now + HOUR, room.now - HOUR, 2**53 - 1)[number % 4])
        room.run(1)
    room.tell("ended", "1.1")
    assert room.figure("acd_seconds") == pytest.approx(60, abs=1)
    assert room.clocks.off == {}


@given(st.sampled_from(OFFSETS), st.sampled_from([HOUR, 60_000, 10_000, 2**52]))
@settings(max_examples=examples(30), deadline=None)
def test_a_time_after_its_event_is_unknown(off: int, later: int) -> None:
    """A CDR that ended in the future, or an answer that is still to come."""
    room = Room(off)
    room.run(12)
    room.tell("setup", "1.1")
    ahead = min(room.now + off + later, 2**53 - 1)
    room.say(room.node, "answered", "1.1", answered_at=ahead)
    call = room.record("1.1")
    assert call.answered_at is None or call.answered_at <= room.now + TOLERANCE_MS
    room.say(room.node, "ended", "1.1", answered_at=ahead, ended_at=ahead)
    call = room.record("1.1")
    assert call.over_at <= room.now + TOLERANCE_MS


def test_a_time_after_its_list_is_unknown() -> None:
    """Also of a node whose clock is right; what else the list says counts."""
    call = SyncedCall(call_id="a@b", dialog="1.1", state="answered", setup_at=START - HOUR,
                      answered_at=2**53 - 1)  # fmt: skip
    part = Sync(v=1, node="kam-1", epoch=EPOCH, seq=1, ts=START, phase="sync", sync_id="s", part=1,
                parts=1, calls=(call,))  # fmt: skip
    (read,) = NodeClocks().list(part, START).calls
    assert (read.setup_at, read.answered_at) == (START - HOUR, None)
