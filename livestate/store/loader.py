"""Reads the stored table from Redis.

:mod:`api.service` calls :func:`load` at its start, :mod:`livestate.store.restore` later. The
guarantee: what is returned was all written by one writer. Records that were edited into nonsense
are left out and counted; the others are used. The layout of the keys is described in ``flush.lua``,
their names are in :mod:`livestate.store.keys`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from livestate.contract.errors import SnapshotUnusable
from livestate.process.tasks import cancel_and_wait
from livestate.redis.survey import info
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.store.keys import UNPREFIXED, Keys
from livestate.store.record import decode

log = logging.getLogger("livestate.redis")

COPIES: Final = "copy:"  # prefix of fields of scopes that repeat fields of meta, as a spare
TRIES: Final = 3
AT_ONCE: Final = 1_000  # records read and decoded between two rounds of the event loop: 8 ms


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Redis held. ``epoch`` is empty where it was edited or deleted."""

    epoch: str
    secret: bytes
    calls: list[tuple[Call, dict[str, int]]]
    scopes: dict[str, tuple[int, int]]  # company ("" all calls) → version, floor
    unusable: int  # records that were left out
    cdr: str  # position in cdr.raw: CDRs up to there were folded into it
    flush: str = ""  # number of the last flush that is in it for certain


async def load(
    redis: Redis, keys: Keys = UNPREFIXED, found: Callable[[str], None] | None = None
) -> Loaded | None:
    """The table that the last writer left; None if there is none. ``found`` is called with each
    node of a live call, as soon as the first such call is read.

    Raises what the Redis client raises, and ConnectionError where Redis was replaced, wiped or
    rewritten each time while it was read: half of one table and half of another make no table.
    """
    for _ in range(TRIES):
        before = await _table_id(redis, keys)
        loaded = await _read(redis, keys, found)
        if await _table_id(redis, keys) == before:
            return loaded
    raise ConnectionError("Redis was rewritten each time while it was read")


async def _table_id(redis: Redis, keys: Keys) -> tuple[Any, ...]:
    """Which server, and which table: each rewrite has another fence."""
    server = (await info(redis, "server")).get("run_id")
    if await _type(redis, keys.meta) != b"hash":
        return (server,)
    fields = ["epoch", "fence"]
    return (server, *await cast("Awaitable[list[bytes | None]]", redis.hmget(keys.meta, fields)))


# The keys of calls are made with a secret that is stored twice (in ``meta``, and as a spare in
# ``scopes``), because either may have been edited. The one that fits more of the stored keys is the
# right one. If neither fits any, the calls get new keys and all clients take snapshots. A record
# under a key that is not its own was moved there by an edit, and is left out.
async def _read(redis: Redis, keys: Keys, found: Callable[[str], None] | None) -> Loaded | None:
    meta = await _fields(redis, keys.meta)
    # Versions before calls: another instance may be writing, and a client that resumes from a
    # stored version must get everything that came after it.
    numbers = await _fields(redis, keys.scopes)
    copies = {name: numbers.get(COPIES.encode() + name) for name in (b"epoch", b"secret")}
    epoch = _epoch(meta.get(b"epoch")) or _epoch(copies[b"epoch"])
    known = [_secret(meta.get(b"secret")), _secret(copies[b"secret"])]
    verifiers = [KeyVerifier(secret) for secret in dict.fromkeys(known) if secret is not None]
    calls, unusable = await _read_calls(redis, keys, verifiers, found)
    best = max(verifiers, key=lambda each: len(each.keys), default=None)
    cdr, flush = (meta.get(name, b"").decode("utf-8", "replace") for name in (b"cdr", b"flush"))
    if best is None and not calls:
        return None
    if best is None or (calls and not best.keys):
        log.warning("the secret of the keys in Redis was edited or deleted: calls get new keys")
        best = KeyVerifier(secrets.token_bytes(16))
        renamed = [(best.renamed(call), versions) for call, versions in calls.values()]
        return Loaded("", best.secret, renamed, {}, unusable, cdr)
    foreign = [call.key for call, _ in calls.values() if call.key not in best.keys]
    if foreign:
        log.warning(
            "left out stored calls under keys that are not theirs: calls=%d example=%s",
            len(foreign),
            foreign[0],
        )
    own = [stored for stored in calls.values() if stored[0].key in best.keys]
    left_out = unusable + len(foreign)
    return Loaded(epoch, best.secret, own, _scopes(numbers), left_out, cdr, flush)


