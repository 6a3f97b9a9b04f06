"""Message ids of CDRs: no bridge can store junk under the id of another node's next CDR, nor under
that of the service's next dead letter, with the rights that we ship."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.msg import Msg

from livestate.bridge.kamailio.source import KamailioSource
from livestate.bridge.relay import Bridge
from livestate.bridge.spool import Spool
from livestate.devtools.servers import NatsServer
from livestate.ingest.cdr_reader import CdrReader
from livestate.nats.cdr_ids import KEY_FILE, CdrIds, key_in, plain_id
from livestate.nats.jetstream import STREAM
from livestate.process.tasks import cancel_and_wait
from tests.harness import now_ms, stored_cdrs, until
from tests.unit.ingest import test_vouched
from tests.unit.nats import test_rights

CDR = {"v": 1, "phase": "ended", "node": "kam-1", "epoch": 7, "seq": 10, "ts": now_ms(),
       "call_id": "a@b", "dialog": "1.1", "outcome": "answered"}  # fmt: skip


@asynccontextmanager
async def plain(directory: Path) -> AsyncIterator[tuple[NatsServer, dict[str, str], str]]:
    """The shipped nats.conf; the URL of each user; where CDRs are stored."""
    async with test_rights.Guarded(directory) as server:
        urls = {"victim": server.url_of("bridge"), "insider": server.url_of("bridge")}
        yield server, urls | {"livestate": server.url_of("livestate")}, "cdr.raw"


@asynccontextmanager
async def vouched(directory: Path) -> AsyncIterator[tuple[NatsServer, dict[str, str], str]]:
    """The shipped nats-vouched.conf."""
    async with test_vouched.Guarded(directory) as server:
        await test_vouched.make_streams(server)
        urls = {"victim": server.url_of("kam-1"), "insider": server.url_of("kam-2")}
        yield server, urls | {"livestate": server.url_of("livestate")}, "nodes.*.cdr.raw"


@asynccontextmanager
async def bridging(url: str, spool: Path) -> AsyncIterator[Bridge]:
    """A bridge whose Kamailio is away: the test says what it keeps."""
    bridge = Bridge(KamailioSource("127.0.0.1", 1), url, spool, clock=now_ms,
                    spool_bytes=1 << 20, list_seconds=60, inbox="_INBOX.bridge")  # fmt: skip
    task = asyncio.create_task(bridge.run())
    try:
        yield bridge
    finally:
        await cancel_and_wait(task)


async def stored(url: str, subject: str) -> list[Msg]:
    client = await nats.connect(url, inbox_prefix=b"_INBOX.livestate")
    try:
        return await stored_cdrs(client, subject)
    finally:
        await client.close()


def ids_in(messages: list[Msg]) -> list[str]:
    return [(message.headers or {}).get("Nats-Msg-Id", "") for message in messages]


@pytest.mark.parametrize("shipped", [plain, vouched])
async def test_junk_under_a_guessed_id_hides_no_cdr(tmp_path: Path, shipped: Any) -> None:
    async with shipped(tmp_path) as (_, urls, subject):
        insider = await nats.connect(urls["insider"], inbox_prefix=b"_INBOX.bridge")
        cdrs = [CDR | {"seq": seq} for seq in range(10, 14)]
        async with bridging(urls["victim"], tmp_path / "spool") as bridge:
            bridge.keep(cdrs[0], None)
            await until(lambda: bridge.cdr_publisher.delivered == 1)
            # The insider knows one id of that node, as if it could read the stream, and counts on.
            known = ids_in(await stored(urls["livestate"], subject))[0]
            guessed = {guess for cdr in cdrs[1:] for guess in (
                plain_id(cdr), known.replace(plain_id(cdrs[0]), plain_id(cdr)),
                CdrIds().id_of(cdr))}  # fmt: skip
            for guess in guessed:
                await insider.jetstream().publish(
                    "cdr.raw", b"junk", headers={"Nats-Msg-Id": guess}
                )
            for cdr in cdrs[1:]:
                bridge.keep(cdr, None)
            await until(lambda: bridge.cdr_publisher.delivered == len(cdrs))
        await insider.close()
        messages = await stored(urls["livestate"], subject)
        good = [orjson.loads(one.data)["seq"] for one in messages if one.data != b"junk"]
        assert good == [10, 11, 12, 13]
        assert len(messages) == len(good) + len(guessed)


async def test_a_cdr_that_is_sent_again_after_a_restart_has_its_id(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", most_bytes=1 << 20)
    first = spool.ids.id_of(CDR)
    spool.close()
    again = Spool(tmp_path / "spool", most_bytes=1 << 20)
    other = Spool(tmp_path / "other", most_bytes=1 << 20)
    assert again.ids.id_of(CDR) == first != other.ids.id_of(CDR)
    assert first.startswith("kam-1-7-10-")
    again.close()
    other.close()
    assert (tmp_path / "spool" / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("held", ["", "00", "zz" * 32, "é", "0" * 65])
def test_a_damaged_key_is_replaced(
    tmp_path: Path, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / KEY_FILE).write_text(held)
    key = key_in(tmp_path)
    assert len(key) == 32
    assert key == key_in(tmp_path)
    assert caplog.text.count("key of message ids") == 1


def test_a_key_that_cannot_be_kept_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "id.part").mkdir()
    assert len(key_in(tmp_path)) == 32
    assert "cannot be kept" in caplog.text


async def test_an_end_that_an_earlier_version_delivered_is_not_kept_again(tmp_path: Path) -> None:
    """Kamailio tells an end again until it hears that the bridge has it."""
    spool = Spool(tmp_path / "spool", most_bytes=1 << 20)
    assert spool.append("kam-1-7-9", orjson.dumps(CDR))  # keeps the file and so the note
    assert spool.append(plain_id(CDR), orjson.dumps(CDR))
    spool.delivered(plain_id(CDR))
    spool.close()
    bridge = Bridge(KamailioSource("127.0.0.1", 1), "nats://127.0.0.1:1", tmp_path / "spool",
                    clock=now_ms, spool_bytes=1 << 20, list_seconds=60)  # fmt: skip
    bridge.keep(CDR, None)
    assert bridge.spool.names() == ["kam-1-7-9"]
    bridge.keep(CDR | {"seq": 11}, None)
    assert len(bridge.spool) == 2
    bridge.spool.close()


async def test_junk_under_a_guessed_id_hides_no_dead_letter(tmp_path: Path) -> None:
    """With nats.conf a bridge can let JetStream deliver its CDRs onto ``cdr.dead``."""
    async with plain(tmp_path) as (server, urls, _):
        insider = await nats.connect(urls["insider"], inbox_prefix=b"_INBOX.bridge")
        streams = insider.jetstream()
        for seq in range(1, 9):
            await streams.publish("cdr.raw", b"junk", headers={"Nats-Msg-Id": f"CDR-{seq}"})
        push = {"name": "evil", "deliver_policy": "all", "ack_policy": "none",
                "deliver_subject": "cdr.dead", "mem_storage": True}  # fmt: skip
        await insider.request("$JS.API.CONSUMER.CREATE.CDR.evil", orjson.dumps(
            {"stream_name": STREAM, "config": push}), timeout=3)  # fmt: skip
        await asyncio.sleep(0.3)
        await streams.publish("cdr.raw", b"a node's own junk")
        await insider.close()
        reader = CdrReader(urls["livestate"], lambda data: "no CDR", back_seconds=60,
                           inbox="_INBOX.livestate")  # fmt: skip
        reading = asyncio.create_task(reader.run())
        await until(lambda: reader.dead_letters.stored == 9)
        await cancel_and_wait(reading)
        operator = await nats.connect(
            server.url_of("streams"),  # type: ignore[attr-defined]
            inbox_prefix=b"_INBOX.streams",
        )
        dead = await operator.jetstream().stream_info("CDR_DEAD")
        await operator.close()
        assert dead.state.messages >= 9 + 8, "the letters, beside what the insider delivered"
