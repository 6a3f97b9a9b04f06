"""CDRs that waited for longer than NATS remembers ids: each once, whatever dies, and in time."""

from __future__ import annotations

import asyncio
import sysconfig
from collections import Counter
from pathlib import Path
from random import Random

import orjson
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from livestate.bridge.cdr_publisher import OLD_MS
from livestate.bridge.spool import Spool
from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import STREAM
from tests.harness import now_ms
from tests.unit.bridge.test_cdr_publisher import (
    connected,
    delivering,
    keep,
    make_stream,
    stored,
    until,
)

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")
AN_HOUR = 3_600_000


@pytest.fixture
def old() -> int:
    return now_ms() - AN_HOUR


async def bridge(url: str, spool: Path) -> asyncio.subprocess.Process:
    """A bridge whose Kamailio is down: it delivers what waits."""
    return await asyncio.create_subprocess_exec(
        LIVESTATE, "bridge", "--evapi", "127.0.0.1:1", "--nats-url", url, "--spool", str(spool),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def test_what_a_return_reads_grows_with_the_cdrs_and_not_with_their_square(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    await make_stream(nats_server.url)
    read = {}
    for count in (1_000, 4_000):
        spool = Spool(tmp_path / str(count), most_bytes=1 << 24)
        for number in range(count):
            assert spool.append(f"{count}-1-{number}", orjson.dumps({"ts": old, "name": ""}))
        async with delivering(nats_server.url, spool) as delivery:
            await until(lambda spool=spool: not len(spool), 60)  # type: ignore[misc]
            read[count] = delivery._connection.client.stats["in_msgs"]
        spool.close()
    # An answer a CDR, and each message that is in the stream once.
    assert read[1_000] < 1_000 + 100
    assert read[4_000] < 4_000 + 1_000 + 100


async def test_old_cdrs_that_come_while_others_are_delivered_are_looked_for_too(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    """As a node tells what it kept, an hour old, after the spool was read."""
    await make_stream(nats_server.url, duplicate_window=0.1)
    client = await connected(nats_server.url)
    for name in ("n-1-3", "n-1-1003"):
        await client.jetstream().publish(
            "cdr.raw", orjson.dumps({"name": name}), headers={"Nats-Msg-Id": name}
        )
    await asyncio.sleep(0.5)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    keep(spool, range(1_000), ts=old)
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: delivery.delivered > 300)
        keep(spool, range(1_000, 1_010), ts=old)
        keep(spool, range(1_010, 1_020), ts=now_ms())
        delivery.news.set()
        await until(lambda: not len(spool))
        assert delivery.already_stored == 2
    spool.close()
    await client.close()
    assert Counter(await stored(nats_server.url)) == Counter(f"n-1-{n}" for n in range(1_020))


async def test_a_cdr_with_a_time_ahead_of_ours_is_looked_for_as_an_old_one(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The clock of its node is off, so its age is unknown."""
    await make_stream(nats_server.url, duplicate_window=0.1)
    client = await connected(nats_server.url)
    await client.jetstream().publish(
        "cdr.raw", orjson.dumps({"name": "n-1-0"}), headers={"Nats-Msg-Id": "n-1-0"}
    )
    await client.close()
    await asyncio.sleep(0.5)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    keep(spool, range(2), ts=now_ms() + AN_HOUR)
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool))
        assert (delivery.already_stored, delivery.delivered) == (1, 1)
    spool.close()
    assert await stored(nats_server.url) == ["n-1-0", "n-1-1"]


async def test_a_window_shorter_than_ours_makes_cdrs_old_sooner(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """``nats stream add`` proposes two minutes."""
    await make_stream(nats_server.url, duplicate_window=120)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    names = keep(spool, range(2), ts=now_ms() - OLD_MS // 2)
    client = await connected(nats_server.url)
    await client.jetstream().publish("cdr.raw", orjson.dumps({"name": names[0]}),
                                     headers={"Nats-Msg-Id": names[0]})  # fmt: skip
    await client.close()
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool))
        assert delivery.already_stored == 1
    spool.close()


async def test_a_bridge_killed_again_and_again_delivers_each_old_cdr_once(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    """NATS remembers ids for a moment only: what was stored is known by looking."""
    await make_stream(nats_server.url, duplicate_window=0.1)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    names = keep(spool, range(8_000), ts=old)
    spool.close()
    chance = Random(5)
    client = await connected(nats_server.url)
    kills = 0
    while (before := await count(client)) < len(names) and kills < 6:
        process = await bridge(nats_server.url, tmp_path / "spool")
        try:
            async with asyncio.timeout(30):  # not before it has begun
                while await count(client) == before:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 0.1))
        finally:
            process.kill()
            await process.wait()
        kills += 1
        await asyncio.sleep(0.3)
    await client.close()
    assert kills >= 3
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    async with delivering(nats_server.url, spool):
        await until(lambda: not len(spool), 60)
    spool.close()
    assert Counter(await stored(nats_server.url)) == Counter(names)


async def count(client: Client) -> int:
    """How many CDRs the stream holds."""
    return (await client.jetstream().stream_info(STREAM)).state.messages


async def test_a_nats_killed_again_and_again_stores_each_old_cdr_once(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    """With the window of ``nats stream add``: it knows what was under way, a look the rest."""
    await make_stream(nats_server.url, duplicate_window=120)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    names = keep(spool, range(6_000), ts=old)
    async with delivering(nats_server.url, spool) as delivery:
        for left in (5_500, 4_000, 2_500):
            await until(lambda left=left: len(spool) < left, 60)  # type: ignore[misc]
            await nats_server.kill()
            await asyncio.sleep(0.3)
            await nats_server.start()
        await until(lambda: not len(spool), 60)
        assert delivery.trouble is None
    spool.close()
    found = Counter(await stored(nats_server.url))
    assert found.keys() == set(names)
    assert not [name for name, times in found.items() if times > 1]


async def test_a_stream_that_drops_its_oldest_meanwhile_holds_up_no_look(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    await make_stream(nats_server.url, max_msgs=50)
    client = await connected(nats_server.url)
    for number in range(60):
        await client.jetstream().publish("cdr.raw", orjson.dumps({"name": "other"}),
                                         headers={"Nats-Msg-Id": f"o-1-{number}"})  # fmt: skip
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    keep(spool, range(3_000), ts=old)
    async with delivering(nats_server.url, spool) as delivery:
        await until(lambda: not len(spool), 60)
        assert delivery.delivered == 3_000
    spool.close()
    assert (await client.jetstream().stream_info(STREAM)).state.messages == 50
    await client.close()


async def test_a_recreated_stream_gets_each_remaining_cdr_once(
    nats_server: NatsServer, tmp_path: Path, old: int
) -> None:
    await make_stream(nats_server.url, duplicate_window=0.1)
    client = await connected(nats_server.url)
    spool = Spool(tmp_path / "spool", most_bytes=1 << 24)
    names = keep(spool, range(4_000), ts=old)
    async with delivering(nats_server.url, spool):
        await until(lambda: len(spool) < 3_000, 60)
        await client.jetstream().delete_stream(STREAM)
        await client.jetstream().add_stream(StreamConfig(name=STREAM, subjects=["cdr.raw"]))
        await until(lambda: not len(spool), 60)
    spool.close()
    await client.close()
    found = await stored(nats_server.url)
    assert len(found) == len(set(found))
    assert set(names[-2_500:]) <= set(found)
