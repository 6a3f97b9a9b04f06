"""What is wrong with Redis at the moment, for the log, ``/statusz`` and readiness.

The projection reports each failure and success. :meth:`Health.run` also looks by itself: at the
server (version, role, eviction, cluster), at the rights of our user, and at the Sentinels.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from livestate.process.masking import masked
from livestate.redis.connection import follows, lookup_trouble
from livestate.redis.survey import info, remarks
from livestate.redis.trouble import explain, is_unknown_command
from livestate.store import rights
from livestate.store.keys import Keys

log = logging.getLogger("livestate.redis")

LOOK_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 5.0  # at least between two looks because of a refusal


class Health:
    """``trouble`` is why Redis cannot be used now, None while it can. ``remarks`` are what else an
    operator should correct."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.trouble: str | None = None
        self.remarks: tuple[str, ...] = ()
        self._redis = redis
        self._keys = keys
        self._refused = asyncio.Event()

    def failed(self, error: BaseException) -> str:
        """Note what the Redis client raised; returns it in plain words."""
        self.trouble = masked(explain(error).what)
        if isinstance(error, NoPermissionError) or is_unknown_command(error):
            self._refused.set()
        return self.trouble

    def worked(self) -> None:
        """Note that Redis answered."""
        self.trouble = None

    def status(self) -> dict[str, Any]:
        """For ``/statusz``."""
        return {"trouble": self.trouble, "remarks": self.remarks}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(RedisError, OSError):  # the projection reports it
                await self._look()
            await asyncio.sleep(REFUSED_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._refused.wait(), LOOK_SECONDS - REFUSED_SECONDS)
            self._refused.clear()

    async def _look(self) -> None:
        found = [
            f"Redis {one.what}: {one.mend}"
            for one in remarks(await info(self._redis), follows=follows(self._redis))
        ]
        found += [
            f"the Redis user lacks {one}" for one in await rights.missing(self._redis, self._keys)
        ]
        if trouble := lookup_trouble(self._redis):
            found.append(trouble)
        for remark in found:
            if remark not in self.remarks:
                log.warning("Redis needs attention: remark=%s", remark)
        self.remarks = tuple(found)
