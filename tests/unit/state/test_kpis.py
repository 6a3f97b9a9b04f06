"""Figures of a real Kamailio's calls against reference figures, and what no figure may tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.devtools.replay import read
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.scope_kpis import live_counts
from livestate.state.kpi.window import BUCKET_MS, WINDOW_MS
from livestate.state.nodes.registry import Nodes
from livestate.state.position import position_at
from tests.calls import CAPTURES, START, event

OnChange = Callable[[Change], object]


class Room:
    """A table with its figures, and a clock to turn."""

    def __init__(self, now: int = START, on_change: OnChange | None = None) -> None:
        """``on_change`` is called for each change that the figures are not told of."""
        self.now = now
        self._on_change = on_change
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.kpis = Kpis(lambda: self.now)
        self.pipeline = Pipeline(
            self.table, Nodes(stale_after=6_000), (self.kpis,), clock=lambda: self.now
        )
        self._seq = 0

    def say(self, phase: str, dialog: str, **fields: Any) -> None:
        self._seq += 1
        known = {"dialog": dialog, "call_id": dialog, "company_id": "101", "ts": self.now}
        fields = known | fields
        change = self.table.apply(event(phase, self._seq, **fields), self.now)
        if change is not None:
            (self._on_change or self.kpis.on_change)(change)

    def of(self, company: str | None = None) -> dict[str, Any]:
        return self.kpis.figures(company)


@pytest.fixture(scope="module")
def lived_again() -> tuple[Room, dict[str, int]]:
    """The capture, message for message when it came; and the peaks that were seen on the way."""
    text = (CAPTURES / "capture-small.jsonl").read_text(errors="replace")
    feed = KamailioFeed()
    room = Room(0)
    peaks = {"live": 0, "answered": 0}
    for arrival, frame in read(text.splitlines()):
        room.now = arrival
        for out in feed.feed(frame):
            room.pipeline.handle(out.subject, orjson.dumps(out.message))
        peaks["live"] = max(peaks["live"], room.of()["concurrent"])
        peaks["answered"] = max(peaks["answered"], room.of()["answered"] + room.of()["held"])
    return room, peaks


REFERENCE = orjson.loads((CAPTURES / "capture-small.kpi.json").read_bytes())


@pytest.mark.parametrize("company", [None, "101", "202", "303"])
def test_the_figures_of_a_real_capture_are_the_reference_figures(
    lived_again: tuple[Room, dict[str, int]], company: str | None
) -> None:
    figures = lived_again[0].of(company)
    wanted = REFERENCE["all"] if company is None else REFERENCE["company_id"][company]
    assert figures["offered"] == wanted["offered"]
    assert figures["completed"] == wanted["completed"]
    assert figures["asr"] == wanted["ASR"]
    assert figures["ner"] == wanted["NER"]
    assert figures["acd_seconds"] == pytest.approx(wanted["ACD_s"], abs=0.02)
    assert figures["pdd_ms"] == pytest.approx(wanted["PDD_ms_mean"], abs=1)
    assert figures["pdd_p50_ms"] == pytest.approx(wanted["PDD_ms_p50"], rel=0.02)
    assert figures["pdd_p95_ms"] == pytest.approx(wanted["PDD_ms_p95"], rel=0.02)
    assert figures["concurrent"] == figures["lost"] == 0


def test_every_attempt_on_a_trunk_is_a_seizure(lived_again: tuple[Room, dict[str, int]]) -> None:
    found = {name: (seized, asr) for name, _, _, seized, asr in lived_again[0].of()["trunks"]}
    assert found == {
        name: (wanted["seizures"], wanted["ASR"]) for name, wanted in REFERENCE["trunk"].items()
    }


def test_the_peaks_of_a_real_capture_are_the_reference_peaks(
    lived_again: tuple[Room, dict[str, int]],
) -> None:
    room, peaks = lived_again
    figures = room.of()
    assert figures["concurrent_peak"] == peaks["live"] == REFERENCE["peak_live"]
    assert peaks["answered"] == REFERENCE["peak_answered"]
    # The reference counts a call that the proxy refused; a busiest second may lie elsewhere.
    assert figures["cps_peak"] == pytest.approx(REFERENCE["peak_cps_1s"], abs=1)
    by_company = {name: (now, peak) for name, now, peak in figures["companies"]}
    assert set(by_company) == {"101", "202", "303"}
    for company, (now, peak) in by_company.items():
        assert (now, peak) == (0, room.of(company)["concurrent_peak"])


def test_nothing_that_was_not_measured_is_a_figure() -> None:
    figures = Room().of("nobody")
    for name in ("asr", "ner", "acd_seconds", "pdd_ms", "pdd_p50_ms", "pdd_p95_ms"):
        assert figures[name] is None
    assert figures["longest_since"] is None
    assert set(figures["series"]["asr"]) == {None}
    for name in ("concurrent", "cps"):  # nor was anything counted before the start
        assert set(figures["series"][name][:-1]) == {None}
        assert figures["series"][name][-1] == 0


def test_a_call_leaves_the_window_a_quarter_of_an_hour_after_it_ended() -> None:
    room = Room()
    room.say("setup", "1")
    room.say("failed", "1", outcome="busy")
    room.now += WINDOW_MS - BUCKET_MS
    assert (room.of()["offered"], room.of()["ner"]) == (1, 100.0)
    room.now += 2 * BUCKET_MS
    assert (room.of()["offered"], room.of()["ner"]) == (0, None)


def test_what_the_proxy_refused_was_never_offered() -> None:
    room = Room()
    room.say("setup", "1")
    room.say("failed", "1", outcome="rejected_local")
    assert room.of()["offered"] == 0


@pytest.mark.parametrize("end", [{"outcome": "busy"}, {}])
def test_a_lost_call_counts_once_its_end_arrives(end: dict[str, str]) -> None:
    room = Room()
    room.say("setup", "1", setup_at=START)
    for change in room.table.sweeps.close_missing("n1", position_at(1, 5), set(), room.now):
        room.kpis.on_change(change)
    assert (room.of()["offered"], room.of()["lost"], room.of()["concurrent"]) == (0, 1, 0)
    for _ in range(2):
        room.say("failed", "1", **end)
        assert (room.of()["offered"], room.of()["lost"], room.of()["concurrent"]) == (1, 1, 0)


def test_the_longest_call_is_the_one_that_talks_for_longest() -> None:
    room = Room()
    for number in range(200):
        room.say("answered", str(number), setup_at=START, answered_at=START + number)
    assert room.of()["longest_since"] == START
    for number in range(150):
        room.say("hold", str(number))
        room.say("ended", str(number), outcome="answered")
    assert room.of("101")["longest_since"] == room.of()["longest_since"] == START + 150


def test_a_call_that_moves_takes_its_figures_along() -> None:
    room = Room()
    room.say("answered", "1", answered_at=START, trunk="gw-a")
    room.say("transfer", "1", company_id="102")
    assert (room.of("101")["concurrent"], room.of("102")["concurrent"]) == (0, 1)
    assert room.of("101")["longest_since"] is None
    assert room.of("102")["longest_since"] == START
    room.say("ended", "1", company_id="102", outcome="answered", ended_at=START + 60_000)
    assert (room.of("101")["offered"], room.of("102")["acd_seconds"]) == (0, 60.0)
    assert room.of()["offered"] == 1


def test_the_peak_is_the_days_and_begins_with_what_is_up() -> None:
    room = Room()
    for number in range(3):
        room.say("setup", str(number))
    room.say("ended", "1")
    assert (room.of()["concurrent"], room.of()["concurrent_peak"]) == (2, 3)
    room.now += 86_400_000
    assert room.of()["concurrent_peak"] == 2
    room.say("ended", "2")
    assert (room.of()["concurrent"], room.of()["concurrent_peak"]) == (1, 2)


def test_a_quiet_company_keeps_the_peak_of_today() -> None:
    room = Room(now=START // 86_400_000 * 86_400_000 - 60_000)  # a minute before midnight UTC
    room.now += 120_000
    room.say("setup", "1")
    room.say("setup", "1", company_id="102")  # it leaves the company at once
    room.now += WINDOW_MS + 2 * BUCKET_MS
    figures = room.of("101")
    assert (figures["concurrent"], figures["concurrent_peak"], figures["cps_peak"]) == (0, 1, 1)


def test_calls_taken_back_are_up_but_do_not_begin() -> None:
    before, room = Room(), Room()
    before.say("answered", "1", answered_at=START, trunk="gw-a")
    room.kpis.restore(live_counts(before.table.calls.values()))
    figures = room.of("101")
    assert (figures["concurrent"], figures["answered"], figures["cps_peak"]) == (1, 1, 0)
    assert figures["trunks"] == [("gw-a", 1, 1, 0, None)]


def test_calls_that_change_while_a_table_is_exchanged_count_once() -> None:
    """The figures were counted in a thread; meanwhile calls began, moved, and ended."""
    changes: list[Change] = []
    room, other = Room(), Room(on_change=changes.append)
    for number in range(8):
        room.say("answered", str(number), answered_at=START + number, trunk=f"gw-{number % 2}")
    counted = live_counts(room.table.calls.values())
    other.table, other._seq = room.table, room._seq
    other.say("hold", "1")
    other.say("transfer", "2", company_id="102", trunk="gw-0")
    other.say("ended", "3", outcome="answered", ended_at=START + 9_000)
    other.say("ended", "0", outcome="answered", ended_at=START + 9_000)
    other.say("setup", "8", company_id=None)
    kpis = Kpis(lambda: START)
    kpis.replace(counted, changes)
    fresh = Kpis(lambda: START)
    fresh.restore(live_counts(room.table.calls.values()))
    for scope in (None, "101", "102"):
        figures, wanted = kpis.figures(scope), fresh.figures(scope)
        for peak in ("concurrent_peak", "trunks", "companies"):  # those of before count too
            peaks = figures.pop(peak, None), wanted.pop(peak, None)
            if peak != "concurrent_peak":
                now = [sorted((name, up) for name, up, *_ in each or () if up) for each in peaks]
                assert now[0] == now[1]
        assert figures == wanted
        assert figures["offered"] == 0, "nothing ends by an exchange"


def test_a_company_gets_no_change_of_other_calls() -> None:
    quiet, busy = Room(), Room()
    for room in (quiet, busy):
        room.say("answered", "1", setup_at=START, answered_at=START + 500, trunk="gw-a")
        room.say("ended", "1", outcome="answered", ended_at=START + 9_000)
        room.say("ringing", "2", trunk="gw-b")
    for number in range(50):
        busy.say("answered", f"x{number}", company_id="102", trunk="gw-a", answered_at=START)
        busy.say("ended", f"x{number}", company_id="102", outcome="answered")
    assert orjson.dumps(quiet.of("101")) == orjson.dumps(busy.of("101"))
    assert "companies" not in busy.of("101")
    assert b"102" not in orjson.dumps(busy.of("101"))
