"""What is said of edges: how late messages are, how far behind a view is, which edges there are."""

from __future__ import annotations

import orjson
import pytest

from livestate.cluster import wire
from livestate.cluster.edge_counters import EdgeCounters
from livestate.cluster.follower import Follower
from livestate.cluster.heard_engine import HeardEngine
from livestate.cluster.reports import MOST_EDGES, SHOWN_MS, WINDOW_MS, Delay, EdgeReport, Reports
from livestate.state.access import Scope

REPORT = EdgeReport("edge-a", 3, 1, 2, 40, 100, 1, 2, 0)


def beat(as_of: int) -> wire.Beat:
    return wire.Beat(1, "e", True, as_of, None, "", [])


def test_a_late_message_is_late_whatever_the_clocks_say() -> None:
    delay = Delay()
    ahead = 3_600_000  # the engine's clock
    for sent in range(0, 5_000, 500):
        delay.take(sent + ahead, sent + 7)
    assert delay.ms == 0
    delay.take(5_000 + ahead, 5_000 + 1_207)
    assert delay.ms == 1_200


def test_a_clock_that_was_set_is_no_delay_for_ever() -> None:
    delay = Delay()
    delay.take(10_000, 0)
    for now in range(0, 3 * WINDOW_MS, 500):
        delay.take(now, now)  # the engine's clock was set back by ten seconds
    assert delay.ms == 0


def test_an_engine_that_is_silent_leaves_its_edge_behind() -> None:
    engine = HeardEngine(0)
    engine.hear(beat(1_000), 0)
    assert engine.lag_ms(400) == 0
    assert engine.lag_ms(3_000) == 2_500


def test_an_edge_names_the_view_that_is_furthest_behind() -> None:
    here, behind = Follower(Scope(None)), Follower(Scope("acme"))
    behind.newest, behind.lost_since = 4, 1_000
    engine = HeardEngine(0)
    engine.hear(beat(0), 3_000)
    report = EdgeCounters("edge-a", frames=9).report([here, behind], engine, 5, 3_000)
    assert (report.lag_versions, report.lag_ms) == (5, 2_000)
    assert (report.name, report.frames, report.streams, report.views) == ("edge-a", 9, 5, 2)


def test_the_report_comes_with_the_first_list_of_views() -> None:
    companies = [f"c{number}" for number in range(wire.WATCHED_AT_ONCE + 1)]
    first, second = map(wire.decode_watched, wire.encode_watched(companies, REPORT))
    assert first[1] == REPORT
    assert second == (companies[-1:], None)
    (alone,) = map(wire.decode_watched, wire.encode_watched([], REPORT))
    assert alone == ([], REPORT)


@pytest.mark.parametrize(
    "edge", [None, [], {"name": 1}, {"name": "a", "lag_ms": "much"}, {"lag_ms": 1}]
)
def test_a_report_of_another_version_is_none(edge: object) -> None:
    payload = orjson.dumps({"schema": wire.SCHEMA, "companies": [None], "edge": edge})
    assert wire.decode_watched(payload) == ([None], None)


def test_an_edge_that_is_silent_is_listed_no_more() -> None:
    reports = Reports()
    reports.take(REPORT, 0)
    reports.take(REPORT._replace(name="edge-b"), SHOWN_MS)
    assert [one.name for one in reports.current(SHOWN_MS)] == ["edge-a", "edge-b"]
    assert [one.name for one in reports.current(SHOWN_MS + 1)] == ["edge-b"]


def test_edges_with_ever_new_names_take_no_memory() -> None:
    reports = Reports()
    for number in range(MOST_EDGES + 5):
        reports.take(REPORT._replace(name=f"edge-{number}"), 0)
    assert len(reports.current(0)) == MOST_EDGES
