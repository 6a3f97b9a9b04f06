"""Several events in one message: the same table and the same counts as one message each."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.contract.errors import Rejected
from livestate.contract.events import BATCH_SUBJECT, MAX_EVENTS_A_BATCH
from livestate.contract.parse import BadEvent, parse, parse_batch
from livestate.contract.subjects import Subjects
from livestate.ingest.backlog import events_in
from livestate.ingest.pipeline import Pipeline
from tests.calls import CALL_PHASES, FACTS, START
from tests.examples import examples
from tests.unit.ingest.feeding import Fed, Raw, raw, sync
from tests.unit.ingest.test_backlog import Turns

FIRST = {"v": 1, "node": "n1", "epoch": 1, "ts": START, "call_id": "c1", "dialog": "1.1"}


def batch(*events: bytes) -> Raw:
    return BATCH_SUBJECT, b"[%b]" % b",".join(events)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event of one of a few calls of two nodes, good or bad in one way."""
    phase = draw(st.sampled_from(CALL_PHASES))
    message: dict[str, Any] = FIRST | {"phase": phase, "seq": draw(st.integers(1, 12))}
    message |= {"node": draw(st.sampled_from(["n1", "n2"])), "epoch": draw(st.integers(1, 2))}
    message |= {"call_id": draw(st.sampled_from(["c1", "c2", '"call_id":'])), **draw(FACTS)}
    spoiled = draw(st.sampled_from(SPOILERS))
    return spoiled(message)


def plain(message: dict[str, Any]) -> bytes:
    return orjson.dumps(message)


SPOILERS = (
    plain, plain, plain, plain,
    lambda message: orjson.dumps(message | {"seq": -1}),
    lambda message: orjson.dumps(message | {"v": 2}),
    lambda message: orjson.dumps({k: v for k, v in message.items() if k != "call_id"}),
    lambda message: orjson.dumps(message | {"from": "x" * 400}),
    lambda message: orjson.dumps(message)[:-1] + b',"detail":"\\ud800"}',
    lambda message: orjson.dumps(message)[:-1] + b',"node":"n2"}',
    lambda message: orjson.dumps(message)[:-1] + b',"odd":' + b"7" * 5_000 + b"}",
    lambda message: orjson.dumps(message)[:-1] + b',"detail":"a\x01b"}',
    lambda message: orjson.dumps(message | {"odd": [{"phase": "ended"}], "text": "],[ \\"}),
    lambda message: json.dumps(message, indent=1).encode(),
    lambda message: orjson.dumps(message | {"phase": "whispered"}),
)  # fmt: skip


def alone(event: bytes) -> Raw:
    """The same event in a message of its own."""
    return f"call.events.{json.loads(event, strict=False, parse_int=str)['phase']}", event


@given(st.lists(st.lists(events(), min_size=1, max_size=6), min_size=1, max_size=4))
@settings(max_examples=examples(300), deadline=None)
def test_a_batch_is_its_events_one_by_one(messages: list[list[bytes]]) -> None:
    together, single = Fed(), Fed()
    for message in messages:
        together.take(batch(*message))
        single.take(*map(alone, message))
    assert together.seen == single.seen
    assert together.counters == single.counters
    changes = [[change[:2] for change in one.recorder.changes] for one in (together, single)]
    assert changes[0] == changes[1]
    assert {n: (x.epoch, x.sequence.highest) for n, x in together.nodes.by_name.items()} == {
        n: (x.epoch, x.sequence.highest) for n, x in single.nodes.by_name.items()
    }


def test_a_bad_event_of_a_batch_is_rejected_alone() -> None:
    good = raw("setup", 1)[1], raw("ringing", 3)[1]
    bad = raw("early_media", 2, epoch="one")[1]
    fed = Fed().take(batch(good[0], bad, good[1]))
    assert (fed.counters.received, fed.counters.applied) == (3, 2)
    assert fed.counters.rejected == {"wrong_type": 1}
    (call,) = fed.table.calls.values()
    assert call.state == "ringing"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (raw("heartbeat", 1)[1], "phase_mismatch"),
        (sync(1, "1.1")[1], "phase_mismatch"),
        (raw("lost", 1)[1], "phase_mismatch"),
        (b"{}", "missing_field"),
        (b"7", "missing_field"),
        (b"[]", "missing_field"),
    ],
)
def test_only_events_of_calls_can_be_in_a_batch(item: bytes, reason: str) -> None:
    fed = Fed().take(batch(raw("setup", 1)[1], item))
    assert (fed.counters.received, fed.counters.applied) == (2, 1)
    assert fed.counters.rejected == {reason: 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "wrong_type"),
        (b"{}", "wrong_type"),
        (raw("setup", 1)[1], "wrong_type"),
        (b"[]", "not_json"),
        (b"[{}", "not_json"),
        (b"[{}] []", "not_json"),
        (b"[{},]", "not_json"),
        (b"[\xff]", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[%b]" % b",".join([raw("setup", 1)[1]] * (MAX_EVENTS_A_BATCH + 1)), "too_long"),
        (b"[%b]" % (b" " * 300_000), "too_large"),
    ],
)
def test_a_message_that_is_no_batch_is_rejected_as_one(data: bytes, reason: str) -> None:
    fed = Fed().take((BATCH_SUBJECT, data))
    assert (fed.counters.received, fed.counters.rejected) == (1, {reason: 1})


def test_each_event_of_a_batch_is_compared_with_the_account_that_sent_it() -> None:
    fed = Fed()
    fed.pipeline = Pipeline(
        fed.table, fed.nodes, (), clock=fed.clock, subjects=Subjects("nodes.*.call.events.>")
    )
    own, foreign = raw("setup", 1)[1], raw("setup", 1, node="n2", dialog="2.1")[1]
    fed.pipeline.handle("nodes.n1." + BATCH_SUBJECT, batch(own, foreign)[1])
    counted = fed.pipeline.counters
    assert (counted.applied, counted.rejected) == (1, {"forged_node": 1})
    assert list(fed.nodes.by_name) == ["n1"]


def test_what_is_parsed_of_a_batch_is_what_is_parsed_of_each_event() -> None:
    sent = [raw(phase, seq) for seq, phase in enumerate(CALL_PHASES, 1)]
    parsed = parse_batch(batch(*(data for _, data in sent))[1])
    assert list(parsed) == [parse(*one) for one in sent]
    one_is_bad = parse_batch(batch(*(data for _, data in sent), b'{"phase":"setup"}')[1])
    assert list(one_is_bad)[:-1] == [parse(*one) for one in sent]
    assert isinstance(one_is_bad[-1], BadEvent)
    with pytest.raises(Rejected):
        parse(*batch(sent[0][1]))


async def test_dropped_batches_are_counted_by_event() -> None:
    counted: list[int] = []
    turns = Turns(max_messages=1)
    turns.backlog._on_dropped = lambda dropped, node: counted.append(dropped)
    turns.backlog.hold()
    message = batch(raw("setup", 1)[1], raw("ringing", 2)[1], raw("answered", 3)[1])
    turns.backlog.add(*message)
    turns.backlog.add(*message)
    turns.backlog.add(*raw("ended", 4))
    assert counted == [3, 1]
    assert events_in("call.events.setup", message[1]) == 1
