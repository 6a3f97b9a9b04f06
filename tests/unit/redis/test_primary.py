"""The primary is found behind Sentinels and in a cluster, and found again after it moved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from api.auth.session_store import Cipher, Record, SessionStore
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import Redis, Valkey
from livestate.redis.connection import Access, connect, leave_former_primary, lookup_trouble
from livestate.redis.primary import Sentinels
from livestate.redis.trouble import explain
from livestate.store.keys import UNPREFIXED
from tests.faults.fault_proxy import FaultProxy
from tests.redis_world import (
    Authority,
    ClusterOfTwo,
    Sentinel,
    TlsRedis,
    eventually,
    kinds,
    replicate,
)
from tests.unit.cli.test_cli import run

DIGEST = b"d" * 32
RECORD = Record("user-1", "noc", None, 2e9, 2e9, 1.0)


@pytest.fixture(params=kinds(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Redis]:
    found: type[Redis] = request.param
    return found


@pytest.fixture
async def pair(kind: type[Redis]) -> AsyncIterator[tuple[Redis, Redis]]:
    async with kind() as primary, kind() as replica:
        await replicate(primary, replica)
        yield primary, replica


async def switch(primary: Redis, replica: Redis, *sentinels: Sentinel) -> None:
    """What a failover leaves behind. ``make faults`` waits for one that Sentinels make."""
    async with Client.from_url(replica.url) as promoted, Client.from_url(primary.url) as former:
        await promoted.execute_command("REPLICAOF", "NO", "ONE")
        await former.execute_command("REPLICAOF", "127.0.0.1", str(replica.port))
    for sentinel in sentinels:
        async with Client(port=sentinel.port, password=sentinel.password) as asked:
            await asked.execute_command("SENTINEL", "REMOVE", "mymaster")
            await asked.execute_command(
                "SENTINEL", "MONITOR", "mymaster", "127.0.0.1", str(replica.port), "1"
            )


async def test_sessions_follow_the_primary(pair: tuple[Redis, Redis]) -> None:
    """Three Sentinels with a password of their own; one of them is stopped."""
    sentinels = [Sentinel(pair[0], password="s=s") for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for sentinel in sentinels:
            await stack.enter_async_context(sentinel)
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
        access = Access(f"redis+sentinel://{hosts}/mymaster/0", sentinel_password="s=s")
        redis = await stack.enter_async_context(connect(access))
        store = SessionStore(redis, Cipher("k" * 32))
        await store.save(DIGEST, RECORD)
        await asyncio.gather(*(store.load(DIGEST) for _ in range(8)))  # several connections
        await sentinels[0].kill()
        async with Client.from_url(pair[0].url) as first:
            await first.wait(1, 5000)
        await switch(*pair, *sentinels[1:])
        with pytest.raises(RedisError) as refused:
            await store.save(DIGEST, RECORD)
        assert "replica" in explain(refused.value).what
        await store.save(DIGEST, RECORD)  # each of the other connections was left too
        await asyncio.gather(*(store.save(DIGEST, RECORD) for _ in range(8)))
        assert await store.load(DIGEST) == RECORD
        async with Client.from_url(pair[1].url) as promoted:
            assert await promoted.hlen(UNPREFIXED.sessions) == 1


async def test_a_wrong_group_or_password_and_dead_sentinels_are_named(tmp_path: Path) -> None:
    async with Valkey() as primary, Sentinel(primary, password="right") as sentinel:
        host = f"127.0.0.1:{sentinel.port}"
        cases = {
            f"redis+sentinel://{host}/mymaster?sentinel_password=wrong": "no Sentinel says",
            f"redis+sentinel://{host}/other?sentinel_password=right": "do not know this group",
            "redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster": "no Sentinel says",
        }
        for url, words in cases.items():
            code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                                  REDIS_URL=url)  # fmt: skip
            assert code == 1
            assert words in out, out
            assert "password=wrong" not in out
            assert "password=right" not in out


async def test_sentinels_that_are_away_stop_nothing(kind: type[Redis]) -> None:
    async with kind() as primary, Sentinel(primary) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        async with connect(url) as redis:
            await redis.set("a", "1")
            await sentinel.kill()
            await leave_former_primary(redis)
            assert await redis.get("a") == b"1"
            assert "no Sentinel names the primary" in (lookup_trouble(redis) or "")
            await sentinel.start()
            await leave_former_primary(redis)
            assert lookup_trouble(redis) is None


async def test_a_former_primary_that_still_answers_is_left(pair: tuple[Redis, Redis]) -> None:
    """Sentinels cannot reach it, we can."""
    primary, replica = pair
    async with Sentinel(primary) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        async with connect(url) as redis, Client(port=sentinel.port) as asked:
            await redis.set("where", "first")
            await asked.execute_command("SENTINEL", "REMOVE", "mymaster")
            await asked.execute_command(
                "SENTINEL", "MONITOR", "mymaster", "127.0.0.1", str(replica.port), "1"
            )
            async with Client.from_url(replica.url) as promoted:
                await promoted.execute_command("REPLICAOF", "NO", "ONE")
            await redis.set("where", "still the first")
            await leave_former_primary(redis)
            await redis.set("where", "the second")
            async with Client.from_url(replica.url) as promoted:
                assert await promoted.get("where") == b"the second"


async def test_most_sentinels_count_and_a_silent_one_is_not_waited_for(kind: type[Redis]) -> None:
    async with kind() as one, kind() as other, contextlib.AsyncExitStack() as stack:
        behind = await stack.enter_async_context(Sentinel(one))
        right = [await stack.enter_async_context(Sentinel(other)) for _ in range(2)]
        silent = await stack.enter_async_context(FaultProxy(right[0].port))
        silent.freeze()

        def ask(ports: list[int]) -> Sentinels:
            hosts = [("127.0.0.1", port) for port in ports]
            return Sentinels(hosts, "mymaster", lambda at: connect(f"redis://{at[0]}:{at[1]}"))

        wanted = ("127.0.0.1", other.port)
        assert await ask([behind.port, *(each.port for each in right)]).address() == wanted
        started = asyncio.get_running_loop().time()
        assert await ask([silent.port, *(each.port for each in right)]).address() == wanted
        assert asyncio.get_running_loop().time() - started < 0.9, "two of three had answered"


async def test_tls_reaches_primary_and_sentinels(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    async with TlsRedis(ours, "localhost", "127.0.0.1") as primary:
        certificate, key = ours.issue("server", "localhost", "127.0.0.1")
        tls = free_port()
        lines = (
            f"tls-port {tls}",
            f"tls-cert-file {certificate}",
            f"tls-key-file {key}",
            f"tls-ca-cert-file {ours.file}",
            "tls-auth-clients no",
            "tls-replication yes",
            f"sentinel monitor secure 127.0.0.1 {primary.tls_port} 1",
        )
        async with Sentinel(primary, lines=lines):
            access = Access(f"rediss+sentinel://localhost:{tls}/secure", ca_file=str(ours.file))
            async with connect(access) as redis:
                assert await eventually(redis.ping)
                assert (await redis.info("server"))["tcp_port"] == primary.port


async def test_a_cluster_is_followed_when_our_slot_moves(kind: type[Redis]) -> None:
    async with ClusterOfTwo(kind) as cluster, cluster.clients() as clients:
        slot: int = await clients[0].execute_command("CLUSTER", "KEYSLOT", "active_calls")
        names = (*UNPREFIXED.table, *UNPREFIXED.staged(7), UNPREFIXED.logouts,
                 UNPREFIXED.sessions, UNPREFIXED.refreshing + "ab")  # fmt: skip
        for name in names:
            assert await clients[0].execute_command("CLUSTER", "KEYSLOT", name) == slot
        home = 0 if slot < 8192 else 1
        seed = cluster.nodes[1 - home]  # it has none of our keys
        async with connect(f"redis+cluster://127.0.0.1:{seed.port}") as redis:
            store = SessionStore(redis, Cipher("k" * 32))
            await store.save(DIGEST, RECORD)
            assert await clients[home].hlen(UNPREFIXED.sessions) == 1
            await cluster.move(slot, 1 - home)
            await eventually(lambda: store.save(DIGEST, RECORD))
            assert await clients[1 - home].hlen(UNPREFIXED.sessions) == 1
        async with connect(cluster.nodes[home].url) as plain:
            with pytest.raises(RedisError) as refused:
                await plain.get("active_calls")
            assert "node of a Redis Cluster" in explain(refused.value).what
            assert "redis+cluster://" in explain(refused.value).mend
            with pytest.raises(RedisError) as crossed:
                await plain.execute_command("MGET", "{a}", "{b}")
            assert "share a slot" in explain(crossed.value).what


async def test_doctor_refuses_a_cluster_in_words_and_takes_its_url(tmp_path: Path) -> None:
    async with ClusterOfTwo(Valkey) as cluster:
        for node in cluster.nodes:
            code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                                  REDIS_URL=node.url)  # fmt: skip
            assert code == 1
            assert "✗ Redis" in out
            assert "is a node of a Redis Cluster" in out
        url = f"redis+cluster://127.0.0.1:{cluster.nodes[0].port}"
        _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=url)
        assert "✓ Redis" in out
        alone = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[0].port}"
        _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=alone)
        assert "✓ Redis" in out, "the first node of the URL is away"
