"""From messages to the table: everything is counted, and order does not matter (C, O, G)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.subjects import Subjects
from livestate.ingest.pipeline import Pipeline
from livestate.state.transitions import TRANSITIONS
from tests.calls import START
from tests.examples import examples
from tests.unit.ingest.feeding import Fed, Raw, raw, sync

MESSAGES = st.one_of(
    st.builds(
        raw,
        st.sampled_from(["setup", "ringing", "answered", "hold", "resume", "ended", "heartbeat"]),
        st.integers(0, 12),
        epoch=st.integers(1, 2),
        dialog=st.sampled_from(["1.1", "2.2"]),
    ),
    st.builds(sync, st.integers(0, 12), epoch=st.integers(1, 2)),
    st.builds(raw, st.just("setup"), st.integers(-1, 3), node=st.sampled_from(["n1", "*", ""])),
    st.builds(raw, st.just("recording"), st.integers(0, 12)),
    st.tuples(st.sampled_from(["call.events.setup", "x"]), st.binary(max_size=20)),
)


@given(st.lists(MESSAGES | st.integers(1, 5), max_size=40))
@settings(max_examples=examples(300), deadline=None)
def test_every_message_is_counted_as_exactly_one_thing(came: list[Raw | int]) -> None:
    fed = Fed()
    total = 0
    for one in came:
        before = (fed.counters.received, fed.counters.applied, len(fed.recorder.changes))
        if isinstance(one, int):
            fed.pipeline.on_dropped(one)
            total += one
        else:
            fed.take(one)
            total += 1
        assert fed.counters.balanced
        if fed.counters.applied == before[1]:
            assert len(fed.recorder.changes) == before[2]  # no sink gets what did not count
    assert fed.counters.received == total


def test_each_way_to_be_counted() -> None:
    fed = Fed().take(
        raw("setup", 1),  # applied
        raw("setup", 1),  # duplicate
        sync(5, "1.1"),  # applied
        raw("setup", 2, dialog="9.9"),  # stale: the list would have had it
        raw("failed", 6, dialog=None, call_id="refused"),  # applied, and never live
        raw("setup", 7, v=2),  # rejected
        ("call.events.setup", b"\xff"),  # rejected
    )
    fed.pipeline.on_dropped(3)
    tally = fed.counters
    assert (tally.received, tally.applied, tally.duplicate, tally.stale) == (10, 3, 1, 1)
    assert dict(tally.rejected) == {"unsupported_version": 1, "not_json": 1}
    assert (tally.dropped, tally.refused_by_proxy, tally.lists) == (3, 1, 1)
    assert fed.table.live == 1


def test_every_drop_asks_every_node_for_its_list() -> None:
    fed = Fed().take(raw("heartbeat", 0), raw("heartbeat", 0, node="n2"))
    fed.take(sync(0), sync(0, node="n2"))
    assert list(fed.nodes.to_ask(START + 9_000)) == []
    fed.pipeline.on_dropped(1)
    assert set(fed.nodes.to_ask(START + 9_000)) == {"n1", "n2"}


def test_a_drop_of_one_nodes_message_asks_that_node_only() -> None:
    fed = Fed().take(raw("heartbeat", 0), raw("heartbeat", 0, node="n2"))
    fed.take(sync(0), sync(0, node="n2"))
    fed.pipeline.on_dropped(1, "n2")
    fed.pipeline.on_dropped(1, "nobody")
    assert set(fed.nodes.to_ask(START + 9_000)) == {"n2"}
    assert fed.counters.balanced
    assert fed.counters.dropped == 2


def test_the_node_is_known_before_parsing() -> None:
    fed = Fed()
    assert fed.pipeline.node_of(*raw("setup", 1, node="kam-1.it")) == "kam-1.it"
    assert fed.pipeline.node_of("call.events.setup", b"\xff") == ""
    vouched = Pipeline(fed.table, fed.nodes, (), clock=fed.clock,
                       subjects=Subjects("nodes.*.call.events.>"))  # fmt: skip
    _, data = raw("setup", 1, node="kam-1.it")
    assert vouched.node_of("nodes.kam-1_it.call.events.setup", data) == "kam-1.it"
    assert vouched.node_of("nodes.evil.call.events.setup", data) == "evil"


def test_a_list_of_more_dialogs_than_calls_may_live_is_refused_and_ends_none() -> None:
    fed = Fed()
    fed.table.most = 4
    fed.take(raw("answered", 1, dialog="1.1"), raw("answered", 2, dialog="2.2"))
    parts = 9
    for part in range(1, parts + 1):
        names = [f"{part}{n}.9" for n in (1, 2)]
        fed.take(sync(2, *names, part=part, parts=parts, sync_id="long"))
    assert fed.counters.rejected == {"too_many_calls": 7}
    assert fed.counters.lists_failed == 7
    assert fed.counters.lists == 0
    assert fed.table.live == 4
    assert {call.dialog for call in fed.table.calls.values() if call.live} >= {"1.1", "2.2"}
    node = fed.nodes.by_name["n1"]
    assert node.list_trouble is not None
    assert "too_many_calls" in node.list_trouble.reason
    assert node.listing is None
    fed.take(sync(3, "1.1"))
    assert fed.counters.lists == 1
    assert {call.dialog for call in fed.table.calls.values() if call.live} == {"1.1"}


def test_a_phase_of_a_newer_bridge_is_no_gap() -> None:
    fed = Fed().take(raw("setup", 1), sync(1, "1.1"), raw("recording", 2), raw("ringing", 3))
    assert fed.counters.rejected["unknown_phase"] == 1
    assert list(fed.nodes.to_ask(START + 60_000)) == []


def test_a_step_that_the_table_does_not_know_is_counted() -> None:
    fed = Fed().take(raw("answered", 1), raw("ringing", 2))
    assert "ringing" not in TRANSITIONS["answered"]
    assert (fed.counters.irregular, fed.counters.applied) == (1, 2)


NASTY = b"[" * 700 + b"]" * 700


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        raw("setup", 1)[1][:-1] + b',"x":' + NASTY + b"}",
        raw("setup", 1)[1][:-1] + b',"from":"\\ud800","x":' + NASTY + b"}",
        raw("setup", 1)[1][:-1] + b',"from":"\\ud800","x":' + b"1" * 5_000 + b"}",
        raw("setup", 1)[1][:-1] + b',"x":1e999,"x":1e999}',
        raw("setup", 1)[1][:-1] + b',"\\ud800":1}',
    ],
)
def test_nothing_that_comes_stops_the_pipeline(data: bytes) -> None:
    fed = Fed().take(("call.events.setup", data), raw("setup", 2))
    assert fed.counters.rejected.total() == 1
    assert fed.table.live == 1
