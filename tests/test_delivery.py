"""CDRs from the spool to a real JetStream: each until it is there, and there once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig

from livestate.runtime import delivery as limits
from livestate.runtime.cdrs import STREAM
from livestate.runtime.delivery import Delivery
from livestate.runtime.embedded import NatsServer
from livestate.runtime.ending import end
from livestate.runtime.spool import Spool
from tests.harness import UNACKED, now_ms
from tests.test_rights import Guarded


async def until(wanted: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not wanted():
            await asyncio.sleep(0.02)


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
async def delivering(url: str, spool: Spool) -> AsyncIterator[Delivery]:
    client = await connected(url)
    delivery = Delivery(client, spool, now_ms)
    delivery.news.set()
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        await end(task)
        await client.close()


async def connected(url: str) -> Client:
    async def quiet(error: Exception) -> None:
        pass

    return await nats.connect(
        url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=quiet,
        connect_timeout=2, ping_interval=3,
    )  # fmt: skip


async def stored(url: str) -> list[str]:
    """The CDRs that the stream holds."""
    client = await connected(url)
    try:
        reader = await client.jetstream().pull_subscribe("cdr.raw", stream=STREAM, config=UNACKED)
        left = (await reader.consumer_info()).num_pending or 0
        found: list[str] = []
        while left:
            for message in await reader.fetch(left, timeout=5):
                left = message.metadata.num_pending
                found.append(orjson.loads(message.data)["name"])
        return found
    finally:
        await client.close()


async def make_stream(url: str, **changes: Any) -> None:
    client = await connected(url)
    told: dict[str, Any] = {"name": STREAM, "subjects": ["cdr.raw"]} | changes
    await client.jetstream().add_stream(StreamConfig(**told))
    await client.close()


async def test_each_cdr_is_stored_once_in_its_order_in_a_stream_that_is_made_for_it(
    nats_server: NatsServer, spool: Spool
) -> None:
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


async def test_a_cdr_whose_answer_was_lost_is_sent_again_and_stored_once(
    nats_server: NatsServer, spool: Spool, tmp_path: Path
) -> None:
    """As after ``kill -9`` between NATS' answer and our note of it."""
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
        assert (delivery.found, delivery.delivered) == (2, 2)
    assert await stored(nats_server.url) == [f"n-1-{n}" for n in range(4)]


async def test_the_shipped_rights_let_a_bridge_do_all_that(spool: Spool, tmp_path: Path) -> None:
    old = now_ms() - limits.OLD_MS - 1_000
    async with Guarded(tmp_path) as server:
        async with delivering(server.url_of("bridge"), spool) as delivery:
            for numbers, ts in ((range(2), old), (range(2, 4), None), (range(4, 6), old)):
                keep(spool, numbers, ts=ts)
                delivery.news.set()
                await until(lambda: not len(spool))
        assert await stored(server.url_of("livestate")) == [f"n-1-{n}" for n in range(6)]


async def test_what_ended_while_nats_was_away_is_stored_when_it_is_back(
    nats_server: NatsServer, spool: Spool
) -> None:
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
        assert delivery.trouble is None
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
