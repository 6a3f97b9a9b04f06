"""Alarms are raised once, stay while a figure swings, and survive a restart without a second."""

from __future__ import annotations

import pytest

from livestate.state.alarms.alarm import Alarm, alarm_of
from livestate.state.alarms.board import (
    KEPT_MS,
    MOST_OF_ALL,
    MOST_OF_COMPANY,
    MOST_OF_RULE,
    UNMEASURED_MS,
    Board,
)
from livestate.state.alarms.readings import Key
from livestate.state.alarms.rules import DEFAULTS, Reading, judge

ASR = Key("asr")
S = 1_000


class Desk:
    """A board, and a clock to turn; ``asr`` is read every second."""

    def __init__(self) -> None:
        self.board, self.now = Board(), 1_000_000_000
        self.seen: list[tuple[str, str]] = []

    def read(self, asr: float, seconds: int = 1, key: Key = ASR) -> None:
        for _ in range(seconds):
            self.now += S
            self.board.update(key, judge(self.board.rules[key.rule], asr), self.now)
            self.board.finish(self.now, blind=False)
            self.note()

    def note(self) -> None:
        self.seen += [(one.what, one.alarm.level) for one in self.board.take_changes()]

    def blind(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += S
            self.board.finish(self.now, blind=True)
            self.note()

    def alarm(self, company: str | None = None) -> Alarm:
        return self.board.alarms(company)[0]


def test_a_figure_must_stay_past_its_limit_before_it_raises() -> None:
    desk = Desk()
    desk.read(30, 59)
    desk.read(90)
    desk.read(30, 60)
    assert desk.seen == []
    desk.read(30)
    assert desk.seen == [("raised", "warning")]


def test_a_figure_that_swings_around_a_limit_raises_one_alarm() -> None:
    desk = Desk()
    desk.read(30, 61)
    for _ in range(20):
        desk.read(41, 100)
        desk.read(39, 20)
    assert desk.seen == [("raised", "warning")]
    desk.read(41, 121)
    assert desk.seen == [("raised", "warning"), ("cleared", "warning")]
    assert desk.alarm().cleared_why == "recovered"


def test_it_gets_worse_and_better_and_keeps_its_worst_value() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.read(10, 61)
    desk.read(35, 121)
    alarm = desk.alarm()
    assert desk.seen == [("raised", "warning"), ("level", "alarm"), ("level", "warning")]
    assert (alarm.level, alarm.worst, alarm.peak, alarm.value) == ("warning", "alarm", 10, 35)


def test_what_gets_worse_than_was_acknowledged_is_open_again() -> None:
    desk = Desk()
    desk.read(30, 61)
    id = desk.alarm().id
    assert desk.board.acknowledge(None, id, "anna", desk.now)
    assert desk.board.acknowledge(None, id, "bruno", desk.now + 1)
    assert (desk.alarm().acknowledged_by, desk.alarm().acknowledged_at) == ("anna", desk.now)
    assert desk.board.summary(None) == {
        "alarm": 0, "warning": 1, "open": 0, "changed_at": desk.board.changed_at[None],
        "figures": {"asr": ["warning", 40.0]},
    }  # fmt: skip
    desk.read(10, 61)
    assert desk.alarm().acknowledged_by is None
    summary = desk.board.summary(None) or {}
    assert (summary["open"], summary["figures"]) == (1, {"asr": ["alarm", 25.0]})


def test_an_acknowledgement_finds_alarms_of_its_own_scope_only() -> None:
    desk = Desk()
    desk.read(30, 61, Key("ner", "101"))
    id = desk.alarm("101").id
    assert desk.board.acknowledge(None, id, "anna", desk.now) is None
    assert desk.board.acknowledge("202", id, "anna", desk.now) is None
    assert desk.board.alarms(None) == []
    assert desk.board.acknowledge("101", id, "anna", desk.now) is not None


def test_a_figure_that_is_not_measured_keeps_its_alarm_for_a_quarter_of_an_hour() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.now += UNMEASURED_MS - 1
    desk.board.finish(desk.now, blind=False)
    assert desk.alarm().raised
    desk.now += 1
    desk.board.finish(desk.now, blind=False)
    assert (desk.alarm().raised, desk.alarm().cleared_why) == (False, "unmeasured")


def test_while_the_feed_is_stale_no_alarm_of_calls_ends() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.blind(2 * UNMEASURED_MS // S)
    assert desk.alarm().raised
    desk.read(30)
    assert desk.seen == [("raised", "warning")]


def test_a_rule_that_is_switched_off_ends_its_alarms() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.board.rules = {**DEFAULTS, "asr": DEFAULTS["asr"]._replace(warning=None, alarm=None)}
    desk.board.finish(desk.now, blind=True)
    assert desk.alarm().cleared_why == "rule"


def test_a_restart_neither_raises_nor_clears_an_alarm() -> None:
    desk, again = Desk(), Desk()
    desk.read(10, 121)
    desk.board.acknowledge(None, desk.alarm().id, "anna", desk.now)
    records = [alarm.record() for alarm in desk.board.everything()]
    again.now = desk.now + 60 * S
    again.board.restore([one for one in map(alarm_of, records) if one is not None], again.now)
    again.read(10, 300)
    assert again.seen == []
    assert again.alarm().record() == desk.alarm().record()
    again.read(90, 121)
    assert again.seen == [("cleared", "alarm")]


def test_alarms_that_are_over_are_forgotten_after_a_day() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.read(90, 121)
    desk.now += KEPT_MS - S
    desk.board.finish(desk.now, blind=False)
    assert len(desk.board.alarms(None)) == 1
    desk.now += S
    desk.board.finish(desk.now, blind=False)
    assert (desk.board.alarms(None), desk.board.summary(None)) == ([], None)


def test_alarms_are_bounded_and_raised_ones_are_not_pushed_out() -> None:
    desk = Desk()
    desk.board.rules = {**DEFAULTS, "node_silent": DEFAULTS["node_silent"]._replace(clear_ms=0)}
    bad, good = Reading("alarm", 60, 10, 60), Reading("", 0, None, 0)
    rules = ("node_silent", "trunk_ner", "trunk_asr_drop", "trunk_capacity")
    desk.board.rules = {name: DEFAULTS["node_silent"]._replace(name=name) for name in rules} | {
        "node_silent": desk.board.rules["node_silent"]
    }
    for number in range(3 * MOST_OF_COMPANY):
        desk.board.update(Key(rules[number % 4], "101", f"n{number}"), bad, desk.now)
    assert len(desk.board.alarms("101")) == MOST_OF_COMPANY
    assert desk.board.overlooked == 2 * MOST_OF_COMPANY
    desk.board.update(Key("node_silent", "101", "n0"), good, desk.now + 1)
    desk.board.update(Key("node_silent", "101", "new"), bad, desk.now + 2)
    assert {one.subject for one in desk.board.alarms("101")} >= {"new", "n1"}
    assert "n0" not in {one.subject for one in desk.board.alarms("101")}


def test_names_that_are_made_up_leave_room_for_alarms_of_calls() -> None:
    """A node may send any number of names, and be silent under each."""
    desk = Desk()
    for number in range(2 * MOST_OF_ALL):
        for _ in range(2):  # each is counted once
            key = Key("node_silent", None, f"made-up-{number}")
            desk.board.update(key, Reading("alarm", 60, 10, 60), desk.now)
    assert desk.board.overlooked == 2 * MOST_OF_ALL - MOST_OF_RULE
    desk.read(10, 61)
    assert sum(one.rule == "node_silent" for one in desk.board.alarms(None)) == MOST_OF_RULE
    assert [one.rule for one in desk.board.alarms(None) if not one.subject] == ["asr"]


def test_raised_ones_stand_first_and_the_worst_of_them_at_the_top() -> None:
    desk = Desk()
    desk.read(30, 61)
    desk.read(90, 121)
    desk.read(80, 61, Key("ner"))
    desk.read(60, 61, Key("trunk_ner", None, "gw"))
    assert [one.rule for one in desk.board.alarms(None)] == ["trunk_ner", "ner", "asr"]


@pytest.mark.parametrize(
    "edit",
    [
        {"id": 5}, {"level": ""}, {"level": "bad"}, {"rule": "x"}, {"value": None},
        {"value": "1"}, {"raised_at": None}, {"raised_at": -1}, {"raised_at": 1.5},
        {"cleared_why": "x"}, {"acknowledged_by": 7}, {"subject": "s" * 300}, {"more": 1},
    ],
)  # fmt: skip
def test_a_record_that_was_edited_is_left_out(edit: dict[str, object]) -> None:
    desk = Desk()
    desk.read(30, 61)
    record = desk.alarm().record()
    assert alarm_of(dict(record)) == desk.alarm()
    assert alarm_of(record | edit) is None
    assert alarm_of([record]) is None
