"""Where Redis is slow for a moment, every task that asks it waits; none fails for the others."""

from __future__ import annotations

import asyncio

from livestate.devtools.servers import Valkey
from livestate.redis.connection import connect

TASKS = 12  # of a service that use Redis at once: flush, lease, figures, alarms, logins …


async def test_as_many_commands_as_there_are_tasks_wait_for_a_redis_that_hangs() -> None:
    async with Valkey() as valkey, connect(valkey.url) as redis:
        valkey.pause()
        try:
            asking = [asyncio.create_task(redis.incr("asked")) for _ in range(TASKS)]
            await asyncio.sleep(0.3)
        finally:
            valkey.resume()
        assert sorted(await asyncio.gather(*asking)) == list(range(1, TASKS + 1))
