"""The minutes of the charts: sums of the key figures, gaps where nothing was seen, bounded."""

from __future__ import annotations

from livestate.state.kpi.history import (
    ALL,
    MINUTE_MS,
    MINUTES,
    MOST_COMPANIES,
    MOST_MARKS,
    History,
    Minute,
)
from tests.unit.state.test_kpis import Room


class Desk:
    def __init__(self) -> None:
        self.room, self.history = Room(1_000 * MINUTE_MS), History()
        self.history.sample(self.room.kpis, None, self.room.now)

    def minute(self, stale_since: int | None = None) -> int | None:
        """Go to the next minute, and sample."""
        self.room.now = (self.room.now // MINUTE_MS + 1) * MINUTE_MS
        return self.history.sample(self.room.kpis, stale_since, self.room.now)

    def calls(self, company: str = "101") -> None:
        """One is answered and ends, one is busy, one fails, one stays up."""
        for name in "abcd":
            self.room.say("setup", f"{company}{name}{self.room.now}", company_id=company)
        a, b, c = (f"{company}{name}{self.room.now}" for name in "abc")
        self.room.say("answered", a, answered_at=self.room.now, company_id=company)
        self.room.say("ended", a, outcome="answered", company_id=company)
        self.room.say("failed", b, outcome="busy", sip_code=486, company_id=company)
        self.room.say("failed", c, outcome="congestion", sip_code=503, company_id=company)


def test_a_minute_has_the_sums_of_its_half_minutes() -> None:
    desk = Desk()
    assert desk.minute() is None, "the first minute was not seen from its beginning"
    desk.calls()
    desk.room.now += 30_000
    desk.calls("202")
    minute = desk.minute()
    assert minute is not None
    assert desk.history.minutes[minute] == {
        ALL: Minute(2, 6, 2, 4), "101": Minute(1, 3, 1, 2), "202": Minute(1, 3, 1, 2)
    }  # fmt: skip
    assert desk.minute() == minute + 1
    assert desk.history.minutes[minute + 1][ALL] == Minute(2, 0, 0, 0)
    series = desk.history.series("202", 4, desk.room.now)
    assert series["attempts"] == [None, None, 3, 0]
    assert series["first"] == desk.room.now - 4 * MINUTE_MS


def test_what_was_not_seen_is_a_gap_with_a_mark() -> None:
    desk = Desk()
    desk.minute()
    desk.calls()
    desk.minute()
    stale_since = desk.room.now
    for _ in range(3):
        desk.minute(stale_since)
    for _ in range(3):
        desk.minute()
    live = desk.history.series(None, 7, desk.room.now)["live"]
    assert live == [1, None, None, None, None, None, 1]
    (mark,) = desk.history.marks
    assert (mark.kind, mark.since, mark.until) == (
        "stale",
        stale_since,
        stale_since + 4 * MINUTE_MS,
    )


def test_a_day_and_the_companies_are_bounded() -> None:
    desk = Desk()
    desk.minute()
    for number in range(MOST_COMPANIES + 5):
        desk.calls(f"c{number}")
    desk.minute()
    (scopes,) = desk.history.minutes.values()
    assert len(scopes) == MOST_COMPANIES + 1
    assert desk.history.is_kept("c0")
    assert not desk.history.is_kept(f"c{MOST_COMPANIES}")
    for _ in range(MINUTES + 10):
        desk.minute()
    assert len(desk.history.minutes) == MINUTES
    for number in range(3 * MOST_MARKS):
        desk.history.sample(desk.room.kpis, desk.room.now, desk.room.now + number)
        desk.history.sample(desk.room.kpis, None, desk.room.now + number)
    assert len(desk.history.marks) == MOST_MARKS


def test_a_company_makes_room_when_it_had_no_call_for_a_day() -> None:
    desk = Desk()
    desk.minute()
    for number in range(MOST_COMPANIES):
        desk.calls(f"c{number}")
        for name in "abcd":
            desk.room.say("failed", f"c{number}{name}{desk.room.now}", company_id=f"c{number}")
    desk.minute()
    for _ in range(MINUTES):
        desk.minute()
    desk.calls("late")
    desk.minute()
    assert "late" in desk.history.minutes[max(desk.history.minutes)]


def test_a_companys_minutes_come_from_its_own_calls_alone() -> None:
    def of(*, others: bool) -> list[dict[str, object]]:
        desk, found = Desk(), []
        desk.minute()
        for _ in range(3):
            desk.calls()
            if others:
                desk.calls("202")
            desk.minute()
            found.append(desk.history.series("101", 60, desk.room.now))
        return found

    assert of(others=True) == of(others=False)
