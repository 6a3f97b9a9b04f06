"""The load test's own parts: what a watcher catches, and what a verdict says."""

from __future__ import annotations

import gzip
import json
import zlib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import sse
from livestate.access import Scope
from loadtest import planted, report, tale, verdict
from loadtest.ledger import Ledger, beyond, percentiles
from loadtest.outcome import judged
from loadtest.profiles import profile
from loadtest.watcher import Watcher, differences
from loadtest.wire import Answer, BadAnswer

TAG = "0123456789abcdef"
START = 1_795_000_000_000
STREAMS = json.loads((Path(__file__).parent / "vectors" / "sse.json").read_text())


# -- the wire ------------------------------------------------------------------------------


def answer(*pieces: bytes, encoding: str = "") -> bytes:
    """A chunked answer of the service."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    if encoding:
        head += f"Content-Encoding: {encoding}\r\n".encode()
    chunks = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"".join([head, b"\r\n", *chunks, b"0\r\n\r\n"])


@given(st.lists(st.integers(1, 50), max_size=60), st.sampled_from(["", "gzip"]))
def test_an_answer_does_not_depend_on_how_its_bytes_were_cut(
    cuts: list[int], encoding: str
) -> None:
    pieces = [stream["bytes"].encode() for stream in STREAMS]
    sent = pieces
    if encoding:
        packer = zlib.compressobj(wbits=31)
        sent = [packer.compress(one) + packer.flush(zlib.Z_FULL_FLUSH) for one in pieces]
    raw = answer(*sent, encoding=encoding)
    found, reading, at = b"", Answer(), 0
    for cut in [*cuts, len(raw)]:
        found += reading.feed(raw[at : at + cut])
        at += cut
    assert found == b"".join(pieces)
    assert (reading.status, reading.over, reading.received) == (200, True, len(raw))


def test_an_answer_with_a_length_ends_there() -> None:
    body = gzip.compress(b"{}")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    reading = Answer()
    assert reading.feed(head + body) == b"{}"
    assert reading.over


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n\r\n", answer()[:-5] + b"zz\r\n\r\n"])
def test_what_is_no_http_is_an_error(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answer().feed(raw)


# -- what a watcher catches ----------------------------------------------------------------


class Service:
    """Writes a stream to a watcher, right or wrong."""

    def __init__(self, scope: Scope | None = None) -> None:
        self.ledger = Ledger()
        self.watcher = Watcher("Dashboard", scope or Scope(), self.ledger)
        self.watcher.connecting(START * 1000)
        self.watcher.feed(answer()[:-5], START * 1000)

    def say(self, name: str, data: dict[str, Any], version: int | None = None,
            late_ms: int = 0) -> None:  # fmt: skip
        position = None if version is None else sse.Position(TAG, version)
        event = sse.event(name, orjson.dumps(data), position)
        self.watcher.feed(b"%x\r\n%b\r\n" % (len(event), event), (START + late_ms) * 1000)

    def begin(self, **calls: dict[str, Any]) -> None:
        version = max((call["v"] for call in calls.values()), default=0)
        self.say("snapshot", {"part": 1, "parts": 1, "calls": calls}, version)

    def beat(self, version: int, calls: int, digest: int) -> None:
        self.say("heartbeat", {"source": "live", "version": version, "calls": calls,
                               "digest": digest})  # fmt: skip

    def found(self, what: str) -> int:
        return self.ledger.counts[what]

    @property
    def wrong(self) -> int:
        return sum(self.found(one) for one in ("gaps", "duplicates", "divergence", "foreign"))


def call(version: int, letters: str = "s", company: str = "101", **facts: Any) -> dict[str, Any]:
    """A record whose tale has these letters, a second apart."""
    told = [(letter, START + 1000 * n) for n, letter in enumerate(letters)]
    story = tale.read(tale.told(told))
    assert story is not None
    record = {"node": "n", "company_id": company, "detail": tale.told(told), "v": version}
    return record | story.must_have | facts


def change(version: int, letters: str) -> dict[str, Any]:
    """What a diff says of the last letter."""
    whole = call(version, letters)
    kept = {"detail", "state", "v"} | ({"answered_at"} if letters[-1] == "a" else set())
    return {name: one for name, one in whole.items() if name in kept}


def test_a_right_stream_is_found_right() -> None:
    service = Service()
    service.begin(a=call(3), b=call(4, "sr"))
    service.say("diff", {"calls": {"b": change(5, "sra")}}, 5)
    service.say("diff", {"calls": {"a": None}, "ended": {"a": {"ended_at": START}}}, 6)
    service.beat(6, 1, 5)
    assert service.wrong == 0
    assert differences(service.watcher.dashboard.calls, {"b": call(5, "sra")}) == []


def test_a_lost_diff_is_a_divergence_at_the_next_heartbeat() -> None:
    service = Service()
    service.begin(a=call(3))
    service.beat(4, 1, 4)
    assert service.found("divergence") == 1


def test_a_lost_diff_is_a_gap_at_the_next_change_of_its_call() -> None:
    service = Service()
    service.begin(a=call(3, "sr"))
    service.say("diff", {"calls": {"a": change(5, "srah")}}, 5)  # the answer was lost
    service.beat(5, 1, 5)  # and the digest knows nothing of it
    assert (service.found("gaps"), service.found("divergence")) == (1, 0)


def test_a_change_of_a_call_that_was_never_added_is_a_gap() -> None:
    service = Service()
    service.begin()
    service.say("diff", {"calls": {"a": change(5, "sr")}}, 5)
    assert service.found("gaps") == 1


def test_a_diff_that_does_not_go_forward_is_a_duplicate() -> None:
    service = Service()
    service.begin(a=call(3))
    for _ in range(2):
        service.say("diff", {"calls": {"a": change(5, "sr")}}, 5)
    assert service.found("duplicates") == 1


@pytest.mark.parametrize("scope", [Scope(company_id="101"), Scope(trunks=frozenset({"gw"})),
                                   Scope(states=frozenset({"held"}))])  # fmt: skip
def test_a_call_of_another_scope_is_foreign(scope: Scope) -> None:
    service = Service(scope)
    service.begin(a=call(1, "sah", trunk="gw"), b=call(2, "sa", company="102"))
    assert service.found("foreign") == 1


def test_the_clock_of_each_event_starts_when_it_was_scheduled() -> None:
    service = Service()
    service.begin(a=call(1))
    service.say("diff", {"calls": {"a": change(3, "sra")}}, 3, late_ms=2_005)
    service.ledger.settle()
    found = service.ledger.histograms["receive"]
    assert found.get_total_count() == 2  # of two that share a frame, each has its own
    assert found.get_max_value() == pytest.approx(1_005_000, rel=0.01)
    assert found.get_min_value() == pytest.approx(5_000, rel=0.02)


def test_what_was_scheduled_while_it_was_measured_counts_however_late_it_comes() -> None:
    service = Service()
    service.begin(a=call(1))
    service.ledger.rest((START + 1_500) * 1000)
    service.say("diff", {"calls": {"a": change(3, "sra")}}, 3, late_ms=9_000)
    service.ledger.settle()
    found = service.ledger.histograms["receive"]
    assert found.get_total_count() == 1  # the answer, at 2,000, is no longer measured
    assert found.get_max_value() == pytest.approx(8_000_000, rel=0.01)


def test_a_snapshot_on_a_stream_that_goes_on_is_as_late_as_what_it_brings() -> None:
    service = Service()
    service.begin(a=call(1), b=call(2, "sr"))
    service.say("snapshot", {"part": 1, "parts": 1, "calls": {"a": call(3, "sra"),
                             "b": call(2, "sr")}}, 3, late_ms=7_000)  # fmt: skip
    service.ledger.settle()
    found = service.ledger.histograms["receive"]
    assert found.get_total_count() == 2
    assert found.get_max_value() == pytest.approx(6_000_000, rel=0.01)


def test_a_client_that_resumes_after_other_events_is_where_it_was() -> None:
    service = Service()
    service.begin(a=call(3))
    assert service.watcher.connecting(START * 1000) == f"{TAG}-3"
    service.watcher.feed(answer()[:-5], START * 1000)
    service.say("kpi", {"as_of": START})  # without an id, on a connection that had none yet
    service.beat(3, 1, 3)
    assert service.watcher.connecting(START * 1000) == f"{TAG}-3"
    assert service.wrong == 0
    assert service.found("came back: resumed") == 1


def test_who_comes_back_has_waited_since_the_first_attempt() -> None:
    service = Service()
    service.begin(a=call(3))
    for seconds in (1, 6, 21):  # refused; no answer; let in
        service.watcher.connecting((START + seconds * 1000) * 1000)
    service.watcher.feed(answer()[:-5], START * 1000)
    service.say("diff", {"calls": {"a": change(5, "sr")}}, 5, late_ms=21_010)
    service.ledger.settle()
    assert service.ledger.histograms["come back"].get_max_value() == pytest.approx(20_010_000, 0.01)


# -- ledgers and verdicts ------------------------------------------------------------------


def test_a_percentile_over_workers_is_that_of_all_samples() -> None:
    one, other, merged = Ledger(), Ledger(), Ledger()
    one.samples("receive", [1_000] * 990)
    other.samples("receive", [900_000] * 10)
    other.counts["gaps"] = 2
    for worker in (one, other, one):  # what was told is not told again
        merged.merge(json.loads(json.dumps(worker.take())))
    told = percentiles(merged.histograms["receive"])
    assert told["count"] == 1_000
    assert (told["p50"], told["max"]) == pytest.approx((1, 900), rel=0.01)
    assert told["p99.9"] == pytest.approx(900, rel=0.01)
    assert merged.counts["gaps"] == 2


CALM = {
    "cpu": 0.3,
    "lag_ms": 20.0,
    "publisher_late_ms": 5.0,
    "before_time": 0.0,
    "users": 1.0,
    "plateau_seconds": 0.0,
    "late_share": 0.0,
    "published": 1.0,
    "publisher_gone": 0.0,
    "unsaid": 0.0,
    "workers_lost": 0.0,
}
GOOD = {"gaps": 0.0, "duplicates": 0.0, "divergence": 0.0, "foreign": 0.0, "evictions": 0.0,
        "unequal": 0.0, "redis": 0.0, "service cpu": 0.4, "compared": 1.0}  # fmt: skip
FAST = {"receive": {"p99": 20.0, "max": 90.0}, "snapshot": {"p99": 100.0}}


@pytest.mark.parametrize(
    ("numbers", "times", "pressure", "expected"),
    [
        ({}, {}, {}, "PASSED"),
        ({"foreign": 1}, {}, {}, "FAILED"),
        ({}, {"receive": {"p99": 300, "max": 400}}, {}, "FAILED"),
        ({}, {"receive": {}}, {}, "FAILED"),  # nothing measured is no success
        ({}, {}, {"cpu": 0.81}, "INVALID"),
        ({}, {}, {"lag_ms": 101}, "INVALID"),
        ({}, {}, {"publisher_late_ms": 101}, "INVALID"),
        ({}, {}, {"before_time": 1}, "INVALID"),
        ({}, {}, {"published": 0.7}, "INVALID"),  # less was asked of it
        ({}, {}, {"publisher_gone": 1}, "INVALID"),
        ({}, {}, {"unsaid": 3}, "INVALID"),
        ({}, {}, {"workers_lost": 1}, "INVALID"),
        ({}, {}, {"users": 1.45}, "INVALID"),
        ({"evictions": 1}, {}, {}, "FAILED"),
        ({"evictions": 1}, {}, {"lag_ms": 3_000}, "INVALID"),
        ({"gaps": 1}, {}, {"cpu": 0.95}, "FAILED"),  # no loader makes up a gap
        ({"service cpu": 0.95}, {}, {"lag_ms": 300}, "FAILED"),  # nor makes a service compute
    ],
)
def test_a_verdict(
    numbers: dict[str, float], times: dict[str, Any], pressure: dict[str, float], expected: str
) -> None:
    found = verdict.judge(profile("ci"), GOOD | numbers, FAST | times, CALM | pressure)
    assert found.verdict == expected
    assert (expected == "INVALID") == bool(found.reasons) or expected == "FAILED"
    assert report.table(found).endswith(expected)


FLAT = {"memory growth": 0.01, "descriptor growth": 0.0}
LONG = {"plateau_seconds": 900.0}


@pytest.mark.parametrize(
    ("numbers", "pressure", "expected"),
    [
        (FLAT, LONG, "PASSED"),
        (FLAT | {"memory growth": 0.06}, LONG, "FAILED"),
        ({}, {"plateau_seconds": 20.0}, "INVALID"),  # too short to see any growth
        ({"gaps": 1}, {"plateau_seconds": 20.0}, "FAILED"),
        (FLAT, LONG | {"lag_ms": 300, "late_share": 0.001}, "PASSED"),  # its objective is a p99
        (FLAT, LONG | {"lag_ms": 300, "late_share": 0.02}, "INVALID"),
    ],
)
def test_a_verdict_on_a_soak(
    numbers: dict[str, float], pressure: dict[str, float], expected: str
) -> None:
    found = verdict.judge(profile("soak"), GOOD | numbers, FAST, CALM | pressure)
    assert found.verdict == expected


QUIET = {"late_ms": {}, "events_in": {}, "unsaid": 0, "quiet_since": 1}


def looks(*megabytes: float) -> list[dict[str, float]]:
    """At the service, ten seconds apart."""
    calm = {"busy_seconds": 0.0, "our_seconds": 0.0, "cpu_seconds": 0.0, "fds": 9.0}
    return [calm | {"at": 10.0 * n, "rss": mb * 1e6} for n, mb in enumerate(megabytes)]


def test_growth_counts_from_where_what_is_bounded_is_full() -> None:
    soak = replace(profile("soak"), settle_seconds=40, plateau_seconds=50)
    grown = [50.0, 60.0, 70.0, 80.0]
    told = {
        "counts": {}, "histograms": {}, "percentiles": {}, "steps": [], "service": {},
        "ending": 1, "measured": (0.0, 1e3), "published": QUIET,
    }  # fmt: skip

    def growth(*then: float) -> float | None:
        rows = judged(soak, deepcopy(told), looks(*grown, *then), 0).judgement.rows
        return next(row.found for row in rows if row.objective == "memory growth")

    assert growth(*[80.0] * 10) == 0
    assert growth(*range(80, 90)) == pytest.approx(9 / 80)
    assert growth(*[80.0] * 4) is None


def test_a_publisher_that_stops_in_the_middle_makes_a_run_invalid() -> None:
    told = {
        "counts": {"workers that compared": 2}, "histograms": {}, "percentiles": {}, "steps": [],
        "service": {}, "ending": 1, "measured": (1_000.5, 1_060.5),
    }  # fmt: skip

    def reasons(seconds: int, **more: Any) -> tuple[str, ...]:
        said = QUIET | {"events_in": {str(1_000 + n): 200 for n in range(seconds)}} | more
        return judged(profile("ci"), deepcopy(told) | {"published": said}, [], 0).judgement.reasons

    assert reasons(61) == ()
    assert "only 49% of the events" in reasons(30)[0]
    assert reasons(55, quiet_since=None) == ("the publisher was gone before the end",)


def test_what_is_lost_to_late_moments_adds_up() -> None:
    ledger = Ledger()
    for ms in [1] * 100 + [90, 150, 250]:
        ledger.sample("loader lag", ms * 1000)
    lost = beyond(100, ledger.take()["histograms"]["loader lag"])
    assert lost == pytest.approx(400, rel=0.01)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({}, "nobody"),
        ({"loader_cpu": 0.9, "p99": 400}, "the loader"),
        ({"loader_lag_ms": 150}, "nobody"),
        ({"loader_lag_ms": 150, "p99": 400}, "the loader"),
        ({"service_cpu": 0.97, "p99": 400}, "the service"),
        ({"machine_cpu": 1_000, "p99": 400}, "the machine"),
        ({"p99": 400}, "the service"),
        ({"joined": 0.5}, "the service"),  # who was not let in makes nothing slow
    ],
)
def test_who_gave_up_first(step: dict[str, float], expected: str) -> None:
    calm = {"loader_cpu": 0.4, "loader_lag_ms": 20, "service_cpu": 0.4, "p99": 20,
            "joined": 1.0}  # fmt: skip
    assert verdict.gave_up(profile("capacity"), calm | step).startswith(expected)


def test_a_single_fault_is_planted_once_and_in_every_thousand_a_lost_one() -> None:
    once = planted.Fault(planted.altered, warm_seconds=-1)
    whole = sse.event("diff", orjson.dumps({"calls": {"a": change(5, "sra")}}))
    made = [once.pass_on(whole, None).event for _ in range(10)]
    assert made[1:] == [whole] * 9
    assert b'"state":"ringing"' in made[0]
    lost = planted.Fault(planted.lost, every=1_000)
    assert [lost.pass_on(whole, None).event for _ in range(3_000)].count(b"") == lost.done == 3


def test_what_is_no_diff_is_never_spoilt() -> None:
    beat = sse.event("heartbeat", b"{}")
    assert planted.Fault(planted.lost, every=1).pass_on(beat, None) == (beat, 0.0)
