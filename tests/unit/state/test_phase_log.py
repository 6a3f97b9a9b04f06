"""The packed phase log of a call against a list of named tuples that is sorted anew each time."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.phase_log import (
    EMPTY,
    PhaseRecord,
    each_record,
    first_at,
    has_phase,
    last_at,
    log_of,
    numbers_in,
    records_of,
    state_after,
    with_record,
    without,
)
from livestate.state.position import position_at, unpack
from livestate.state.transitions import FIRST_COUNTS, STEPS, TRANSITIONS, Phase
from tests.examples import examples

MOST = 2**53 - 1  # of an epoch, a number and a time, in the contract
NUMBERS = st.sampled_from([0, 1, 2, 255, 256, MOST - 1, MOST])
POSITIONS = st.builds(position_at, NUMBERS, NUMBERS, st.booleans())
PHASES: st.SearchStrategy[Phase] = st.sampled_from(get_args(Phase))
RECORDS = st.lists(st.builds(PhaseRecord, POSITIONS, PHASES, NUMBERS), max_size=14)


def counted(records: list[PhaseRecord]) -> list[PhaseRecord]:
    """Of each phase the last record, of an answer and an end the first; by position."""
    kept: dict[str, PhaseRecord] = {}
    for record in records:
        known = kept.get(record.phase)
        if known is None or (
            record.position < known.position
            if record.phase in FIRST_COUNTS
            else record.position > known.position
        ):
            kept[record.phase] = record
    return sorted(kept.values())


@settings(max_examples=examples(400), deadline=None)
@given(RECORDS)
def test_a_log_holds_what_a_sorted_list_holds(records: list[PhaseRecord]) -> None:
    log = EMPTY
    for record in records:
        more = with_record(log, log_of(*record))
        assert (more == log) == (more is log), "the same object if the record does not count"
        log = more
    wanted = counted(records)
    assert list(records_of(log)) == wanted
    assert numbers_in(log) == [(unpack(one.position), one.phase, one.at) for one in wanted]
    assert b"".join(each_record(log)) == log
    for phase in get_args(Phase):
        assert has_phase(log, phase) == any(one.phase == phase for one in wanted)
        left = [one for one in wanted if one.phase != phase]
        assert list(records_of(without(log, phase))) == left
    if wanted:
        assert (first_at(log), last_at(log)) == (wanted[0].at, wanted[-1].at)


@settings(max_examples=examples(400), deadline=None)
@given(RECORDS)
def test_the_state_is_where_the_table_leads(records: list[PhaseRecord]) -> None:
    log, state = EMPTY, "trying"
    for record in records:
        log = with_record(log, log_of(*record))
    wanted = records_of(log)
    for record in wanted:
        state = STEPS[state][record.phase]  # type: ignore[index]
    if wanted and wanted[-1].phase == "lost":
        state = TRANSITIONS[state].get("lost", state)  # type: ignore[index]
    assert state_after(log) == state
    assert state_after(log) == state, "also where it is known"


def test_three_phases_take_112_bytes() -> None:
    log = EMPTY
    for number, phase in enumerate(("setup", "ringing", "answered"), 1):
        log = with_record(log, log_of(position_at(MOST, number), phase, MOST))  # type: ignore[arg-type]
    assert log.__sizeof__() <= 112
