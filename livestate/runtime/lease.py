"""Who writes to Redis: one instance at a time, by a lease that expires and a fence that grows.

The lease keeps others from writing while its holder lives; the fence keeps a holder that was
stopped for longer than the lease from writing over its successor. Every flush renews the one and
checks the other. Whoever does not hold it is a warm standby: it folds and serves like the writer.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from redis.asyncio import Redis

from livestate.runtime.redis_table import META, WRITER

LEASE_MS: Final = 6_000  # three times what passes between two flushes of a quiet writer
CLAIM_SECONDS: Final = 0.5


class Lease:
    """This instance's claim to write. ``fence`` is 0 while it has none."""

    def __init__(self, redis: Redis, holder: str) -> None:
        self.holder = holder
        self.fence = 0
        self._seen = 0
        scripts = files("livestate.runtime")
        self._claim = redis.register_script((scripts / "claim.lua").read_text())
        self._release = redis.register_script((scripts / "release.lua").read_text())

    async def claim(self) -> bool:
        """Whether it is ours now. One who was killed and starts anew with the same name takes
        over from itself at once. Raises what the Redis client raises."""
        ours, fence = await self._claim((META, WRITER), (self.holder, self._seen, LEASE_MS))
        self._seen = fence
        self.fence = fence if ours else 0
        return bool(ours)

    def lose(self) -> None:
        """A newer writer is there."""
        self.fence = 0

    async def release(self) -> None:
        if self.fence:
            self.fence = 0
            await self._release((WRITER,), (self.holder,))
