"""The load test's own parts: what a watcher catches, and what a verdict says."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.stream import sse
from livestate.state.access import Scope
from loadtest import event_trace, fault_proxy
from loadtest.metrics import Metrics
from loadtest.watcher import Watcher, differences
from loadtest.wire import Answer, BadAnswer

TAG = "0123456789abcdef"


START = 1_795_000_000_000


STREAMS = json.loads((Path(__file__).parents[1] / "vectors" / "sse.json").read_text())


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
        self.ledger = Metrics()
        self.watcher = Watcher("Dashboard", scope or Scope(), self.ledger)
        self.watcher.connecting(START * 1000)
        self.watcher.feed(answer()[:-5], START * 1000)

    def say(self, name: str, data: dict[str, Any], version: int | None = None,
            late_ms: int = 0) -> None:  # fmt: skip
        position = None if version is None else sse.EventId(TAG, version)
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
    result = [(letter, START + 1000 * n) for n, letter in enumerate(letters)]
    story = event_trace.read(event_trace.write(result))
    assert story is not None
    record = {
        "node": "load-1",
        "company_id": company,
        "detail": event_trace.write(result),
        "v": version,
    }
    return record | story.must_have | facts


def change(version: int, letters: str) -> dict[str, Any]:
    """The data of a diff."""
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


def test_a_diff_in_parts_is_judged_as_one() -> None:
    service = Service()
    service.begin(a=call(3), b=call(4, "sr"))
    parts = {"parts": 2, "as_of": START}
    service.say("diff", {"part": 1, **parts, "calls": {"a": None}})
    service.say("diff", {"part": 2, **parts, "calls": {"b": change(6, "sra")}}, 6)
    service.beat(6, 1, 6)
    assert service.wrong == 0


def test_a_diff_without_an_id_is_no_duplicate() -> None:
    """What changed was more than one diff holds: only the last one has an id."""
    service = Service()
    service.begin(a=call(3), b=call(4, "sr"))
    service.say("diff", {"calls": {"b": change(6, "sra")}})
    service.say("diff", {"calls": {"a": None}}, 7)
    service.beat(7, 1, 6)
    assert service.wrong == 0


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
    service.say(
        "snapshot",
        {"part": 1, "parts": 1, "calls": {"a": call(3, "sra"), "b": call(2, "sr")}},
        3,
        late_ms=7_000,
    )
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


def test_connect_time_counts_from_the_first_attempt() -> None:
    service = Service()
    service.begin(a=call(3))
    for seconds in (1, 6, 21):  # refused; no answer; let in
        service.watcher.connecting((START + seconds * 1000) * 1000)
    service.watcher.feed(answer()[:-5], START * 1000)
    service.say("diff", {"calls": {"a": change(5, "sr")}}, 5, late_ms=21_010)
    service.ledger.settle()
    assert service.ledger.histograms["come back"].get_max_value() == pytest.approx(20_010_000, 0.01)


def test_a_single_fault_is_planted_once_and_in_every_thousand_a_lost_one() -> None:
    once = fault_proxy.Fault(fault_proxy.altered, warm_seconds=-1)
    whole = sse.event("diff", orjson.dumps({"calls": {"a": change(5, "sra")}}))
    made = [once.pass_on(whole, None).event for _ in range(10)]
    assert made[1:] == [whole] * 9
    assert b'"state":"ringing"' in made[0]
    lost = fault_proxy.Fault(fault_proxy.lost, every=1_000)
    assert [lost.pass_on(whole, None).event for _ in range(3_000)].count(b"") == lost.done == 3


def test_what_is_no_diff_is_never_spoilt() -> None:
    beat = sse.event("heartbeat", b"{}")
    assert fault_proxy.Fault(fault_proxy.lost, every=1).pass_on(beat, None) == (beat, 0.0)
