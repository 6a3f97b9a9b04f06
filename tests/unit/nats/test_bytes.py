"""nats-server passes on headers, subjects and replies that are no text: what a bridge's password
accepts byte by byte, on a real nats-server with the configuration that we ship."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import nats
import pytest
from nats.errors import ProtocolError

from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.nats.connection import close, connect
from livestate.nats.jetstream import STREAM
from livestate.nats.message_ids import ids_since
from livestate.nats.parser import MOST_PLACES, Parser
from tests.harness import until
from tests.nats_world import running
from tests.unit.nats.test_rights import Guarded

HEADERS = (
    b"NATS/1.0", b"NATS", b"N", b"NATS/1.0 ", b"NATS/1.0\r\n", b"\x00" * 40,
    b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"NATS/1.0 503 \xff\xfe\r\n\r\n",
    b"NATS/1.0 \xc2\xb2\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 404 No Messages\r\n\r\n", b"NATS/1.0 408\r\n\r\n",
    b"NATS/1.0 409 Consumer Deleted\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0\r\nStatus: 409\r\nDescription: Consumer Deleted\r\n\r\n",
    b"NATS/1.0\r\nNats-Pending-Messages: x\r\nstatus: 503\r\n\r\n",
    b"NATS/1.0\r\na: \xff\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0\r\n:\r\n\r\n",
    b"NATS/1.0\r\n" + b"a:b\r\n" * 2_000 + b"\r\n",
)  # fmt: skip
REPLIES = (b"\xff", b"a\x0bb", b"a\x0cb", b"a\x1cb", b"12", b"12 3", b"$JS.ACK.x", b"\x00")


@contextlib.asynccontextmanager
async def listening(guarded: Guarded) -> AsyncIterator[tuple[list[bytes], list[bytes], Consumer]]:
    received: list[bytes] = []
    read: list[bytes] = []
    url = guarded.url_of("livestate")
    consumer = Consumer(
        url, lambda subject, data, waited_ms: received.append(data), lambda lost: None,
        lambda: None, inbox="_INBOX.livestate",
    )  # fmt: skip
    reader = CdrReader(url, read.append, back_seconds=600, inbox="_INBOX.livestate")
    async with running(consumer.run(), reader.run()):
        await until(lambda: consumer.connected and reader.trouble is None, 5)
        yield received, read, consumer


def has(messages: list[bytes], one: bytes) -> bool:
    return one in messages


async def say(guarded: Guarded, what: bytes) -> None:
    """As the bridge's user, past every client library; back when the server has it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true,"user":"bridge","pass":"pw-of-bridge"}'
                 b"\r\n" + what + b"PING\r\n")  # fmt: skip
    with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(2):
            await reader.readuntil(b"PONG")
    writer.close()


def hpub(subject: bytes, headers: bytes, body: bytes) -> bytes:
    total = len(headers) + len(body)
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (subject, len(headers), total, headers, body)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path) as server:
        yield server


async def test_no_header_ends_a_connection_or_hides_a_cdr(guarded: Guarded) -> None:
    async with listening(guarded) as (received, read, consumer):
        for number, headers in enumerate(HEADERS):
            event, cdr = b"event %d" % number, b"cdr %d" % number
            commands = (hpub(b"call.events.setup", headers, event), hpub(b"cdr.raw", headers, cdr),
                    hpub(b"cdr.raw", headers, b""))  # fmt: skip
            await say(guarded, b"".join(commands))
            await until(partial(has, received, event), 3, partial(repr, headers))
            await until(partial(has, read, cdr), 3, partial(repr, headers))
            await until(lambda n=number: read.count(b"") > n, 3, partial(repr, headers))
        assert consumer.connection.connects == 1
        assert read.count(b"") == len(HEADERS)


async def test_no_subject_and_no_reply_ends_a_connection(guarded: Guarded) -> None:
    async with listening(guarded) as (received, read, consumer):
        for subject in (b"\xff", b"a\x0bb", b"a\x0cb", b"a\x00b", b"a\x1cb", b"a" * 3900):
            await say(guarded, b"PUB call.events.%s 1\r\nx\r\n" % subject)
        for reply in REPLIES:
            await say(guarded, b"PUB call.events.setup %s 1\r\nx\r\nPUB cdr.raw %s 1\r\nx\r\n"
                      % (reply, reply))  # fmt: skip
        await say(guarded, b"PUB call.events.setup 4\r\nlast\r\nPUB cdr.raw 4\r\nlast\r\n")
        await until(lambda: b"last" in received and b"last" in read, 3)
        assert consumer.connection.connects == 1


