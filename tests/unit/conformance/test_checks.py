"""The judgement of a conformance run on streams that are made by hand, and its reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner

from api.cli import main
from livestate.conformance.checks import judge
from livestate.conformance.evidence import Evidence, Login
from livestate.conformance.observation import Observation, Seen
from livestate.conformance.result import Result, exit_code, junit, table

HEAD = b'retry: 1000\nevent: snapshot\nid: e-1\ndata: {"part":1}\n\n'
Spoil = Callable[[Observation], object]


def snapshot(**fields: Any) -> dict[str, Any]:
    calls = {"a": {"state": "held", "v": 1, "company_id": "101"}}
    return {"part": 1, "parts": 1, "as_of": 0, "calls": calls} | fields


def observation() -> Observation:
    """A stream of 8 s without a fault: a snapshot, two diffs, three heartbeats."""
    made = Observation("url", {}, status=200, head=HEAD)
    for number, (name, position, data) in enumerate((
        ("snapshot", "e-1", snapshot()),
        ("heartbeat", "e-1", {"source": "live", "version": 1}),
        ("diff", "e-2", {"calls": {"b": {"state": "held", "v": 2, "company_id": "101"}}}),
        ("heartbeat", "e-2", {"source": "live", "version": 2}),
        ("diff", "e-3", {"calls": {"a": None}}),
        ("heartbeat", "e-3", {"source": "stale", "stale_since": 5, "version": 3}),
    )):  # fmt: skip
        add(made, name, position, {"as_of": number * 2_000} | data, number * 2.0)
    return made


def add(to: Observation, name: str, position: str, data: dict[str, Any], at: float) -> None:
    to.fold.apply(name, data, position)
    to.agreements += name == "heartbeat"
    to.events.append(Seen(name, position, data, at, at * 1000, 100))


def judged(stream: Observation) -> dict[str, Result]:
    login = Login("token", {"role": "user", "company_id": "101"}, plain=stream)
    results = judge(Evidence("https://noc.example", login, None, 10.0))
    return {one.title: one for one in results}


def test_a_stream_without_a_fault_is_kept_in_all_checks_of_streams() -> None:
    outcomes = {one.outcome for one in judged(observation()).values() if one.promise in "JSL"}
    assert outcomes <= {"kept", "not measured", "skipped"}
    assert judged(observation())["no event comes more than 1 s late"].outcome == "kept"


def later(stream: Observation, number: int, seconds: float) -> None:
    """Everything from this event on comes later."""
    stream.events[number:] = [
        one._replace(at=one.at + seconds) if hasattr(one, "_replace") else
        Seen(one.name, one.id, one.data, one.at + seconds, one.wall_ms + seconds * 1000, 100)
        for one in stream.events[number:]
    ]  # fmt: skip


def together(stream: Observation) -> None:
    """Everything arrives at once, at the end."""
    stream.events[:] = [Seen(one.name, one.id, one.data, 11.0, 11_000, 100)
                        for one in stream.events]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "promise", "title"),
    [
        (lambda s: s.disagreements.append("5 calls"), "V", "count and digest"),
        (lambda s: s.differences.append("state"), "V", "same records"),
        (lambda s: s.garbage.append("{"), "V", "flat"),
        (lambda s: later(s, 4, 2.0), "V", "late"),
        (lambda s: s.events.pop(0), "J", "begins with a whole snapshot"),
        (lambda s: s.events.pop(2), "J", "versions only rise"),
        (lambda s: s.events.append(s.events[2]), "J", "versions only rise"),
        (lambda s: s.events[2].data.update(part=2, parts=2), "J", "no part"),
        (lambda s: later(s, 3, 11.0), "S", "heartbeats come"),
        (lambda s: s.events[5].data.pop("stale_since"), "S", "heartbeats come"),
        (together, "S", "holds the stream back"),
        (lambda s: s.events.clear(), "S", "holds the stream back"),
        (lambda s: setattr(s, "head", HEAD.replace(b"event: s", b"\nevent: s")), "E", "retry"),
        (lambda s: setattr(s, "head", HEAD[12:]), "E", "retry"),
        (lambda s: setattr(s, "ended", "the response ended"), "E", "goodbye"),
        (lambda s: s.events[2].data["calls"]["b"].update(company_id="102"), "L", "own calls"),
    ],
)  # fmt: skip
def test_a_fault_breaks_the_check_that_is_for_it(spoil: Spoil, promise: str, title: str) -> None:
    stream = observation()
    spoil(stream)
    (found,) = [one for one in judged(stream).values() if title in one.title]
    assert (found.promise, found.outcome) == (promise, "broken")
    assert found.detail


def test_a_record_that_differs_at_one_version_is_found() -> None:
    stream = observation()
    stream.compare({"id": "e-9", "calls": {"b": {"state": "answered", "v": 2}}})
    assert "state is 'held' on the stream and 'answered'" in stream.differences[0]
    stream = observation()
    stream.compare({"id": "e-9", "calls": {"b": {"state": "answered", "v": 7}}})
    assert stream.differences == []  # another moment
    stream.compare({"id": "e-3", "calls": {}})
    assert "0 calls of the snapshot are not on the stream, 1 only there" in stream.differences[0]


def test_results_are_a_table_an_exit_code_and_junit() -> None:
    kept, skipped = Result("V", "one", "kept"), Result("L", "two", "skipped", "no token")
    unmeasured, broken = (
        Result("S", "three", "not measured", "?"),
        Result("E", "four", "broken", "<"),
    )
    assert exit_code([kept, skipped]) == 0
    assert exit_code([kept, unmeasured]) == 3
    assert exit_code([kept, unmeasured, broken]) == 1
    suite = Xml.fromstring(junit([kept, skipped, unmeasured, broken], "https://noc.example"))
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["4", "1", "1", "1"]
    assert "no token" in "\n".join(table([kept, skipped]))


def test_a_service_that_cannot_be_reached_exits_with_three() -> None:
    found = CliRunner().invoke(main, ["conformance", "http://127.0.0.1:1", "--token", "x"])
    assert found.exit_code == 3
    assert "could not be measured" in found.output
