"""Compares Redis with what was written, all of it again and again, some names at a time.

The projection calls :meth:`Audit.difference` every two seconds between two flushes. The script of
each flush already notices another epoch, fence or flush number and a missing call. The audit
notices every other edit: it compares the hash of every record and every number with what was
written (:mod:`livestate.store.last_written`), every field of ``meta``, and whether a key has got a
time to live. Another server (a failover) counts as a difference even where everything on it looks
right: it may have lost the last writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from redis.asyncio import Redis

from livestate.redis.survey import ServerWatch
from livestate.store.keys import Keys
from livestate.store.last_written import Written, hash_of_live

AT_ONCE: Final = 500  # names per question: about 1 ms of the loop, 350 kB of records
AN_AUDIT: Final = 4_000  # names per audit, at least
ROUND: Final = 10  # audits after which every name was compared


class Audit:
    """Call ``difference`` between two flushes: what is written meanwhile would differ."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._server = ServerWatch(redis)
        self._round: Iterator[tuple[str, list[str]]] = iter(())

    async def difference(self, written: Written) -> str | None:
        """The first difference found, or None. Raises what the Redis client raises."""
        if await self._server.changed():
            return "another server, or the same one was restarted"
        if (found := await self._compare_meta(written)) is not None:
            return found
        left = max(AN_AUDIT, _size(written) // ROUND)
        while left > 0:
            part = next(self._round, None)
            if part is None:
                self._round = _parts(written, self._keys)
                return None
            left -= len(part[1])
            if (found := await self._compare_records(written, *part)) is not None:
                return found
        return None

    async def _compare_meta(self, written: Written) -> str | None:
        """Compare all but the records: times to live, ``meta``, the number of fields."""
        *keys, _ = self._keys.table
        meta_key, scopes_key = self._keys.meta, self._keys.scopes
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            pipe.hgetall(meta_key)
            pipe.hlen(scopes_key)
            *ttls, meta, scopes = await pipe.execute()
        for key, ttl in zip(keys, ttls, strict=True):
            if ttl >= 0:
                return f"{key} got a time to live"
        stored = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in meta.items()
        }
        stored.pop("as_of", None)  # every flush changes it
        for name in stored.keys() | written.meta.keys():
            if stored.get(name) != written.meta.get(name):
                return f"{name} in {meta_key} was edited"
        if scopes != len(written.scopes):
            return f"{scopes_key} has {scopes} fields instead of {len(written.scopes)}"
        return None

    async def _compare_records(self, written: Written, key: str, names: list[str]) -> str | None:
        ours = self._keys
        wanted: Mapping[str, Any] = written.scopes
        if key in (ours.calls, ours.ended):
            wanted = written.live if key == ours.calls else written.ended
        names = [name for name in names if name in wanted]
        if not names:  # the table has forgotten all of them meanwhile
            return None
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, names)
            if key == ours.calls:
                pipe.zmscore(ours.active, names)
            values, *scores = await pipe.execute()
        for at, (name, value) in enumerate(zip(names, values, strict=True)):
            if key == ours.scopes:
                same = value == wanted[name].encode()
            elif key == ours.ended:
                same = hash(value) == wanted[name]
            else:
                same = hash_of_live(scores[0][at], value) == wanted[name]
            if not same:
                return f"{name} in {key} was edited"
        return None


def _size(written: Written) -> int:
    return len(written.live) + len(written.ended) + len(written.scopes)


def _parts(written: Written, keys: Keys) -> Iterator[tuple[str, list[str]]]:
    """All names that are stored now, in parts of ``AT_ONCE``."""
    names_of = {
        keys.calls: tuple(written.live),
        keys.ended: tuple(written.ended),
        keys.scopes: tuple(written.scopes),
    }
    for key, names in names_of.items():
        rest = iter(names)
        while part := list(islice(rest, AT_ONCE)):
            yield key, part
