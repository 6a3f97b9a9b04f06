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

from api import sse
from livestate import diff, stored
from livestate.active_calls import ALL_CALLS, ActiveCalls
from livestate.call import begin
from livestate.client import Dashboard, Parser, ServerEvent
from livestate.errors import Rejected, SnapshotUnusable, UnknownPhase
from livestate.events import (
    MAX_DISPLAY_CHARS,
    PHASES,
    REJECT_REASONS,
    CallEvent,
    parse,
    parse_cdr,
)
from livestate.nodes import Nodes
from livestate.runtime.frame import GZIP_HEADER, Frame
from livestate.runtime.pipeline import Pipeline
from tests.calls import CALL_PHASES, START

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


@st.composite
def anything(draw: st.DrawFn) -> tuple[str, bytes]:
    """A subject and a message: mostly an event with something wrong in it."""
    phase = draw(st.sampled_from([*sorted(PHASES), "nope"]))
    told = GOOD | (SYNC if phase == "sync" else {}) | {"phase": phase}
    told |= draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
    if draw(st.booleans()):
        told.pop(draw(st.sampled_from(sorted(told))))
    data = json.dumps(told, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        at, width = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + width :]
    subject = draw(st.sampled_from([phase, "setup", "*", ">", "RINGING", "setup.x"]) | TEXT)
    return f"call.events.{subject}", data


@given(anything() | st.tuples(st.just("call.events.setup"), st.binary(max_size=200)))
@settings(max_examples=1_500)
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
            assert parse(f"call.events.{event.phase}", again) == event


@given(st.lists(anything(), max_size=12))
@settings(max_examples=200)
def test_whatever_comes_is_counted_as_exactly_one_thing(came: list[tuple[str, bytes]]) -> None:
    table, nodes = ActiveCalls(secret=b"s" * 16, epoch="e"), Nodes(stale_after=6_000)
    pipeline = Pipeline(table, nodes, (), clock=lambda: START)
    for number, (subject, data) in enumerate(came, 1):
        pipeline.take(subject, data)
        pipeline.take_cdr(data)
        assert pipeline.tally.holds
        assert pipeline.tally.received == pipeline.tally.cdrs == number
    assert pipeline.tally.rejected.keys() <= set(REJECT_REASONS)
    assert table.live == sum(call.live for call in table.calls.values())


# -- positions ----------------------------------------------------------------------------------


@given(TEXT | st.text("0123456789abcdef-", max_size=40) | st.from_regex(r"[0-9a-f]{16}-\d{1,18}"))
@settings(max_examples=1_000)
@example("0123456789abcdef-1\n")
@example("0123456789abcdef-\u0661")
def test_a_position_is_one_that_we_write_or_none(text: str) -> None:
    position = sse.read_id(text)
    if position is not None:
        assert sse.write_id(position).decode() == text
        assert len(text) <= sse.MAX_ID_BYTES


@given(st.binary(min_size=8, max_size=8), st.integers(0, 10**16 - 1))
def test_every_position_that_we_write_is_read_again(tag: bytes, version: int) -> None:
    position = sse.Position(tag.hex(), version)
    assert sse.read_id(sse.write_id(position).decode()) == position


# -- and out again ------------------------------------------------------------------------------


@st.composite
def events(draw: st.DrawFn, dialog: str = "1.1", seq: int = 1) -> CallEvent:
    """A good event full of what somebody else chose."""
    texts = draw(st.dictionaries(
        st.sampled_from(["from", "to", "from_uri", "to_uri", "sip_reason", "detail"]), TEXT,
    ))  # fmt: skip
    short = st.text(NASTY, min_size=1, max_size=20)
    told = GOOD | texts | {
        "phase": draw(st.sampled_from(CALL_PHASES)), "seq": seq, "dialog": dialog,
        "call_id": draw(short), "company_id": draw(short), "trunk": draw(short),
    }  # fmt: skip
    event = parse(f"call.events.{told['phase']}", json.dumps(told).encode())
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
@settings(max_examples=300)
def test_a_record_is_the_same_to_any_reader_of_json(event: CallEvent) -> None:
    call = begin("k", event)
    written = orjson.dumps(diff.record(call))
    assert json.loads(written) == diff.record(call)
    assert b"\n" not in written
    assert b"\r" not in written
    lying = stored.encode(call, {"": 1, event.company_id or "": 2})
    assert json.loads(lying)["call_id"] == event.call_id
    again, versions = stored.decode("k", lying)
    assert again == call
    assert stored.encode(again, versions) == lying