async def test_odd_headers_in_the_stream_hide_no_id_from_a_bridge(guarded: Guarded) -> None:
    for headers in HEADERS:
        await say(guarded, hpub(b"cdr.raw", headers, b"x"))
    await say(guarded, hpub(b"cdr.raw", b"NATS/1.0\r\nNats-Msg-Id: n-1-7\r\n\r\n", b"x"))
    wanted = len(HEADERS) + 1
    client = await nats.connect(guarded.url_of("streams"), inbox_prefix=b"_INBOX.streams")
    async with asyncio.timeout(5):
        while (await client.jetstream().stream_info(STREAM)).state.messages < wanted:
            await asyncio.sleep(0.05)
    await client.close()
    session = await connect(guarded.url_of("bridge"), "test", inbox="_INBOX.bridge")
    async with asyncio.timeout(5):
        found = [one async for names in ids_since(session.jetstream(), None) for one in names]
    await close(session)
    assert len(found) == wanted
    assert found[-1] == "n-1-7"


class Taken:
    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes, bytes, bytes | None]] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.messages.append((subject, reply, data, headers))


async def test_a_message_is_the_same_in_however_many_pieces_it_comes() -> None:
    stream = (b"MSG a.b 1 3\r\nx\r\n\r\nHMSG a.b 1 r.s 12 14\r\nNATS/1.0\r\n\r\nyz\r\n"
            b"+OK\r\nMSG a 1 r 0\r\n\r\n")  # fmt: skip
    for size in range(1, len(stream) + 1):
        taken = Taken()
        parser = Parser(taken)
        for at in range(0, len(stream), size):
            await parser.parse(stream[at : at + size])
        assert taken.messages == [
            (b"a.b", b"", b"x\r\n", None),
            (b"a.b", b"r.s", b"yz", b"NATS/1.0\r\n\r\n"), (b"a", b"r", b"", None),
        ]  # fmt: skip


async def test_a_direct_subscription_gets_the_same_in_however_many_pieces() -> None:
    stream = (
        b"MSG a.b 1 3\r\nx\r\n\r\nMSG a.b 1 1\r\ny\r\nMSG a.b 2 1\r\nz\r\nMSG a.b 1 r 1\r\nu\r\n"
        b"HMSG a.b 1 12 13\r\nNATS/1.0\r\n\r\nv\r\nMSG a\xff 1 1\r\nw\r\nMSG a\xff 1 0\r\n\r\n"
    )
    for size in range(1, len(stream) + 1):
        got: list[tuple[str, bytes]] = []
        taken = Taken()
        parser = Parser(taken)

        def handle(subject: str, data: bytes, got: list[tuple[str, bytes]] = got) -> bool:
            got.append((subject, data))
            return len(got) % 2 == 0

        parser.handlers[1] = handle
        for at in range(0, len(stream), size):
            await parser.parse(stream[at : at + size])
        assert got == [
            ("a.b", b"x\r\n"), ("a.b", b"y"), ("a.b", b"u"), ("a.b", b"v"),
            ("a\ufffd", b"w"), ("a\ufffd", b""),
        ]  # fmt: skip
        assert taken.messages == [(b"a.b", b"", b"z", None)]


async def test_a_subject_that_came_before_excuses_no_bad_size() -> None:
    for size in (b"-1", b"+1", b"1_0", b"x", b"", b"999999999", b"67108865"):
        parser = Parser(Taken())
        await parser.parse(b"MSG a 1 1\r\nx\r\n")
        with pytest.raises(ProtocolError):
            await parser.parse(b"MSG a 1 %b\r\n" % size)


async def test_what_is_remembered_of_subjects_is_bounded() -> None:
    taken = Taken()
    parser = Parser(taken)
    for number in range(3 * MOST_PLACES):
        await parser.parse(b"MSG s.%d 1 1\r\nx\r\n" % number)
    assert len(taken.messages) == 3 * MOST_PLACES
    assert len(parser._places) == MOST_PLACES


async def test_a_defect_at_one_message_costs_no_other(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[bytes] = []

    def handle(subject: str, data: bytes, waited_ms: int) -> None:
        if data == b"bad":
            raise ValueError("a defect")
        handled.append(data)

    consumer = Consumer(
        guarded.url_of("livestate"), handle, lambda lost, node: None, lambda: None,
        inbox="_INBOX.livestate",
    )  # fmt: skip
    async with running(consumer.run()):
        await until(lambda: consumer.connected, 5)
        await say(
            guarded,
            b"".join(
                b"PUB call.events.setup %d\r\n%b\r\n" % (len(one), one)
                for one in (b"one", b"bad", b"two")
            ),
        )
        await until(lambda: handled == [b"one", b"two"], 5)
        assert consumer.errors == 1
        assert consumer.connection.connects == 1
    assert "defect in livestate" in caplog.text


@pytest.mark.parametrize("said", [
    b"\xff", b"HTTP", b"msg a 1 1\r\n", b"MSG a 1\r\n", b"MSG a x 1\r\n", b"MSG a 1 -1\r\n",
    b"MSG a 1 r s 1\r\n", b"HMSG a 1 9 5\r\n", b"HMSG a 1 5\r\n", b"MSG a 1 999999999\r\n",
    b"MSG  1 1\r\n\r\n", b"INFO" + b" " * 300_000, b"+OK" + b"x" * 5_000 + b"\r\n",
])  # fmt: skip
async def test_what_nats_server_never_sends_is_noticed_at_once(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        await Parser(Taken()).parse(said)
