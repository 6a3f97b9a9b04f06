"""Whether Redis still holds what was written, looked at a few thousand calls at a time.

The script of every flush sees what its numbers can tell: another epoch, an old dump, a missing
call. Here is what they cannot: a value that somebody edited, and a server that is another one
although everything on it looks right (a failover that lost the last writes).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from livestate.active_calls import ActiveCalls
from livestate.runtime.redis_table import ACTIVE, CALLS, ENDED
from livestate.stored import encode, score

CALLS_AN_AUDIT: Final = 4_000
AT_ONCE: Final = 500  # about 8 ms of the loop


class Audit:
    """``passes`` is asked by the writer, between two flushes: what is not dirty must be there."""

    def __init__(self, redis: Redis, table: ActiveCalls, dirty: Callable[[str], bool]) -> None:
        self._redis = redis
        self._table = table
        self._dirty = dirty
        self._server: str | None = None
        self._round: Iterator[str] = iter(())

    async def difference(self) -> str | None:
        """What is not as we left it, or None. Raises what the Redis client raises."""
        if await self._another_server():
            return "another server, or the same one started anew"
        left = CALLS_AN_AUDIT
        while left > 0:
            keys = list(islice(self._round, AT_ONCE))
            if not keys:
                self._round = iter(tuple(self._table.calls))
                return None
            left -= len(keys)
            if (found := await self._look(keys)) is not None:
                return found
        return None

    async def _another_server(self) -> bool:
        known = self._server
        with contextlib.suppress(NoPermissionError):  # a managed Redis may keep this to itself
            self._server = str((await self._redis.info("server")).get("run_id"))
        return known not in (None, self._server)

    async def _look(self, keys: list[str]) -> str | None:
        # What is expected is fixed before the wait: nobody else writes, and what changes while
        # we wait is dirty only for the next flush.
        calls = self._table.calls
        expected = [
            (call, encode(call, self._table.versions_of(call)))
            for key in keys if (call := calls.get(key)) is not None and not self._dirty(key)
        ]  # fmt: skip
        live = [call.key for call, _ in expected if call.live]
        ended = [call.key for call, _ in expected if not call.live]
        # Three commands for all: one a call would cost more than to encode them.
        async with self._redis.pipeline(transaction=False) as pipe:
            if live:
                pipe.hmget(CALLS, live)
                pipe.zmscore(ACTIVE, live)
            if ended:
                pipe.hmget(ENDED, ended)
            told: list[Any] = await pipe.execute() if expected else []
        scores = dict(zip(live, told.pop(1), strict=True)) if live else {}
        stored = dict(zip((*live, *ended), chain.from_iterable(told), strict=True))
        for call, wanted in expected:
            moved = call.live and scores[call.key] != score(call)
            if moved or not _same(stored[call.key], wanted):
                return f"the call {call.key} was edited"
        return None


def _same(stored: bytes | None, wanted: bytes) -> bool:
    """Versions may be there of scopes that the call has left, and that were trimmed since."""
    if stored is None:
        return False
    if stored == wanted:
        return True
    try:
        have, want = orjson.loads(stored), orjson.loads(wanted)
        versions, wanted_versions = have.pop("v"), want.pop("v")
        return bool(have == want and wanted_versions.items() <= versions.items())
    except (ValueError, KeyError, AttributeError, TypeError):
        return False