@given(JSON, st.binary(max_size=40), st.integers(0, 200))
@settings(max_examples=500)
def test_what_lies_in_redis_is_a_call_or_unusable(told: Any, junk: bytes, at: int) -> None:
    lying = stored.encode(
        begin("k", parse("call.events.setup", json.dumps(GOOD).encode())), {"": 1}
    )
    whole = json.loads(lying)
    edited = [junk, lying[:at] + junk + lying[at:], lying[:at], json.dumps(told).encode(
        "utf-8", "surrogatepass")]  # fmt: skip
    edited += [json.dumps(whole | {name: told}).encode() for name in whole]
    for one in edited:
        try:
            call, versions = stored.decode("k", one)
        except SnapshotUnusable:
            continue
        stored.encode(call, versions)


@given(CALLS, CALLS, st.integers(1, 400), st.lists(st.integers(1, 60), max_size=30))
@settings(max_examples=300)
def test_what_is_written_is_read_again_byte_for_byte(
    before: tuple[CallEvent, ...], after: tuple[CallEvent, ...], part: int, cuts: list[int]
) -> None:
    """Frames → chunks → a real HTTP client → our parser → the fold: the calls of the table. And
    packed, they are the same bytes to zlib."""
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    view, records = table.view(ALL_CALLS), diff.Records()
    for event in before:
        table.apply(event, START)
    frames: list[ServerEvent] = []

    def wrote(name: str, datas: list[bytes]) -> None:
        position = sse.write_id(sse.Position(view.tag, view.version)).decode()
        earlier = frames[-1].id if frames else ""
        frames.extend(ServerEvent(name, data, earlier) for data in datas[:-1])
        frames.append(ServerEvent(name, datas[-1], position))

    wrote("snapshot", diff.snapshot(view.snapshot(), records, START, part))
    version = view.version
    for event in after:
        table.apply(event, START)
    rows = list(view.since(version))
    rows.reverse()
    wrote("diff", [diff.diff(rows, {}, view.gone, records, START)])
    written = [Frame(sse.retry(1_234))]
    shown = ""
    for frame in frames:
        named = sse.read_id(frame.id) if frame.id != shown else None
        written.append(Frame(sse.event(frame.name, frame.data, named)))
        shown = frame.id
    packed = GZIP_HEADER + b"".join(frame.block for frame in written)
    assert zlib.decompressobj(wbits=31).decompress(packed) == b"".join(written)
    raw = b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"".join(frame.chunk for frame in written) + b"0\r\n\r\n"
    client, parser, dashboard = h11.Connection(h11.CLIENT), Parser(), Dashboard()
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    heard: list[ServerEvent] = []
    at = 0
    for cut in [*cuts, len(raw)]:
        client.receive_data(raw[at : at + cut])
        at += cut
        while isinstance(got := client.next_event(), h11.Response | h11.Data):
            if isinstance(got, h11.Data):
                heard += parser.feed(bytes(got.data))
        if got is h11.NEED_DATA and at < len(raw):
            continue
        break
    assert heard == frames
    assert parser.retry == 1_234
    for event_ in heard:
        dashboard.fold(event_)
        assert json.loads(event_.data) == orjson.loads(event_.data)
    assert dashboard.calls == {
        key: diff.record(call) | {"v": v} for key, call, v in view.snapshot()
    }
    assert dashboard.digest == view.digest
