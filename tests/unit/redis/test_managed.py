"""A managed Redis: commands disabled, idle connections reset, keys evicted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, Redis, Valkey
from livestate.redis.connection import Access, connect
from livestate.redis.trouble import explain
from livestate.store import rights
from livestate.store.keys import UNPREFIXED, Keys
from tests import redis_acl
from tests.faults.fault_proxy import FaultProxy
from tests.redis_world import AWKWARD, Managed, kinds, remarked
from tests.unit.cli.test_cli import run


@pytest.fixture(params=kinds(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Redis]:
    found: type[Redis] = request.param
    return found


@pytest.fixture
async def managed(kind: type[Redis]) -> AsyncIterator[Managed]:
    async with Managed(kind) as server:
        yield server


async def test_a_password_may_stand_in_a_file_as_it_is(managed: Managed, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(AWKWARD + "\n")
    url = f"redis://127.0.0.1:{managed.port}"
    _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=url,
                       REDIS_PASSWORD_FILE=str(secret))  # fmt: skip
    assert "✗ Redis" not in out
    for wrong, words in ((url, "requires a login"), (url.replace("//", "//:x@"), "refuses the")):
        _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=wrong)
        assert words in out


async def test_a_unix_socket(kind: type[Redis], tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    async with kind(arguments=("--unixsocket", str(path))):
        async with connect(f"unix://{path}?db=2") as redis:
            assert await redis.set("a", "1")
        async with connect(f"unix://{path}x") as redis:
            with pytest.raises(RedisError) as refused:
                await redis.ping()
            assert str(path) in explain(refused.value).what
    _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                       REDIS_URL=f"unix://{path}")  # fmt: skip
    assert "✗ Redis" in out


async def test_a_database_that_is_not_there_is_named(kind: type[Redis], tmp_path: Path) -> None:
    async with kind() as server:
        _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                           REDIS_URL=server.url.replace("/0", "/99"))  # fmt: skip
        assert "no database of this number" in out


async def test_idle_connections_that_a_proxy_resets_cost_nothing(kind: type[Redis]) -> None:
    async with kind() as server, FaultProxy(server.port) as proxy:
        async with connect(f"redis://127.0.0.1:{proxy.port}") as redis:
            await asyncio.gather(*(redis.set(f"{n}", "x") for n in range(4)))
            for n in range(5):
                proxy.cut()
                await asyncio.sleep(0.05)  # the reset arrives
                await asyncio.gather(*(redis.set(f"{n}", "y") for _ in range(4)))


async def said(tmp_path: Path, url: str, words: str) -> None:
    _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=url)
    assert words in out


async def test_each_right_that_is_missing_is_named_with_its_keys(tmp_path: Path) -> None:
    async with (
        Valkey(arguments=redis_acl.arguments()) as server,
        Client.from_url(server.url) as admin,
    ):
        limited = connect(Access(redis_acl.limited(server.url)))
        async with limited:
            assert await rights.missing(limited, UNPREFIXED) == []
            wanted = Keys("milan:")
            assert f"HSET on {wanted.calls}" in "\n".join(await rights.missing(limited, wanted))
            shipped = redis_acl.shipped().split("-@all ")[1].split()
            optional = {"+info", "+select", "+ping", "+script|load"}
            for rule in shipped:
                if rule in optional:
                    continue
                await admin.execute_command("ACL", "SETUSER", "livestate", "-" + rule[1:])
                named = " ".join(await rights.missing(limited, UNPREFIXED))
                assert f"{rule[1:].upper()} on " in named, rule
                assert "active_calls" in named
                await admin.execute_command("ACL", "SETUSER", "livestate", rule)
            await admin.execute_command("ACL", "SETUSER", "livestate", "-script")
            assert await rights.missing(limited, UNPREFIXED) == ["SCRIPT LOAD (or EVAL)"]
            await admin.execute_command("ACL", "SETUSER", "livestate", "+script|load", "-hset")
        assert await admin.keys("*") == [], "looking writes nothing"
        async with NatsServer() as queue:
            settings = {"NATS_URL": queue.url, "REDIS_URL": redis_acl.limited(server.url),
                        "READY_SECONDS": "1"}  # fmt: skip
            async with Instance(tmp_path, settings) as service:
                await service.until_ready()
                await remarked(service, "the Redis user lacks HSET on {active_calls}:calls")
        await said(tmp_path, redis_acl.limited(server.url), "lacks HSET on {active_calls}:calls")
