"""CDRs from the spool to a real JetStream: each until it is there, and there once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig

from livestate.bridge import cdr_publisher as limits
from livestate.bridge.cdr_publisher import CdrPublisher
from livestate.bridge.spool import Spool
from livestate.devtools.servers import NatsServer
from livestate.nats.connection import Connection
from livestate.nats.jetstream import STREAM, create_at
from livestate.process.tasks import cancel_and_wait
from tests.harness import now_ms, stored_cdrs, until
from tests.unit.nats.test_rights import Guarded

INBOX = "_INBOX.bridge"


def keep(spool: Spool, numbers: range, *, ts: int | None = None) -> list[str]:
    names = [f"n-1-{number}" for number in numbers]
    for name in names:
        assert spool.append(name, orjson.dumps({"name": name, "ts": ts or now_ms()}))
    return names


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "spool", most_bytes=1024 * 1024)
    yield spool
    spool.close()


@asynccontextmanager
async def delivering(url: str, spool: Spool) -> AsyncIterator[CdrPublisher]:
    connection = Connection(url, "bridge", inbox=INBOX)
    delivery = CdrPublisher(connection, spool, now_ms)
    delivery.news.set()
    async with connection.running():
        task = asyncio.create_task(delivery.run())
        try:
            yield delivery
        finally:
            await cancel_and_wait(task)


async def connected(url: str) -> Client:
    async def quiet(error: Exception) -> None:
        pass

    return await nats.connect(
        url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=quiet,
        connect_timeout=2, ping_interval=3, inbox_prefix=INBOX,
    )  # fmt: skip


async def stored(url: str) -> list[str]:
    """The CDRs that the stream holds."""
    client = await connected(url)
    try:
        return [orjson.loads(one.data)["name"] for one in await stored_cdrs(client)]
    finally:
        await client.close()


async def make_stream(url: str, **changes: Any) -> None:
    client = await connected(url)
    config: dict[str, Any] = {"name": STREAM, "subjects": ["cdr.raw"]} | changes
    await client.jetstream().add_stream(StreamConfig(**config))
    await client.close()


async def test_each_cdr_is_stored_once_in_its_order(nats_server: NatsServer, spool: Spool) -> None:
    await create_at(nats_server.url)
    names = keep(spool, range(1_000))
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool))
        assert delivery.delivered == 1_000
    assert await stored(nats_server.url) == names
    client = await connected(nats_server.url)
    config = (await client.jetstream().stream_info(STREAM)).config
    await client.close()
    assert config.max_bytes
    assert config.max_age
    assert config.duplicate_window


async def test_a_missing_stream_is_named_and_waited_for(
    nats_server: NatsServer, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    names = keep(spool, range(3))
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: "streams --create" in (delivery.trouble or ""))
        assert "no stream stores cdr.raw" in caplog.text
        assert len(spool) == 3
        client = await connected(nats_server.url)
        assert await client.jetstream().streams_info() == [], "a bridge makes no stream"
        await client.close()
        await create_at(nats_server.url)
        await until(lambda: not len(spool), 5)
    assert await stored(nats_server.url) == names


async def test_a_cdr_whose_answer_was_lost_is_sent_again_and_stored_once(
    nats_server: NatsServer, spool: Spool, tmp_path: Path
) -> None:
    """As after ``kill -9`` between NATS' answer and our note of it."""
    await create_at(nats_server.url)
    names = keep(spool, range(50))
    twin = Spool(tmp_path / "twin", most_bytes=1024 * 1024)
    keep(twin, range(50))
    for one in (spool, twin):
        async with delivering(nats_server.url, one):
            await until(lambda one=one: not len(one))  # type: ignore[misc]
    twin.close()
    assert await stored(nats_server.url) == names


async def test_an_old_cdr_is_looked_for_before_it_is_sent_again(
    nats_server: NatsServer, spool: Spool, tmp_path: Path
) -> None:
    """NATS remembers ids for minutes; here for a moment."""
    await make_stream(nats_server.url, duplicate_window=0.1)
    old = now_ms() - limits.OLD_MS - 1_000
    client = await connected(nats_server.url)
    for name in ("n-1-0", "n-1-1"):  # an attempt whose answer was lost
        await client.jetstream().publish(
            "cdr.raw", orjson.dumps({"name": name}), headers={"Nats-Msg-Id": name}
        )
    await client.close()
    await asyncio.sleep(0.5)
    keep(spool, range(4), ts=old)
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool))
        assert (delivery.already_stored, delivery.delivered) == (2, 2)
    assert await stored(nats_server.url) == [f"n-1-{n}" for n in range(4)]


async def test_the_shipped_rights_let_a_bridge_do_all_that(spool: Spool, tmp_path: Path) -> None:
    old = now_ms() - limits.OLD_MS - 1_000
    async with Guarded(tmp_path) as server:
        async with delivering(server.url_of("bridge"), spool) as delivery:
            for numbers, ts in ((range(2), old), (range(2, 4), None), (range(4, 6), old)):
                keep(spool, numbers, ts=ts)
                delivery.news.set()
                await until(lambda: not len(spool))
        assert await stored(server.url_of("bridge")) == [f"n-1-{n}" for n in range(6)]


async def test_what_ended_while_nats_was_away_is_stored_when_it_is_back(
    nats_server: NatsServer, spool: Spool
) -> None:
    await create_at(nats_server.url)
    first = keep(spool, range(20))
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool))
        await nats_server.kill()
        then = keep(spool, range(20, 60))
        delivery.news.set()
        await until(lambda: delivery.trouble is not None)
        assert len(spool) == 40
        await nats_server.start()
        await until(lambda: not len(spool))
        await until(lambda: delivery.trouble is None)
    assert await stored(nats_server.url) == first + then


async def test_a_stream_that_takes_no_more_loses_none(
    nats_server: NatsServer, spool: Spool
) -> None:
    await make_stream(nats_server.url, max_msgs=5, discard=DiscardPolicy.NEW)
    names = keep(spool, range(12))
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: delivery.trouble is not None)
        assert len(spool) == 7
        client = await connected(nats_server.url)
        await client.jetstream().update_stream(
            StreamConfig(name=STREAM, subjects=["cdr.raw"], max_msgs=-1)
        )
        await client.close()
        await until(lambda: not len(spool))
    assert sorted(await stored(nats_server.url)) == sorted(names)


@pytest.mark.slow
async def test_a_cdr_that_is_refused_while_others_are_taken_waits_alone(
    nats_server: NatsServer, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream is nearly full, and one is larger than what is left of it."""
    await make_stream(nats_server.url, max_bytes=20_000, discard=DiscardPolicy.NEW)
    large = {"name": "large", "ts": now_ms(), "detail": "d" * 30_000}
    assert spool.append("large", orjson.dumps(large))
    names = keep(spool, range(20))
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: delivery.delivered == 20)
        for number in range(20, 50):
            names += keep(spool, range(number, number + 1))
            delivery.news.set()
            await asyncio.sleep(0.1)
        await until(lambda: delivery.delivered == 50)
        assert delivery.trouble is None, "the others go on"
        assert 1 <= delivery.limits.refusals <= 4, "after 1 s, 2 s and 4 s more"
        assert "a CDR is not taken, the others go on: id=large" in caplog.text
        client = await connected(nats_server.url)
        await client.jetstream().update_stream(
            StreamConfig(name=STREAM, subjects=["cdr.raw"], max_bytes=-1)
        )
        await client.close()
        await until(lambda: not len(spool))
    assert sorted(await stored(nats_server.url)) == sorted([*names, "large"])
