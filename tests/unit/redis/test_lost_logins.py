"""A failover loses sessions and logouts: the instances that know them write them again."""

from __future__ import annotations

import time

from redis.asyncio import Redis as Client

from api.auth.logout import Logouts
from livestate.devtools.servers import Redis, Valkey
from livestate.redis.connection import connect
from livestate.store.keys import UNPREFIXED
from tests.faults.fault_proxy import FaultProxy
from tests.redis_world import eventually
from tests.unit.auth.test_sessions import sessions_on, tokens


async def test_logouts_that_a_failover_lost_are_sent_again(redis_server: Redis) -> None:
    async with Valkey() as behind, FaultProxy(redis_server.port) as line:
        async with Client.from_url(behind.url) as other:
            await other.xadd(UNPREFIXED.logouts, {"login": "00", "expires": 1})
            async with connect(f"redis://127.0.0.1:{line.port}") as redis:
                logouts = Logouts(time.time, redis)
                logouts.end(b"l" * 32, time.time() + 100)
                await logouts.exchange()
                line.target = behind.port
                line.cut()
                await eventually(logouts.exchange)
            entries = [fields for _, fields in await other.xrange(UNPREFIXED.logouts)]
            assert (b"l" * 32).hex().encode() in [fields[b"login"] for fields in entries]


async def test_sessions_that_a_failover_lost_are_written_again(redis_server: Redis) -> None:
    async with Valkey() as behind, FaultProxy(redis_server.port) as line:
        async with Client.from_url(behind.url) as other:
            await other.hset(UNPREFIXED.sessions, "00" * 32, "of somebody else")
            async with connect(f"redis://127.0.0.1:{line.port}") as redis:
                sessions = sessions_on(redis)
                await sessions.begin(tokens())
                await sessions._write_unsaved()
                line.target = behind.port
                line.cut()
                await eventually(redis.ping)
                await sessions._write_unsaved()
            assert await other.hlen(UNPREFIXED.sessions) == 2
