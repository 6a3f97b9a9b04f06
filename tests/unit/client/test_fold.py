"""The Python fold and SSE parser, by the vectors that the page's fold is held against too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.client import Fold, Parser, ServerEvent

VECTORS, STREAMS = (
    json.loads((Path(__file__).parents[2] / "vectors" / name).read_text())
    for name in ("fold.json", "sse.json")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_fold(vector: dict[str, Any]) -> None:
    dashboard = Fold()
    for name, data, *named in vector["frames"]:
        dashboard.fold(ServerEvent(name, orjson.dumps(data), *(named or [""])))
    assert dashboard.calls == vector["calls"]
    assert dashboard.digest == vector["digest"]
    assert dashboard.last_id == vector.get("id", "")


@pytest.mark.parametrize("piece", [1, 3, 1_000])
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream["name"])
def test_parse(stream: dict[str, Any], piece: int) -> None:
    parser, raw = Parser(), stream["bytes"].encode()
    found = [
        (event.name, event.data.decode(), event.id)
        for at in range(0, len(raw), piece) for event in parser.feed(raw[at : at + piece])
    ]  # fmt: skip
    assert found == [tuple(event) for event in stream["events"]]


@given(st.lists(st.integers(1, 40), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    raw = (
        b": comment\nretry: 17\n\nevent: a\nid: 1\ndata: x\ndata: y\n\nid: 2\n\nevent: b\r\n"
        b"data:z\r\n\r\ndata: last\n\nevent: unfinished\ndata: never"
    )
    parser = Parser()
    found = []
    at = 0
    for cut in cuts:
        found += parser.feed(raw[at : at + cut])
        at += cut
    found += parser.feed(raw[at:])
    assert found == [("a", b"x\ny", "1"), ("b", b"z", "2"), ("message", b"last", "2")]
    assert parser.retry == 17


def test_a_stream_agrees_only_if_count_and_digest_are_its_own() -> None:
    dashboard = Fold()
    assert dashboard.agrees({"calls": 7, "digest": 7}), "it has no snapshot to compare"
    snapshot = {"part": 1, "parts": 1, "calls": {"a": {"v": 3}, "b": {"v": 4}}}
    dashboard.fold(ServerEvent("snapshot", orjson.dumps(snapshot), "e-4"))
    for calls, digest, agrees in ((2, 7, True), (2, 8, False), (3, 7, False)):
        assert dashboard.agrees({"calls": calls, "digest": digest}) is agrees
        beat = orjson.dumps({"source": "stale", "calls": calls, "digest": digest})
        dashboard.fold(ServerEvent("heartbeat", beat, ""))
    assert (dashboard.diverged, dashboard.source, dashboard.last_id) == (2, "stale", "e-4")
    dashboard.fold(ServerEvent("goodbye", b'{"reason":"drain"}', "other"))
    assert (dashboard.goodbye, dashboard.last_id) == ("drain", "e-4")


def test_a_retry_that_is_no_number_of_milliseconds_is_ignored() -> None:
    parser = Parser()
    assert list(parser.feed(b"retry: 20\nretry: soon\nretry: -3\nretrying: 4\n")) == []
    assert parser.retry == 20


def test_only_the_stream_begins_with_a_byte_order_mark() -> None:
    parser = Parser()
    assert list(parser.feed(b"\xef\xbb\xbfdata: a\n")) == []
    assert list(parser.feed(b"\xef\xbb\xbfdata: b\n")) == []
    assert list(parser.feed(b"\n")) == [("message", b"a", "")], "the other is no field of ours"


def test_what_an_event_said_is_given_back_decoded() -> None:
    fold = Fold()
    data = {"part": 1, "parts": 1, "as_of": 7, "calls": {"a": {"v": 3}}}
    assert fold.fold(ServerEvent("snapshot", orjson.dumps(data), "e-4")) == data
    whole = {"as_of": 8, "calls": {"a": None}, "ended": {"a": {"outcome": "busy"}}}
    assert fold.joined("diff", whole) == whole
    for part in (1, 2):
        piece = {"part": part, "parts": 2, "as_of": 9, "calls": {f"k{part}": None}}
        joined = fold.joined("diff", piece | {"ended": {f"k{part}": {"outcome": "busy"}}})
    assert joined is not None
    assert (set(joined["calls"]), set(joined["ended"])) == ({"k1", "k2"}, {"k1", "k2"})
