"""Lists of many megabytes, and a NATS that stands still: the bridge goes on reading its node, holds
its loop for no long list, and drops and counts what cannot leave."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestate.bridge.kamailio.answers import decoded, dialogs_in, is_list
from livestate.bridge.kamailio.source import FRAMES_AT_ONCE, KamailioSource
from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.bridge.outbox import Outbox
from livestate.contract.messages import Message, Outgoing, message_for
from livestate.devtools.servers import NatsServer
from tests.evapi import Peer
from tests.examples import examples
from tests.harness import now_ms, until
from tests.unit.bridge.bridge_rig import Received, bridging

MARK = {"v": 1, "node": "kam-1", "epoch": 1, "seq": 9, "ts": "1795479511.1"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def dialog(number: int, **changes: Any) -> dict[str, Any]:
    return {"h_entry": number, "h_id": 1, "call-id": f"{number}@x", "state": 4,
            "from_uri": f"sip:{number}@acme.example", "to_uri": "sip:112@acme.example",
            "variables": [{"ls_company": "101"}]} | changes  # fmt: skip


def answer(dialogs: list[Any]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "result": dialogs, "id": "livestate-list"})


class Kept:
    """A receiver that only remembers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refused: list[str] = []

    async def publish(self, outgoing: Outgoing) -> None:
        self.messages.append(outgoing.message)

    def keep(self, cdr: Message, acknowledge: object) -> None:
        self.messages.append(cdr)

    def reject(self, reason: str) -> None:
        self.refused.append(reason)

    def want_list(self) -> None: ...


# -- the answer ----------------------------------------------------------------------------------


