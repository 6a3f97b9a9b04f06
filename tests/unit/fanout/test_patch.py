"""Snapshots and diffs in parts: no line is longer than a reader of lines takes."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from api.stream.encoder import SseEncoder
from livestate.client import Fold, Parser
from livestate.contract.events import MAX_CALL_ID_CHARS, MAX_NAME_CHARS
from livestate.contract.node_name import MAX_NODE_CHARS
from livestate.contract.validation import MAX_DISPLAY_CHARS
from livestate.fanout.patch import LINE_BYTES
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.trouble import Trouble
from livestate.state.source import Source
from tests.calls import START, event

LONGEST = "\x01"  # JSON writes it as six bytes, more than any other character


def longest_texts(number: int, sign: str = LONGEST) -> dict[str, Any]:
    """Every attribute as long as the event contract lets it be."""
    texts = dict.fromkeys(
        ("from", "to", "from_uri", "to_uri", "sip_reason", "detail"), sign * MAX_DISPLAY_CHARS
    )
    return texts | {
        "call_id": (sign * MAX_CALL_ID_CHARS)[:-8] + f"{number:08}", "dialog": f"{number}",
        "company_id": sign * MAX_NAME_CHARS, "trunk": sign * MAX_NAME_CHARS,
        "node": "n" * MAX_NODE_CHARS,
    }  # fmt: skip


def table_of(calls: int, **facts: Any) -> tuple[ActiveCalls, SseEncoder]:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    for number in range(calls):
        table.apply(
            event("setup", number + 1, **(longest_texts(number) if not facts else facts | {
                "dialog": f"{number}", "call_id": f"{number}"
            })), START,
        )  # fmt: skip
    return table, SseEncoder(lambda: START)


def longest_line(data: bytes) -> int:
    return max(map(len, data.split(b"\n")))


@pytest.mark.parametrize("facts", [{}, {"detail": "a"}], ids=["long", "short"])
def test_no_line_of_a_diff_or_snapshot_is_longer_than_a_reader_takes(facts: dict[str, Any]) -> None:
    table, encoder = table_of(600, **facts)
    view = table.view(Scope())
    diff = encoder.diff(view, 0, {})
    snapshot = b"".join(encoder.snapshot(view))
    for data in (bytes(diff), snapshot):
        assert len(data) > LINE_BYTES
        assert longest_line(data) <= LINE_BYTES
        # The parts are filled: not many more than there must be.
        lines = [line for line in data.split(b"\n") if line.startswith(b"data: ")]
        assert len(lines) <= 2 + len(data) / (LINE_BYTES / 2)


def test_the_parts_of_a_diff_are_numbered_and_the_last_one_has_the_id() -> None:
    table, encoder = table_of(300, detail="x" * 200)
    view = table.view(Scope())
    events = list(Parser().feed(encoder.diff(view, 0, {}, 500)))
    data = [orjson.loads(one.data) for one in events]
    assert len(data) > 1
    assert [(one["part"], one["parts"]) for one in data] == [
        (number, len(data)) for number in range(1, len(data) + 1)
    ]
    assert [bool(one.id) for one in events] == [False] * (len(data) - 1) + [True]
    keys = [key for one in data for key in one["calls"]]
    assert len(keys) == len(set(keys)) == 300


def test_a_short_diff_is_one_event_without_part_numbers() -> None:
    table, encoder = table_of(3, detail="x")
    (only,) = Parser().feed(encoder.diff(table.view(Scope()), 0, {}, 500))
    assert orjson.loads(only.data).keys() == {"as_of", "calls"}


def test_why_a_call_ended_comes_in_the_part_that_removes_it() -> None:
    table, encoder = table_of(2_000, detail="x" * 100)
    view = table.view(Scope())
    version, chance = view.version, random.Random(1)
    told = Fold()
    for part in encoder.snapshot(view):
        for one in Parser().feed(part):
            told.fold(one)
    for number in range(2_000):
        facts = {"dialog": f"{number}", "call_id": f"{number}"}
        phase = "failed" if chance.random() < 0.6 else "ringing"
        table.apply(event(phase, 5_000 + number, sip_code=486, **facts), START)
    parser, over, removed = Parser(), 0, 0
    for one in parser.feed(encoder.diff(view, version, {})):
        data = orjson.loads(one.data)
        gone = {key for key, change in data["calls"].items() if change is None}
        assert data.get("ended", {}).keys() == gone
        over, removed = over + len(data.get("ended", {})), removed + len(gone)
        told.fold(one)
    assert over == removed > 1_000
    assert (len(told.calls), told.digest) == (view.live, view.digest)


def test_what_else_a_stream_sends_is_shorter_than_a_line() -> None:
    """A heartbeat that names nodes, and the figures with the longest names."""
    from livestate.state.kpi.kpis import Kpis

    table, _ = table_of(0)
    now = START
    kpis = Kpis(lambda: now)
    for number in range(60):
        facts = longest_texts(number) | {
            "company_id": f"{number:02}" + LONGEST * (MAX_NAME_CHARS - 2),
            "trunk": f"{number:02}" + LONGEST * (MAX_NAME_CHARS - 2),
        }
        for seq, phase in enumerate(("setup", "ringing", "answered")):
            now += 5_000
            change = table.apply(event(phase, 3 * number + seq + 1, **facts), now)
            assert change is not None
            kpis.on_change(change)
    encoder = SseEncoder(lambda: now, figures=kpis.figures)
    troubles = tuple(Trouble("n" * MAX_NODE_CHARS, "clock", 1, "r" * 99, 2**53) for _ in range(99))
    frame = encoder.heartbeat(table.view(Scope()), Source(now, "silent", troubles))
    names = [one.name for one in Parser().feed(frame)]
    assert names == ["heartbeat", "kpi"]
    assert longest_line(frame) <= LINE_BYTES