async def _read_calls(
    redis: Redis,
    keys: Keys,
    verifiers: list[KeyVerifier],
    found: Callable[[str], None] | None,
) -> tuple[dict[bytes, tuple[Call, dict[str, int]]], int]:
    """All calls with their versions by key, and how many records were unusable."""
    # HSCAN may return a call twice, and one that ended meanwhile is in both hashes: the later one
    # counts.
    calls: dict[bytes, tuple[Call, dict[str, int]]] = {}
    unusable = 0
    nodes: set[str] = set()
    for name in (keys.calls, keys.ended):
        if await _type(redis, name) != b"hash":
            continue
        async for part in _parts(redis, name):
            for key, data in part.items():
                try:
                    call, versions = decode(key.decode(), data)
                except (SnapshotUnusable, UnicodeDecodeError) as error:
                    unusable += 1
                    log.warning("left out an unusable stored call: error=%s", error)
                    continue
                calls[key] = call, versions
                for verifier in verifiers:
                    verifier.check(call)
                node = call.node
                if found is not None and node not in nodes and call.live:
                    nodes.add(node)
                    found(node)
    return calls, unusable


async def _parts(redis: Redis, name: str) -> AsyncIterator[dict[bytes, bytes]]:
    """A hash in parts of about ``AT_ONCE`` fields. While one is decoded, Redis and the event loop
    bring the next one."""
    cursor, part = await _scan(redis, name, 0)
    while cursor:
        coming = asyncio.create_task(_scan(redis, name, cursor))
        try:
            await asyncio.sleep(0)  # sends the command
            yield part
            cursor, part = await coming
        finally:
            await cancel_and_wait(coming)
    yield part


async def _scan(redis: Redis, name: str, cursor: int) -> tuple[int, dict[bytes, bytes]]:
    return cast("tuple[int, dict[bytes, bytes]]", await redis.hscan(name, cursor, count=AT_ONCE))


class KeyVerifier:
    """One secret that may have made the stored keys, and the keys that it fits."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.keys: set[str] = set()
        self._key_of = ActiveCalls(secret=secret, epoch="").key_of

    def check(self, call: Call) -> None:
        """Remember the key of this call if the secret makes it."""
        if self._key_of(call.node, call.dialog, call.call_id) == call.key:
            self.keys.add(call.key)

    def renamed(self, call: Call) -> Call:
        """The call under the key that this secret makes."""
        return call.replaced(key=self._key_of(call.node, call.dialog, call.call_id))


async def _type(redis: Redis, key: str) -> bytes:
    return await cast("Awaitable[bytes]", redis.type(key))


async def _fields(redis: Redis, key: str) -> dict[bytes, bytes]:
    """A whole hash; empty if the key is missing or of another type."""
    if await _type(redis, key) != b"hash":
        return {}
    return await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(key))


def _epoch(value: bytes | None) -> str:
    text = (value or b"").decode("ascii", "replace")
    return text if text.isalnum() else ""


def _secret(value: bytes | None) -> bytes | None:
    try:
        secret = bytes.fromhex((value or b"").decode("ascii"))
    except ValueError:
        return None
    return secret if len(secret) == 16 else None


def _scopes(numbers: dict[bytes, bytes]) -> dict[str, tuple[int, int]]:
    scopes: dict[str, tuple[int, int]] = {}
    for name, value in numbers.items():
        kind, _, company = name.decode("utf-8", "replace").partition(":")
        version, floor = scopes.get(company, (0, 0))
        number = int(value) if value.isdigit() and len(value) < 16 else 0
        if kind == "version":
            scopes[company] = number, floor
        elif kind == "floor":
            scopes[company] = version, number
    return scopes