async def test_a_long_list_leaves_the_socket_a_turn_every_few_dialogs() -> None:
    """Kamailio stalls all SIP while its evapi client does not read."""
    source, kept, turns = KamailioSource("127.0.0.1", 1), Kept(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    feed = KamailioFeed(kept.reject)
    raw = answer([dialog(number) for number in range(1, 5_001)])
    begin, done = (orjson.dumps(MARK | {"ev": f"snapshot_{what}"}) for what in ("begin", "end"))
    for frame in (begin, raw, done):
        await source._handle(None, feed, frame, kept)  # type: ignore[arg-type]
    other.cancel()
    assert turns >= 5_000 // FRAMES_AT_ONCE
    assert [len(one["calls"]) for one in kept.messages] == [5_000]
    assert kept.refused == []


async def test_thousands_of_kept_ends_leave_the_socket_its_turns() -> None:
    source, kept, turns = KamailioSource("127.0.0.1", 1), Kept(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    over = MARK | {"ev": "ended", "h_entry": 1, "h_id": 1, "call_id": "c"}
    rows = [{"name": f"{n}", "value": orjson.dumps(over | {"seq": n}).decode()}
            for n in range(3_000)]  # fmt: skip
    table = {"jsonrpc": "2.0", "id": "livestate-ends", "result": [{"entry": 0, "slot": rows}]}
    other = asyncio.create_task(others())
    await source._handle(None, KamailioFeed(), orjson.dumps(table), kept)  # type: ignore[arg-type]
    other.cancel()
    assert turns >= 3_000 // FRAMES_AT_ONCE
    assert len(kept.messages) == 3_000


@given(st.lists(VALUES, max_size=6), st.dictionaries(st.text(max_size=4), VALUES, max_size=3),
       st.booleans())  # fmt: skip
@settings(max_examples=examples(200))
def test_dialogs_one_by_one_are_those_of_the_whole_answer(
    result: list[Any], others: dict[str, Any], pretty: bool
) -> None:
    others.pop("result", None)
    members = [*others.items(), ("result", result), ("id", "livestate-list")]
    raw = json.dumps(dict(members), indent=2 if pretty else None).encode()
    assert list(dialogs_in(raw)) == decoded(raw)["result"]


@given(st.binary(max_size=60))
@example(b'{"result":[' + b"[" * 100_000)
@example(b'{"result":[1 2]}')
@example(b'{"result":[1,]}')
@example(b'{"result":[1')
@example(b'{"result":{}}')
@example(b"{}")
@example(b"")
def test_what_is_no_answer_raises_an_error_of_values(raw: bytes) -> None:
    try:
        list(dialogs_in(raw))
    except (ValueError, RecursionError):
        return
    assert b'"result"' in raw


def test_a_dialog_of_a_long_list_that_is_bad_is_refused_alone() -> None:
    refused: list[str] = []
    feed = KamailioFeed(refused.append)
    good = [orjson.dumps(dialog(number)) for number in range(1, 400)]
    good[10] = good[10].replace(b"sip:11@", b"sip:\xff\xfe@")  # bytes that are no UTF-8
    good[20] = good[20].replace(b"sip:21@", b"sip:\\ud83d@")  # half a surrogate pair
    good[30] = good[30].replace(b"sip:31@", b"sip:\x01\t@")  # control characters
    bad = [b"null", b"[]", b"1e999", b"9" * 400,
           b'{"h_entry":%b}' % (b"9" * 5_000), orjson.dumps({"h_entry": 1}),
           orjson.dumps(dialog(1)).replace(b'"h_id":1', b'"h_id":1e999')]  # fmt: skip
    raw = answer([]).replace(b"[]", b"[" + b" , \r\n".join(good + bad) + b"]")
    assert is_list(raw)
    feed.feed(MARK | {"ev": "snapshot_begin"})
    for _ in feed.answer(dialogs_in(raw)):
        pass
    (listed,) = feed.feed(MARK | {"ev": "snapshot_end"})
    assert len(listed.message["calls"]) == 399
    assert (listed.message["unlisted"], len(refused)) == (len(bad), len(bad))


def test_a_long_list_that_breaks_off_is_none() -> None:
    """Half a list would end the calls of the other half."""
    feed = KamailioFeed()
    feed.feed(MARK | {"ev": "snapshot_begin"})
    raw = answer([dialog(number) for number in range(1, 500)])[:-5_000] + b"]]"
    with pytest.raises(ValueError):
        for _ in feed.answer(dialogs_in(raw)):
            pass
    with pytest.raises(Exception, match="did not begin"):
        feed.feed(MARK | {"ev": "snapshot_end"})


async def test_a_list_longer_than_the_room_of_events_arrives_and_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nats_server: NatsServer
) -> None:
    """45,000 dialogs have 32 MB: the mark behind such a list was dropped, so there never was one,
    and Kamailio was asked for the next at once."""
    monkeypatch.setattr("livestate.bridge.kamailio.evapi.INBOX_BYTES", 64 * 1024)
    async with Peer() as peer, Received.on(nats_server.url) as received:
        peer.dialogs = {number: dialog(number) for number in range(1, 2_001)}
        async with bridging(peer, nats_server.url, tmp_path / "spool") as bridge:
            await until(lambda: len({d for one in received.lists for d in one}) == 2_000)
            assert isinstance(bridge.source, KamailioSource)
            assert bridge.source._client is not None
            assert bridge.source._client.dropped == 0
            await asyncio.sleep(2.5)
            assert peer.asked.count("dlg.list") <= 2  # one for the node, one for NATS


async def test_a_list_that_is_too_long_ends_no_connection_and_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nats_server: NatsServer,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """More than 64 MB: the connection was closed, and again with each list."""
    monkeypatch.setattr("livestate.bridge.kamailio.netstring.MAX_BYTES", 100_000)
    async with Peer() as peer, Received.on(nats_server.url) as received:
        peer.dialogs = {number: dialog(number) for number in range(1, 2_001)}
        async with bridging(peer, nats_server.url, tmp_path / "spool", list_seconds=0.5) as bridge:
            await until(lambda: peer.asked.count("dlg.list") >= 3)
            assert any("dlg.list failed: a list of" in line for line in caplog.messages)
            beats = len(received.phases("heartbeat"))
            await until(lambda: len(received.phases("heartbeat")) > beats + 2)
            assert isinstance(bridge.source, KamailioSource)
            assert bridge.source.connections == 1
            assert received.lists == [], "a list without these calls would end them"
            assert bridge.counts.bad >= 2
            peer.dialogs = {1: dialog(1)}
            await until(lambda: len(received.lists) >= 1)
            assert len(received.lists[0]) == 1


# -- NATS stands still ---------------------------------------------------------------------------

LONG = "\U0001f600" * 256  # 1,024 bytes


async def test_publishing_waits_for_no_server_that_stands_still() -> None:
    """nats-py would hold ``publish`` until its server reads, and swallow a cancellation."""
    failed: list[Exception] = []

    async def note(error: Exception) -> None:
        failed.append(error)

    texts = dict.fromkeys(("from", "to", "from_uri", "to_uri", "detail"), LONG)
    event = {"v": 1, "node": "kam-1", "epoch": 1, "ts": now_ms(), "call_id": "c", "dialog": "1.1"}
    async with NatsServer() as server:
        client = await nats.connect(server.url, pending_size=8 * 1024 * 1024, error_cb=note)
        outbox = Outbox(time.monotonic)
        server._signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                for seq in range(8_000):  # 41 MB
                    message = message_for("setup", event | texts | {"seq": seq})
                    sent = await outbox.send(client, message, print)
                    if not sent:
                        break
                    if seq % 100 == 0:
                        await asyncio.sleep(0.001)
        finally:
            server._signal(signal.SIGCONT)
        assert outbox.refused["buffer_full"] == 1
        assert outbox.last_refusal is not None
        assert "bytes wait" in outbox.last_refusal
        await client.flush(10)
        assert await outbox.send(client, message_for("setup", event | {"seq": 9_000}), print)
        await client.close()


@pytest.mark.slow
async def test_dropped_events_are_counted_and_a_list_replaces_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livestate.bridge.outbox.PENDING_BYTES", 256 * 1024)
    async with NatsServer() as server, Peer() as peer, Received.on(server.url) as received:
        async with bridging(peer, server.url, tmp_path / "spool", list_seconds=5) as bridge:
            await until(lambda: received.lists)
            server._signal(signal.SIGSTOP)
            try:
                with caplog.at_level(logging.WARNING):
                    for call in range(1, 4_000):
                        peer.say("setup", call, from_uri=LONG, to_uri=LONG, detail=LONG,
                                 sip_reason=LONG)  # fmt: skip
                        if call % 50 == 0:
                            await asyncio.sleep(0.005)
                        if bridge.outbox.refused["buffer_full"]:
                            break
                    await until(lambda: bridge.outbox.refused["buffer_full"], 6)
            finally:
                server._signal(signal.SIGCONT)
            assert bridge.counts.dropped >= bridge.outbox.refused["buffer_full"] >= 1
            up = {f"{call}.1" for call in peer.dialogs}
            await until(lambda: up == {
                call["dialog"] for one in received.phases("sync")
                if one["seq"] == peer.seq for call in one["calls"]
            }, 30)  # fmt: skip
    assert "cannot publish: reason=buffer_full subject=call.events.setup bytes=" in caplog.text
