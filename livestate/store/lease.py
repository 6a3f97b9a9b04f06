"""Decides which instance writes to Redis: one at a time, by an expiring lease and a growing fence.

The projection claims the lease before its first write and renews it with every flush. The lease
keeps other instances from writing while its holder lives. The fence keeps a holder that was stopped
for longer than the lease from writing over its successor: every flush checks it. An instance
without the lease is a warm standby, which folds and serves like the writer.

A holder's name ends with a token that is drawn for each claim. So no other instance has the same
name, whatever the two share: host name, address, process id, even memory (a virtual machine that
was cloned while it ran).
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from redis.asyncio import Redis

from livestate.redis.script import Script
from livestate.store.keys import Keys

LEASE_MS: Final = 6_000  # three times the time between two flushes of a quiet writer
CLAIM_SECONDS: Final = 0.5


class Terms(NamedTuple):
    """``lease_ms``: how long a writer that died keeps others from writing. A standby claims it
    every ``claim_seconds``. The writer renews it with every flush, and where ``renew_seconds`` is
    not 0, also so often between."""

    lease_ms: int = LEASE_MS
    claim_seconds: float = CLAIM_SECONDS
    renew_seconds: float = 0.0


# Dashboards wait for the engine that takes over (docs/scale.md): it must notice within 2 s.
ENGINE_TERMS: Final = Terms(1_500, 0.15, 0.3)


class Lease:
    """This instance's claim to write. ``fence`` is 0 while it has none.

    ``instance`` is the readable part of the name. ``writer`` is the holder as Redis last reported
    it, for ``/statusz``: this instance, or the one that a standby waits for. ``found_epoch``,
    ``found_secret`` (hex) and ``found_flush`` are of the table in Redis at the last claim."""

    def __init__(self, redis: Redis, instance: str, keys: Keys, lease_ms: int = LEASE_MS) -> None:
        self.holder = ""
        self.writer = ""
        self.found_epoch = ""
        self.found_secret = ""
        self.found_flush = ""
        self.fence = 0
        self._keys = keys
        self._instance = instance
        self._lease_ms = lease_ms
        self._seen = 0  # the highest fence
        self._tried: list[str] = []  # names of this instance that Redis may hold after a lost reply
        self._claim = Script(redis, "livestate.store", "claim.lua")
        self._renew = Script(redis, "livestate.store", "renew.lua")
        self._release = Script(redis, "livestate.store", "release.lua")

    async def claim(self) -> bool:
        """Claim the lease under a new name and a higher fence, also where this instance holds it
        already. Returns whether it holds it now. Raises what the Redis client raises."""
        self.fence = 0
        name = f"{self._instance} {secrets.token_hex(8)}"
        self._tried = [*self._tried[-2:], name]
        ours, fence, writer, found, secret, flush = await self._claim(
            (self._keys.meta, self._keys.writer),
            (name, self._seen, self._lease_ms, *self._tried[:-1]),
        )
        self._seen = fence
        self.writer = writer.decode("utf-8", "replace")
        self.found_epoch = found.decode("utf-8", "replace")
        self.found_secret = secret.decode("utf-8", "replace")
        self.found_flush = flush.decode("utf-8", "replace")
        if ours:
            self.holder, self.fence, self._tried = name, fence, [name]
        return bool(ours)

    def lose(self) -> None:
        """Note that the lease is gone: a newer writer was found, or the claim is given up."""
        self.fence, self.holder = 0, ""

    async def renew(self) -> bool:
        """Extend the lease; False if another instance has it, or has claimed it meanwhile."""
        holder, fence = self.holder, self.fence
        keys = (self._keys.meta, self._keys.writer)
        renewed = await self._renew(keys, (holder, fence, self._lease_ms))
        return bool(renewed) or (holder, fence) != (self.holder, self.fence)

    async def release(self) -> None:
        """Give the lease back, so that a standby takes over at once."""
        if self.fence:
            self.fence = 0
            await self._release((self._keys.writer,), (self.holder,))
