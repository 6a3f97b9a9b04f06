"""The Python fold and SSE parser, by the vectors that the page's fold is held against too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.client import Dashboard, Parser, ServerEvent

VECTORS = json.loads((Path(__file__).parent / "vectors" / "fold.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_fold(vector: dict[str, Any]) -> None:
    dashboard = Dashboard()
    for name, data in vector["frames"]:
        dashboard.fold(ServerEvent(name, orjson.dumps(data), ""))
    assert dashboard.calls == vector["calls"]
    assert dashboard.digest == vector["digest"]


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
