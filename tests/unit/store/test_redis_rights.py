"""The ACL that we ship for Redis: enough for the service, too little for anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import NoPermissionError, ResponseError

from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, Redis, Valkey, redis_program
from livestate.store.keys import UNPREFIXED
from tests import redis_acl
from tests.conftest import absent
from tests.harness import Node, Stream, bearer, metrics
from tests.unit.cli.test_cli import run

ACTIVE, META = UNPREFIXED.active, UNPREFIXED.meta


@pytest.fixture(params=["valkey", "redis"])
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "redis" and redis_program() is None:
        absent("redis-server")
    kind = Valkey if request.param == "valkey" else Redis
    async with kind(arguments=redis_acl.arguments()) as server:
        yield server


@pytest.mark.slow
async def test_the_service_can_do_all_it_has_to(guarded: Redis, tmp_path: Path) -> None:
    """It writes, heals, restarts, stands by, takes over, and shares its logouts."""
    async with (
        NatsServer() as queue, Client.from_url(guarded.url) as admin,
    ):  # fmt: skip
        settings = {"NATS_URL": queue.url, "REDIS_URL": redis_acl.limited(guarded.url),
                    "READY_SECONDS": "1", "ENDED_SECONDS": "1"}  # fmt: skip
        first, second = Instance(tmp_path, settings), Instance(tmp_path, settings)
        async with first, await Node.connect(queue.url) as node:
            await first.until_ready()
            async with await Stream.open(first.url, first.token()) as stream:
                for dialog in ("1.1", "2.2"):
                    await node.call(dialog, company_id="101")
                await node.say("ended", "2.2", company_id="101")
                await stream.until(lambda s: list(s.states.values()) == ["answered"])
            await until(admin, 1)
            await admin.delete(ACTIVE)  # an operator edits it
            await until(admin, 1, 30)
            await first.restart()
            await first.until_ready()
            token = first.token()
            async with second:
                await second.until_ready()
                async with httpx.AsyncClient(base_url=first.url) as client:
                    await client.delete("/api/v1/session", headers=bearer(token))
                async with httpx.AsyncClient(base_url=second.url) as client, asyncio.timeout(10):
                    while (
                        await client.get("/api/v1/session", headers=bearer(token))
                    ).status_code == 200:
                        await asyncio.sleep(0.1)
                await first.kill()
                async with asyncio.timeout(20):
                    while not (await metrics(second))["livestate_redis_writer"]:
                        await asyncio.sleep(0.1)
                await node.call("3.3", company_id="101")
                await until(admin, 2, 20)
                for service in (first, second):
                    assert "NOPERM" not in service._log.read_text()
        denied: list[Any] = await admin.acl_log()
        assert denied == []
    code, out = await run("doctor", NATS_URL="nats://127.0.0.1:1", REDIS_URL=settings["REDIS_URL"])
    assert code == 1  # no NATS is there; Redis is as it should be
    assert f"✓ Redis at redis://livestate:***@127.0.0.1:{guarded.port}/0" in out


async def status_of(client: httpx.AsyncClient, token: str) -> int:
    return (await client.get("/api/v1/session", headers=bearer(token))).status_code


async def until(admin: Any, live: int, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while await admin.zcard(ACTIVE) != live:
            await asyncio.sleep(0.05)


FORBIDDEN = [
    ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"),
    ("GET", "other"), ("SET", "other", "1"), ("DEL", "other"), ("RENAME", ACTIVE, "other"),
    ("HSET", "active_callsx", "a", "1"), ("EVAL", "return redis.call('GET', 'other')", "0"),
    ("ACL", "LIST"), ("ACL", "SETUSER", "x"), ("SUBSCRIBE", "x"), ("PUBLISH", "x", "y"),
    ("REPLICAOF", "127.0.0.1", "1"), ("MIGRATE", "h", "1", ACTIVE, "0", "1"),
    ("SHUTDOWN", "NOSAVE"), ("MODULE", "LIST"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1"),
    ("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"), ("MONITOR",), ("SAVE",), ("SORT", ACTIVE),
    ("DUMP", META), ("OBJECT", "ENCODING", META), ("SWAPDB", "0", "1"), ("MOVE", ACTIVE, "1"),
]  # fmt: skip


async def test_it_can_do_nothing_else(guarded: Redis) -> None:
    async with Client.from_url(guarded.url) as admin:
        await admin.set("other", "secret")
        async with Client.from_url(redis_acl.limited(guarded.url)) as ours:
            for command in FORBIDDEN:
                with pytest.raises(NoPermissionError):
                    await ours.execute_command(*command)
            script = await ours.script_load("return redis.call('GET', 'other')")
            with pytest.raises(ResponseError, match=r"permission|NOPERM|can.t access"):
                await ours.evalsha(script, 0)
        assert await admin.get("other") == b"secret"


async def test_without_info_doctor_calls_nothing_broken(tmp_path: Path) -> None:
    """A managed Redis may keep that to itself."""
    rules = (*redis_acl.arguments(), "-info")
    async with Valkey(arguments=rules) as server:
        code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                              REDIS_URL=redis_acl.limited(server.url))  # fmt: skip
        assert code == 1
        assert "✗ Redis" not in out
        assert "does not tell its version" in out
        wrong = redis_acl.limited(server.url).replace(redis_acl.PASSWORD, "hunter2")
        code, out = await run(
            "doctor", cwd=tmp_path, REDIS_URL=wrong, NATS_URL="nats://127.0.0.1:1"
        )
        assert "✗ Redis" in out
        assert "hunter2" not in out
