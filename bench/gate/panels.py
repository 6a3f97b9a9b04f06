"""G4: the cost of each panel at 1,000 events a second, in % of a core; at most 2.

A panel's document is made at most once in its interval, for all its readers together
(api/panels/documents.py), and not at all without readers. The gate counts the instructions that
make and compress one on a small network, and scales the part that grows with calls to
:data:`CALLS`::

    % of a core = 100 × instructions of a document ÷ seconds between two ÷ INSTRUCTIONS_A_SECOND

Two parts work all the time: the counts of trunks with each event, and the judging of alarms.
Instructions are exact on any machine, and the constants are stated, so a noisy machine cannot
change the verdict. Only this commit is measured: the limit is absolute.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from bench.gate.rows import Row, judged
from bench.hot_paths import Work, _events
from bench.workload import Message

MESSAGES: Final = 800  # of the seeded day: 300 calls
LIMIT_PERCENT: Final = 2.0
# A core of 3 GHz does 6 × 10⁹ of these in a second at best: CPython's code takes half a cycle each.
INSTRUCTIONS_A_SECOND: Final = 4e9
EVENTS_A_SECOND: Final = 1_000
# The simulated network at that rate: 275 calls begin in a second, 10,000 are up, and 82,000 ended
# in the five minutes that panels read.
CALLS: Final = 92_000
# A network of 100 trunks, 500 companies and 20 nodes: a tenth of it is measured.
TENTHS: Final = 10
TRUNKS: Final = 10
COMPANIES: Final = 50
NODES: Final = 2
START: Final = 1_795_000_000_000


class Panel(NamedTuple):
    """``make(day)``: the work; ``units``: how many units of it are done every ``seconds``."""

    make: Callable[[list[Message]], Work]
    units: float
    seconds: float


def finished(made: Any) -> Any:
    """The result of a coroutine that waits for nothing: slices end by a clock that stands still."""
    try:
        made.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a document waits")


def _still() -> None:
    from api.panels import documents, ended

    still = SimpleNamespace(perf_counter=lambda: 0.0)
    vars(documents)["time"] = vars(ended)["time"] = still


def _document(make: Callable[[Any], Any], units: int, unit: str, **wanted: Any) -> Work:
    from api.panels.documents import GZIP_LEVEL, Wanted

    _still()
    asked = Wanted(None, **wanted)
    return Work(lambda: gzip.compress(finished(make(asked)), GZIP_LEVEL, mtime=0), units, unit)


@cache
def _numbering() -> Any:
    from api.panels import numbering

    found = numbering.Numbering("IT")
    found._library = numbering._import()
    return found


_fed: list[tuple[Any, Any, int]] = []


def _table(day: list[Message]) -> tuple[Any, Any, int]:
    """A table and its figures after a day, with the window of a network; and the time then. Made
    once: documents only read."""
    from livestate.state.active_calls import ActiveCalls
    from livestate.state.kpi.kpis import Kpis

    if not _fed:
        now = START
        table, kpis = ActiveCalls(secret=b"x" * 16, epoch="bench"), Kpis(lambda: now)
        for event in _events(day):
            now = event.ts
            change = table.apply(event, event.ts)
            if change is not None:
                kpis.on_change(change)
        _fill_window(kpis, now)
        _fed.append((table, kpis, now))
    return _fed[0]


def destinations(day: list[Message]) -> Work:
    from api.panels.destinations import DestinationDocuments

    table, _, now = _table(day)
    make = DestinationDocuments(table, _numbering(), lambda: now).make
    return _document(make, len(table.calls), "call")


def hints(day: list[Message]) -> Work:
    from api.panels.hints import HintDocuments
    from livestate.state.kpi.countries import Countries
    from livestate.state.kpi.hints import parse

    table, _, now = _table(day)
    seen = Countries()
    make = HintDocuments(
        table,
        _numbering(),
        parse(""),
        lambda: now,
        frozenset({"CU", "SO"}),
        lambda company, country: seen.is_new(company, country, now),
    ).make
    return _document(make, len(table.calls), "call")


def ended(day: list[Message]) -> Work:
    from api.panels.ended import MOST_SHOWN, EndedDocuments

    table, _, now = _table(day)
    make = EndedDocuments(table, lambda: now, lambda: now).make
    rows = sum(not call.live for call in table.calls.values())
    return _document(make, min(rows, MOST_SHOWN), "row")


def _fill_window(kpis: Any, now: int) -> None:
    """The window of a network: each trunk and company has counts in each half minute."""
    from livestate.state.kpi.trunk_window import PLACES, Bucket, Trunks
    from livestate.state.kpi.window import BUCKET_MS, BUCKETS
    from livestate.state.kpi.window import Bucket as Calls

    for at in range(now // BUCKET_MS - BUCKETS + 1, now // BUCKET_MS + 1):
        bucket = Bucket(at)
        for number in range(TRUNKS):
            _fill(bucket.everything, number, PLACES)
        for number in range(COMPANIES):
            own = bucket.companies[f"company-{number}"] = Trunks()
            _fill(own, number % TRUNKS, PLACES)
            calls = Calls(at)
            calls.offered, calls.answered, calls.effective, calls.delays = 9, 6, 8, {40: 5, 80: 1}
            kpis.scope(f"company-{number}").buckets.append(calls)
        kpis.trunk_window.restore(bucket)
    kpis.started_at(now - 3_600_000)


def _fill(trunks: Any, number: int, places: int) -> None:
    counts = trunks.counts_of(f"carrier-{number}")
    for place in range(places):
        counts[place] = 90 - place
    trunks.codes[f"carrier-{number}"] = {"486": 7, "503": 1 + number % 5, "404": 2}


def trunks(day: list[Message]) -> Work:
    from api.panels.trunk_file import TrunkFile
    from api.panels.trunks import TrunkDocuments

    _, kpis, now = _table(day)
    make = TrunkDocuments(kpis, TrunkFile(None, lambda trunks: None), lambda: now).make

    def first(wanted: Any) -> Any:
        """The dearest document of half a minute: later ones use the sums of the first."""
        kpis.trunk_window.summed_at = -1
        return make(wanted)

    return _document(first, 1, "tenth")


def companies(day: list[Message]) -> Work:
    from api.panels.companies import CompanyDocuments

    _, kpis, now = _table(day)
    return _document(CompanyDocuments(kpis, lambda: now).make, 1, "tenth")


def nodes(day: list[Message]) -> Work:
    from api.panels.nodes import NodeDocuments
    from livestate.state.nodes.clock_offset import NodeClocks
    from livestate.state.nodes.registry import Nodes

    table, _, now = _table(day)
    known = Nodes(stale_after=6_000)
    for number in range(NODES):
        known.restore(f"kam-{number}", 1, 1, now)
    make = NodeDocuments(
        table, known, NodeClocks(), lambda at: (), clock=lambda: now, steady=lambda: now
    ).make
    return _document(make, 1, "tenth")


def history(day: list[Message]) -> Work:
    from api.panels.history import HistoryDocuments
    from livestate.state.alarms.board import Board
    from livestate.state.kpi.history import History

    make = HistoryDocuments(History(), Board(), lambda: START).make
    return _document(make, 1, "document", code="day")


def alarms(day: list[Message]) -> Work:
    """One judging of all figures, with the rules of companies on."""
    from livestate.state.alarms.board import Board
    from livestate.state.alarms.readings import Readings
    from livestate.state.kpi.trunk_report import TrunkInfo
    from livestate.state.nodes.registry import Nodes
    from livestate.state.source import Source

    _, kpis, now = _table(day)
    board, readings = Board(), Readings(kpis, Nodes(stale_after=6_000))
    info = {f"carrier-{number}": TrunkInfo(100) for number in range(TRUNKS)}

    def run() -> None:
        for step in readings.steps(board.rules, info, Source(), now):
            if step is not None:
                board.update(*step, now)
        board.finish(now, blind=False)

    return Work(run, 1, "tenth")


def counting(day: list[Message]) -> Work:
    """What each event costs because trunks are counted, whether a page is open or not."""
    from livestate.state.active_calls import ActiveCalls
    from livestate.state.kpi.trunk_window import TrunkWindow
    from livestate.state.kpi.window import Ending

    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    events = _events(day)
    changes = [(change, event.ts) for event in events if (change := table.apply(event, event.ts))]

    def run() -> None:
        window = TrunkWindow()
        for (before, after, _), now in changes:
            ending = None if after.live or after.lost else Ending(after)
            window.count(before, after, ending, now)

    return Work(run, len(events), "event")


def _panels() -> Iterator[tuple[str, Panel]]:
    from api.panels.alarm_watch import EVERY_SECONDS
    from api.panels.documents import FRESH_SECONDS, SLOWER
    from api.panels.ended import MOST_SHOWN

    units: dict[Callable[[list[Message]], Work], int] = {
        trunks: TENTHS, companies: TENTHS, nodes: TENTHS, history: 1, ended: MOST_SHOWN,
        destinations: CALLS, hints: CALLS,
    }  # fmt: skip
    for make, number in units.items():
        yield make.__name__, Panel(make, number, SLOWER.get(make.__name__, FRESH_SECONDS))
    yield "alarms", Panel(alarms, TENTHS, EVERY_SECONDS)
    yield "counting", Panel(counting, EVENTS_A_SECOND, 1.0)


PANELS: Final[Mapping[str, Panel]] = dict(_panels())


def row(name: str, instructions: float) -> Row:
    """``instructions`` of one unit."""
    panel = PANELS[name]
    percent = 100 * instructions * panel.units / panel.seconds / INSTRUCTIONS_A_SECOND
    return judged(
        Row(f"G4 {name}", LIMIT_PERCENT, percent, "% of a core (base: the limit)"), 1.0, 1.0
    )
