"""Logins that ended by a logout, until their tokens expire.

Copies of a token stay valid, so a logout must do more than delete the browser's cookie. A login is
known by a digest of what was signed (header and claims), not of the whole
token: the same signature can be spelled in several ways (RFC 4648 §3.5; an ECDSA signature also has
a twin), and each would be another token.

All instances share them by a Redis stream, which also survives a restart. While Redis is away, each
instance knows its own logouts; it exchanges them when Redis is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from livestate.redis.survey import ServerWatch
from livestate.redis.trouble import explain
from livestate.store.keys import UNPREFIXED, Keys

log = logging.getLogger("livestate.logouts")

MOST: Final = 100_000  # at once; at 32 bytes and an expiry each, about 15 MB
EXCHANGE_SECONDS: Final = 1.0
_BATCH: Final = 1_000
_AWAY: Final = (RedisError, OSError, asyncio.TimeoutError)


def login_of(token: str) -> bytes:
    """What is the same for every spelling of one signed login."""
    return hashlib.sha256(token.rpartition(".")[0].encode("utf-8", "replace")).digest()


class Logouts:
    """``version`` grows with each login that was ended. Without a Redis they are this instance's
    own."""

    def __init__(
        self, clock: Callable[[], float], redis: Redis | None = None, keys: Keys = UNPREFIXED
    ) -> None:
        self.version = 0
        self._clock = clock
        self._redis = redis
        self._key = keys.logouts
        self._server = ServerWatch(redis) if redis is not None else None
        self._ended: dict[bytes, float] = {}  # login → when it expires, seconds
        self._to_tell: list[tuple[bytes, float]] = []
        self._heard: str | bytes = b"0"  # the last entry of the stream that was read

    def __len__(self) -> int:
        return len(self._ended)

    def __contains__(self, login: bytes) -> bool:
        return login in self._ended

    def end(self, login: bytes, expires_at: float) -> None:
        """End a login, here at once and at the other instances within seconds."""
        if login not in self._ended:
            self._keep(login, expires_at)
            self._to_tell.append((login, expires_at))
            del self._to_tell[:-MOST]

    async def exchange(self) -> None:
        """Send this instance's new logouts, and read those of the others. Raises what the Redis
        client raises; nothing is lost then."""
        if self._redis is None:
            return
        await self._mend(self._redis)
        while batch := self._to_tell[:_BATCH]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for login, expires_at in batch:
                    fields: dict[Any, Any] = {"login": login.hex(), "expires": int(expires_at)}
                    pipe.xadd(self._key, fields, maxlen=MOST, approximate=True)
                await pipe.execute()
            del self._to_tell[: len(batch)]
        while True:
            reply = await self._redis.xread({self._key: self._heard}, count=_BATCH)
            streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", reply)
            entries = streams[0][1] if streams else []
            for number, fields in entries:
                self._heard = number
                self._take(fields)
            if len(entries) < _BATCH:
                return

    async def _mend(self, redis: Redis) -> None:
        """Send all logins that are known here again if the stream was deleted or replaced, or Redis
        failed over or was restarted: an instance that starts later must hear of them too."""
        lost = self._server is not None and await self._server.changed()
        kind = await cast("Awaitable[bytes]", redis.type(self._key))
        if kind == b"stream" and not lost:
            return
        if kind not in (b"none", b"stream"):
            log.warning("%s is no stream but a %s: it is made anew", self._key, kind.decode())
            await redis.delete(self._key)
        self._to_tell = list(self._ended.items())
        self._heard = b"0"

    async def run(self) -> None:
        """Exchange for ever."""
        away = False
        while True:
            try:
                await self.exchange()
                away = False
            except _AWAY as error:
                if not away:
                    log.warning(
                        "logouts are not shared while Redis is away: %s", explain(error).what
                    )
                away = True
            self._forget_expired()
            await asyncio.sleep(EXCHANGE_SECONDS)

    def _take(self, fields: dict[bytes, bytes]) -> None:
        try:
            login = bytes.fromhex(fields[b"login"].decode("ascii"))
            expires_at = float(int(fields[b"expires"]))
        except (KeyError, ValueError, OverflowError):
            return  # not written by livestate
        if len(login) == 32 and login not in self._ended:
            self._keep(login, expires_at)

    def _keep(self, login: bytes, expires_at: float) -> None:
        if expires_at <= self._clock():
            return
        if len(self._ended) >= MOST:
            soonest = min(self._ended, key=self._ended.__getitem__)
            log.error(
                "more than %d logins were ended; the one that expires first is forgotten", MOST
            )
            del self._ended[soonest]
        self._ended[login] = expires_at
        self.version += 1

    def _forget_expired(self) -> None:
        now = self._clock()
        for login in [one for one, expires_at in self._ended.items() if expires_at <= now]:
            del self._ended[login]
