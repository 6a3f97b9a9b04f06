"""Whatever comes in: the decoder, the reader of positions, and the encoders to real parsers and
back."""

from __future__ import annotations

import json
import zlib
from typing import Any

import h11
import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.stream import sse
from livestate.client import Fold, Parser, ServerEvent
from livestate.contract.errors import Rejected, SnapshotUnusable, UnknownPhase
from livestate.contract.events import PHASES, REJECT_REASONS, CallEvent, Sync
from livestate.contract.parse import parse, parse_cdr
from livestate.contract.validation import MAX_DISPLAY_CHARS
from livestate.fanout import patch
from livestate.fanout.compression import GZIP_HEADER
from livestate.fanout.frame import Frame
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import begin
from livestate.state.nodes.registry import Nodes
from livestate.state.views import ALL_CALLS
from livestate.store import record
from tests.calls import CALL_PHASES, START
from tests.examples import examples

# Every code point, also halves of surrogate pairs, and those that matter to someone more often.
NASTY = st.characters(exclude_categories=()) | st.sampled_from('\r\n\0\u2028\u2029\ufeff\ud800"\\:')
TEXT = st.text(NASTY, max_size=20) | st.sampled_from(["\n\nevent: x\ndata: {}", "x" * 600])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
FIELDS = [
    "v", "phase", "node", "epoch", "seq", "ts", "call_id", "dialog", "company_id", "direction",
    "from", "to", "from_uri", "to_uri", "trunk", "attempt", "setup_at", "answered_at", "ended_at",
    "sip_code", "sip_reason", "by", "outcome", "detail", "sync_id", "part", "parts", "calls",
    "dialogs", "odd",
]  # fmt: skip
GOOD: dict[str, Any] = {
    "v": 1, "phase": "setup", "node": "n1", "epoch": 7, "seq": 9, "ts": START, "call_id": "x",
    "dialog": "1.1",
}  # fmt: skip
SYNC = {"phase": "sync", "sync_id": "1", "part": 1, "parts": 1,
        "calls": [{"call_id": "x", "dialog": "1.1", "state": "held"}]}  # fmt: skip


# Texts that JSON readers treat differently: as a number, as invalid, or as the end.
ODD_TEXTS = [
    "1e999", "-1e999", "NaN", "Infinity", "9" * 19, "9" * 30, "9" * 5_000, "1" + "0" * 400, "-0",
    "1.0", "0.1e-999", "[1e999]", '{"a":1e999}', "[" * 300 + "]" * 300, "[" * 2_000, '"\\ud800"',
    "null", "", '"a":1', json.dumps("x" * 600), json.dumps("\0" * 300),
]  # fmt: skip
HOLE = "@hole@"


@st.composite
def anything(draw: st.DrawFn) -> tuple[str, bytes]:
    """A subject and a message: mostly an event with something wrong in it."""
    phase = draw(st.sampled_from([*sorted(PHASES), "nope"]))
    fields = GOOD | (SYNC if phase == "sync" else {}) | {"phase": phase}
    fields |= draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
    if draw(st.booleans()):
        fields.pop(draw(st.sampled_from(sorted(fields))))
    hole = draw(st.none() | st.sampled_from(FIELDS))
    if hole is not None:
        fields[hole] = HOLE
    if phase == "sync" and draw(st.booleans()):
        odd = {**SYNC["calls"][0], draw(st.sampled_from(FIELDS)): HOLE}
        fields["calls"] = [*SYNC["calls"], odd]
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()))
    data = text.replace(f'"{HOLE}"', draw(st.sampled_from(ODD_TEXTS))).encode(
        "utf-8", "surrogatepass"
    )
    for _ in range(draw(st.integers(0, 2))):
        at, width = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + width :]
    subject = draw(st.sampled_from([phase, "setup", "*", ">", "RINGING", "setup.x"]) | TEXT)
    return f"call.events.{subject}", data


