"""Which countries a company calls: new ones, no hint without history, bounded, edited values."""

from __future__ import annotations

import pytest

from livestate.state.kpi import countries
from livestate.state.kpi.countries import COLD_HOURS, HISTORY_HOURS, HOUR_MS, Countries

HOUR = 490_000
NOW = HOUR * HOUR_MS


def known(hours: int = COLD_HOURS) -> Countries:
    """Company 101 has called Italy for so long."""
    seen = Countries()
    for hour in range(hours + 1):
        seen.note("101", "IT", NOW - (hours - hour) * HOUR_MS)
    return seen


def test_a_country_is_new_for_an_hour_or_two_and_never_without_history() -> None:
    seen, cold = known(), known(COLD_HOURS - 1)
    for one in (seen, cold):
        one.note("101", "CU", NOW)
        one.note("202", "CU", NOW)
    assert seen.is_new("101", "CU", NOW + HOUR_MS)
    assert not seen.is_new("101", "CU", NOW + 2 * HOUR_MS)
    assert not seen.is_new("101", "IT", NOW)
    assert not seen.is_new("101", "FR", NOW), "it was not called"
    assert not cold.is_new("101", "CU", NOW), "the company is not known for a day"
    assert not seen.is_new("202", "CU", NOW), "another company's history is not its own"


def test_calls_without_a_company_are_those_of_the_network() -> None:
    seen = Countries()
    seen.note(None, "IT", NOW - COLD_HOURS * HOUR_MS)
    seen.note(None, "CU", NOW)
    assert seen.is_new(None, "CU", NOW)


def test_a_country_that_was_not_called_for_a_week_is_new_again() -> None:
    seen = known()
    seen.note("101", "CU", NOW)
    later = NOW + (HISTORY_HOURS + 1) * HOUR_MS
    seen.note("101", "IT", later)
    seen.prune(later)
    seen.note("101", "CU", later)
    assert seen.is_new("101", "CU", later)
    seen.prune(later + (HISTORY_HOURS + 2) * HOUR_MS)
    assert (list(seen.names()), seen._count) == ([], 0)


def test_a_clock_that_was_set_back_changes_nothing() -> None:
    seen = known()
    seen.note("101", "IT", NOW - 5 * HOUR_MS)
    assert seen.record("101") == known().record("101")


def test_companies_without_room_get_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(countries, "MOST", 2)
    seen = known()
    seen.note("101", "FR", NOW)
    seen.note("101", "CU", NOW)
    seen.note("202", "CU", NOW)
    assert not seen.is_new("101", "CU", NOW)
    assert list(seen.names()) == ["101"]
    seen.restore("303", {"since": HOUR, "countries": {"IT": [HOUR, HOUR]}}, NOW)
    assert list(seen.names()) == ["101"]


def test_what_was_stored_is_added_to_what_was_seen_since() -> None:
    before, after = known(), Countries()
    after.note("101", "CU", NOW)
    after.restore("101", before.record("101"), NOW)
    assert after.is_new("101", "CU", NOW)
    assert after._count == 2


@pytest.mark.parametrize("stored", [
    None, [], {}, {"since": HOUR}, {"since": "x", "countries": {"IT": [HOUR, HOUR]}},
    {"since": HOUR + 9, "countries": {"IT": [HOUR, HOUR]}}, {"since": HOUR, "countries": []},
    {"since": HOUR, "countries": {"IT": HOUR, "XXX": [HOUR, HOUR], "FR": [HOUR], "DE": [1, HOUR+9],
                                  "ES": [HOUR, HOUR - 1], "CH": [True, HOUR], "AT": [1, 2]}},
])  # fmt: skip
def test_edited_values_are_left_out(stored: object) -> None:
    seen = Countries()
    seen.restore("101", stored, NOW)
    assert (list(seen.names()), seen._count) == ([], 0)
