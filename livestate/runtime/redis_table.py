"""Where the table lies in Redis, and how it comes back from there at our start."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from livestate.call import Call
from livestate.errors import SnapshotUnusable
from livestate.stored import decode

log = logging.getLogger("livestate.redis")

ACTIVE: Final = "active_calls"
CALLS: Final = "{active_calls}:calls"
ENDED: Final = "{active_calls}:ended"
SCOPES: Final = "{active_calls}:scopes"
META: Final = "{active_calls}:meta"
WRITER: Final = "{active_calls}:writer"
KEYS: Final = (ACTIVE, CALLS, ENDED, SCOPES, META, WRITER)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Redis held at our start."""

    epoch: str
    secret: bytes
    calls: list[tuple[Call, dict[str, int]]]
    scopes: dict[str, tuple[int, int]]  # company ("" all calls) → version, floor
    unusable: int
    cdr: str  # position in cdr.raw up to which CDRs are in it


def connect(url: str) -> Redis:
    """A client that fails fast and never retries by itself: redis-py's own ten silent retries
    run a write twice when only its reply was lost."""
    return Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=3, socket_connect_timeout=1,
        single_connection_client=False, max_connections=4,
    )  # fmt: skip


async def load(redis: Redis) -> Loaded | None:
    """What the last writer left; None if there is nothing that can be used."""
    if await cast("Awaitable[bytes]", redis.type(META)) != b"hash":
        return None
    meta = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(META))
    try:
        epoch, secret = meta[b"epoch"].decode(), bytes.fromhex(meta[b"secret"].decode())
    except (KeyError, ValueError):
        epoch, secret = "", b""
    if not epoch or len(secret) != 16:
        log.warning("what Redis holds has no epoch or secret: starting empty")
        return None
    # Before the calls: another instance may be writing, and who resumes from a version must get
    # all that came after it.
    scopes: dict[str, tuple[int, int]] = {}
    if await cast("Awaitable[bytes]", redis.type(SCOPES)) == b"hash":
        numbers = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(SCOPES))
        for name_, value in numbers.items():
            kind, _, company = name_.decode("utf-8", "replace").partition(":")
            version, floor = scopes.get(company, (0, 0))
            number = int(value) if value.isdigit() and len(value) < 16 else 0
            scopes[company] = (number, floor) if kind == "version" else (version, number)
    # A scan may show a call twice; and one that ended meanwhile is in both, the later one counts.
    calls: dict[bytes, tuple[Call, dict[str, int]]] = {}
    unusable = 0
    for name in (CALLS, ENDED):
        if await cast("Awaitable[bytes]", redis.type(name)) not in (b"hash", b"none"):
            log.warning("%s in Redis is not a hash: starting empty", name)
            return None
        async for key, data in redis.hscan_iter(name, count=2_000):
            try:
                calls[key] = decode(key.decode(), data)
            except (SnapshotUnusable, UnicodeDecodeError) as error:
                unusable += 1
                log.warning("a stored call cannot be used: %s", error)
    return Loaded(epoch, secret, list(calls.values()), scopes, unusable,
                  meta.get(b"cdr", b"").decode("utf-8", "replace"))  # fmt: skip