@given(anything() | st.tuples(st.just("call.events.setup"), st.binary(max_size=200)))
@settings(max_examples=examples(1_500))
@example(("call.events.setup", b"[" * 100_000))
@example(("call.events.setup", b'{"\xf0\x9f":1}'))
@example(("call.events.sync", b'{"calls":' * 30_000))
def test_whatever_comes_is_an_event_or_a_reject(came: tuple[str, bytes]) -> None:
    subject, data = came
    for decode in (lambda: parse(subject, data), lambda: parse_cdr(data)):
        try:
            event = decode()
        except Rejected as rejected:
            assert rejected.reason in REJECT_REASONS
            assert len(rejected.detail) <= 200
            if isinstance(rejected, UnknownPhase):
                assert 0 <= rejected.seq < 2**53
        else:
            # What was taken is what a strict reader of JSON would have taken, and says it again.
            again = event.model_dump_json(by_alias=True, exclude_none=True).encode()
            assert json.loads(again) == orjson.loads(again)
            if not (isinstance(event, Sync) and event.refused):  # which are not said again
                assert parse(f"call.events.{event.phase}", again) == event


@given(st.lists(anything(), max_size=12))
@settings(max_examples=examples(200))
def test_whatever_comes_is_counted_as_exactly_one_thing(came: list[tuple[str, bytes]]) -> None:
    table, nodes = ActiveCalls(secret=b"s" * 16, epoch="e"), Nodes(stale_after=6_000)
    pipeline = Pipeline(table, nodes, (), clock=lambda: START)
    for number, (subject, data) in enumerate(came, 1):
        pipeline.handle(subject, data)
        pipeline.handle_cdr(data)
        assert pipeline.counters.balanced
        assert pipeline.counters.received == pipeline.counters.cdrs == number
    assert pipeline.counters.rejected.keys() <= set(REJECT_REASONS)
    assert table.live == sum(call.live for call in table.calls.values())


# -- positions ----------------------------------------------------------------------------------


@given(TEXT | st.text("0123456789abcdef-", max_size=40) | st.from_regex(r"[0-9a-f]{16}-\d{1,18}"))
@settings(max_examples=examples(1_000))
@example("0123456789abcdef-1\n")
@example("0123456789abcdef-\u0661")
def test_a_position_is_one_that_we_write_or_none(text: str) -> None:
    position = sse.read_id(text)
    if position is not None:
        assert sse.write_id(position).decode() == text
        assert len(text) <= sse.MAX_ID_BYTES


@given(st.binary(min_size=8, max_size=8), st.integers(0, 10**16 - 1))
def test_every_position_that_we_write_is_read_again(tag: bytes, version: int) -> None:
    position = sse.EventId(tag.hex(), version)
    assert sse.read_id(sse.write_id(position).decode()) == position


# -- and out again ------------------------------------------------------------------------------


@st.composite
def events(draw: st.DrawFn, dialog: str = "1.1", seq: int = 1) -> CallEvent:
    """A valid event whose texts an attacker chose."""
    texts = draw(st.dictionaries(
        st.sampled_from(["from", "to", "from_uri", "to_uri", "sip_reason", "detail"]), TEXT,
    ))  # fmt: skip
    short = st.text(NASTY, min_size=1, max_size=20)
    fields = GOOD | texts | {
        "phase": draw(st.sampled_from(CALL_PHASES)), "seq": seq, "dialog": dialog,
        "call_id": draw(short), "company_id": draw(short), "trunk": draw(short),
    }  # fmt: skip
    event = parse(f"call.events.{fields['phase']}", json.dumps(fields).encode())
    assert isinstance(event, CallEvent)
    for field, text in texts.items():
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        name = {"from": "caller", "to": "callee"}.get(field, field)
        assert getattr(event, name) == whole[:MAX_DISPLAY_CHARS]
    return event


CALLS = st.integers(0, 6).flatmap(
    lambda n: st.tuples(*(events(dialog=f"{number}.{seq % 3}", seq=seq)
                          for seq, number in enumerate(range(n), 1)))
)  # fmt: skip


