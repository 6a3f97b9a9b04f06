"""CDRs of calls that are not known, rejected messages, and old numbers that come with news."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.calls import START
from tests.unit.ingest.feeding import Fed, raw, sync


def cdr(ts: int = START, **facts: Any) -> bytes:
    message = {"v": 1, "phase": "ended", "node": "n1", "epoch": 1, "seq": 9, "ts": ts,
               "call_id": "c9", "dialog": "9.9", "outcome": "answered"}  # fmt: skip
    return orjson.dumps(message | facts)


@pytest.mark.parametrize("facts", [{}, {"ended_at": 1}], ids=["ts", "ended_at"])
@pytest.mark.parametrize(("age", "remembered"), [(0, True), (300_000, True), (300_001, False)])
def test_a_cdr_of_a_call_that_is_not_known_is_remembered_if_it_ended_lately(
    age: int, remembered: bool, facts: dict[str, int]
) -> None:
    fed = Fed()
    ts = START - age if not facts else START
    facts = dict.fromkeys(facts, START - age)
    assert fed.pipeline.handle_cdr(cdr(ts, **facts)) is None
    assert len(fed.table.calls) == remembered
    assert fed.counters.cdr_results == {"applied" if remembered else "stale": 1}
    assert fed.counters.ended_by_cdr == 0
    assert len(fed.recorder.changes) == remembered


def test_a_cdr_ends_a_call_that_is_up_once() -> None:
    fed = Fed().take(raw("answered", 5, dialog="9.9", call_id="c9"))
    old = {"ended_at": START - 900_000}
    assert fed.pipeline.handle_cdr(cdr(**old)) is None
    assert fed.pipeline.handle_cdr(cdr(**old)) is None
    assert (fed.table.live, fed.counters.ended_by_cdr, fed.counters.cdrs) == (0, 1, 2)
    assert fed.counters.cdr_results == {"applied": 1, "stale": 1}
    told = fed.pipeline.handle_cdr(b"{")
    assert told is not None
    assert told.startswith("not_json")
    assert fed.counters.cdr_results["rejected"] == 1
    assert fed.counters.balanced


def test_a_node_is_refused_by_messages_that_are_broken_not_by_those_that_must_wait() -> None:
    fed = Fed().take(raw("setup", 1))
    fed.take(raw("setup", 10**9), raw("recording", 2))  # unproven, of a newer bridge
    assert fed.pipeline.refusals.by_name == {}
    fed.take(raw("setup", 2, call_id=""), raw("setup", 3, v=2, node="n2"))
    found = {name: one.reason for name, one in fed.pipeline.refusals.by_name.items()}
    assert set(found) == {"n1", "n2"}
    assert found["n1"].startswith("out_of_range")
    fed.take(("call.events.setup", b"{"))
    assert set(fed.pipeline.refusals.by_name) == {"n1", "n2"}, "nobody can tell whose it is"
    assert fed.counters.rejected == {
        "unproven": 1, "unknown_phase": 1, "out_of_range": 1, "unsupported_version": 1,
        "not_json": 1,
    }  # fmt: skip


@pytest.mark.parametrize("owner", [{}, {"owner": "n1"}])
def test_a_call_that_is_news_under_an_old_number_is_of_a_second_node(owner: dict[str, str]) -> None:
    """Its own name as owner says no more than none."""
    fed = Fed()
    for seq in range(1, 6):
        fed.take(raw("answered", seq, dialog=f"{seq}.1"))
    fed.take(sync(5, "1.1", "2.1", "3.1", "4.1", "5.1"))
    fed.clock.now += 10_000
    late = {"dialog": "9.9", "call_id": "c9", "ts": START}
    fed.take(raw("answered", 3, **(late | {"ts": START - 1} | owner)))
    assert fed.table.live == 5, "it happened too long ago: it may be late"
    assert not fed.nodes.by_name["n1"].collisions
    fed.take(raw("answered", 3, **(late | owner)))
    node = fed.nodes.by_name["n1"]
    assert list(node.collisions) == [fed.clock.now]
    assert node.wants_list, "a list can tell whose it is"
    assert (fed.table.live, fed.counters.duplicate) == (5, 2)


def test_a_call_of_another_owner_under_an_old_number_is_no_second_node() -> None:
    fed = Fed()
    for seq in range(1, 6):
        fed.take(raw("answered", seq, dialog=f"{seq}.1"))
    fed.take(sync(5, "1.1", "2.1", "3.1", "4.1", "5.1"))
    fed.take(raw("answered", 3, dialog="9.9", call_id="c9", owner="n2"))
    assert fed.table.live == 5
    assert not fed.nodes.by_name["n1"].collisions


def test_drops_are_counted_and_lose_something_of_the_nodes_concerned() -> None:
    fed = Fed().take(raw("setup", 1), raw("setup", 1, node="n2"))
    for name in ("n1", "n2"):
        fed.take(raw("sync", 1, node=name, sync_id="s", part=1, parts=1, calls=[]))
    fed.pipeline.on_dropped(3, "n2")
    fed.pipeline.on_dropped(1, "never heard of")
    assert [node.wants_list for node in fed.nodes.by_name.values()] == [False, True]
    fed.pipeline.on_dropped(2)
    assert [node.wants_list for node in fed.nodes.by_name.values()] == [True, True]
    assert fed.counters.dropped == 6
    assert fed.counters.balanced
    for name in ("n1", "n2"):
        fed.take(raw("sync", 1, node=name, sync_id="t", part=1, parts=1, calls=[]))
        fed.nodes.by_name[name].health.loss = None
        fed.nodes.by_name[name].wants_list = False
    fed.pipeline.on_reconnected()
    assert [node.wants_list for node in fed.nodes.by_name.values()] == [True, True]