@given(events())
@settings(max_examples=examples(300))
def test_a_record_is_the_same_to_any_reader_of_json(event: CallEvent) -> None:
    call = begin("k", event)
    written = orjson.dumps(patch.record(call))
    assert json.loads(written) == patch.record(call)
    assert b"\n" not in written
    assert b"\r" not in written
    lying = record.encode(call, {"": 1, event.company_id or "": 2})
    assert json.loads(lying)["call_id"] == event.call_id
    again, versions = record.decode("k", lying)
    assert again == call
    assert record.encode(again, versions) == lying


@given(JSON, st.binary(max_size=40), st.integers(0, 200))
@settings(max_examples=examples(500))
def test_what_lies_in_redis_is_a_call_or_unusable(content: Any, junk: bytes, at: int) -> None:
    lying = record.encode(
        begin("k", parse("call.events.setup", json.dumps(GOOD).encode())), {"": 1}
    )
    whole = json.loads(lying)
    edited = [junk, lying[:at] + junk + lying[at:], lying[:at], json.dumps(content).encode(
        "utf-8", "surrogatepass")]  # fmt: skip
    edited += [json.dumps(whole | {name: content}).encode() for name in whole]
    for one in edited:
        try:
            call, versions = record.decode("k", one)
        except SnapshotUnusable:
            continue
        record.encode(call, versions)


@given(CALLS, CALLS, st.integers(1, 400), st.lists(st.integers(1, 60), max_size=30))
@settings(max_examples=examples(300))
def test_what_is_written_is_read_again_byte_for_byte(
    before: tuple[CallEvent, ...], after: tuple[CallEvent, ...], part: int, cuts: list[int]
) -> None:
    """Frames → chunks → a real HTTP client → our parser → the fold: the calls of the table. And
    packed, they are the same bytes to zlib."""
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    view, records = table.view(ALL_CALLS), patch.Records()
    for event in before:
        table.apply(event, START)
    frames: list[ServerEvent] = []

    def wrote(name: str, datas: list[bytes]) -> None:
        position = sse.write_id(sse.EventId(view.tag, view.version)).decode()
        earlier = frames[-1].id if frames else ""
        frames.extend(ServerEvent(name, data, earlier) for data in datas[:-1])
        frames.append(ServerEvent(name, datas[-1], position))

    wrote("snapshot", patch.snapshot(view.snapshot(), records, START, part))
    version = view.version
    for event in after:
        table.apply(event, START)
    rows = list(view.since(version))
    rows.reverse()
    wrote("diff", patch.diff(rows, {}, view.gone, records, START))
    written = [Frame(sse.retry(1_234))]
    shown = ""
    for frame in frames:
        named = sse.read_id(frame.id) if frame.id != shown else None
        written.append(Frame(sse.event(frame.name, frame.data, named)))
        shown = frame.id
    packed = GZIP_HEADER + b"".join(frame.independent for frame in written)
    assert zlib.decompressobj(wbits=31).decompress(packed) == b"".join(written)
    raw = b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"".join(frame.chunk for frame in written) + b"0\r\n\r\n"
    client, parser, dashboard = h11.Connection(h11.CLIENT), Parser(), Fold()
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    events: list[ServerEvent] = []
    at = 0
    for cut in [*cuts, len(raw)]:
        client.receive_data(raw[at : at + cut])
        at += cut
        while isinstance(got := client.next_event(), h11.Response | h11.Data):
            if isinstance(got, h11.Data):
                events += parser.feed(bytes(got.data))
        if got is h11.NEED_DATA and at < len(raw):
            continue
        break
    assert events == frames
    assert parser.retry == 1_234
    for one in events:
        dashboard.fold(one)
        assert json.loads(one.data) == orjson.loads(one.data)
    assert dashboard.calls == {
        key: patch.record(call) | {"v": v} for key, call, v in view.snapshot()
    }
    assert dashboard.digest == view.digest
