"""Keeps the sessions of logged-in browsers in Redis, encrypted.

:class:`~api.auth.sessions.Sessions` calls it. One hash, ``{active_calls}:sessions`` behind the
prefix of :mod:`livestate.store.keys`: the field is
the SHA-256 of a session's cookie, the value a record encrypted with ``LIVESTATE_SESSION_KEY``. A
copy of Redis is therefore useless for logins: it holds neither cookies nor readable refresh
tokens. A record cannot be moved to another field, because the field is
authenticated with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.asyncio import Redis

from livestate.redis.survey import ServerWatch
from livestate.store.keys import UNPREFIXED, Keys

log = logging.getLogger("livestate.sessions")

REFRESH_SECONDS: Final = 30  # the longest that one refresh may take
LEAST_KEY_CHARACTERS: Final = 32
AT_ONCE: Final = 2  # commands, of the connections of the client (livestate.redis.connection)
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2.2: random ones are good for 2^32 records


class Cipher:
    """AES-256-GCM with keys that are derived from secrets; the first secret encrypts, and each of
    them decrypts, so that a secret can be replaced without a logout."""

    def __init__(self, secrets: str) -> None:
        self._keys = [
            AESGCM(HKDF(SHA256(), 32, None, b"livestate session").derive(one.strip().encode()))
            for one in secrets.split(",")
        ]

    def encrypt(self, content: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, content, context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes | None:
        """None for what was not encrypted with one of our keys for this ``context``."""
        for key in self._keys:
            try:
                return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
            except (InvalidTag, ValueError):
                continue
        return None


def parse_key(text: str) -> str:
    """``LIVESTATE_SESSION_KEY``. Raises ValueError."""
    if any(len(one.strip()) < LEAST_KEY_CHARACTERS for one in text.split(",")):
        raise ValueError(
            f"a secret of at least {LEAST_KEY_CHARACTERS} characters (`openssl rand -base64 32`), "
            "or several separated by commas, the newest first"
        )
    return text


@dataclass(frozen=True, slots=True)
class Record:
    """One session. Times are in seconds since the epoch."""

    subject: str
    role: str
    company: str | None
    expires_at: float  # of the provider's tokens: refresh before
    ends_at: float  # the latest end, refreshed or not
    refreshed_at: float
    provider_session: str | None = None  # `sid`, what a logout at the provider names
    refresh_token: str | None = None
    id_token: str | None = None  # sent to the provider at a logout (id_token_hint)


class SessionStore:
    """Raises what the Redis client raises."""

    def __init__(self, redis: Redis, cipher: Cipher, keys: Keys = UNPREFIXED) -> None:
        self._redis = redis
        self._server = ServerWatch(redis)
        self._key = keys.sessions
        self._refreshing = keys.refreshing
        self._cipher = cipher
        # A thousand dashboards that come back at once must not take the connections of the flush.
        self._places = asyncio.Semaphore(AT_ONCE)

    async def _asked(self, command: Any) -> Any:
        async with self._places:
            return await command

    async def save(self, digest: bytes, record: Record) -> None:
        content = orjson.dumps({one.name: getattr(record, one.name) for one in fields(Record)})
        sealed = self._cipher.encrypt(content, digest)
        await self._asked(self._redis.hset(self._key, digest.hex(), cast(Any, sealed)))

    async def load(self, digest: bytes) -> Record | None:
        sealed: Any = await self._asked(self._redis.hget(self._key, digest.hex()))
        return self._record(digest, sealed) if sealed is not None else None

    async def delete(self, *digests: bytes) -> None:
        if digests:
            names = [digest.hex() for digest in digests]
            await self._asked(self._redis.hdel(self._key, *names))

    async def all(self) -> AsyncIterator[tuple[bytes, Record | None]]:
        """Every session, in the order of Redis; without a record where it cannot be read."""
        cursor = 0
        while True:
            cursor, found = await self._asked(self._redis.hscan(self._key, cursor, count=200))
            for name, sealed in found.items():
                try:
                    digest = bytes.fromhex(name.decode("ascii"))
                except ValueError:
                    continue
                yield digest, self._record(digest, sealed)
            if not cursor:
                return

    async def server_changed(self) -> bool:
        """Whether Redis failed over or was restarted since the last call: it may lack sessions."""
        async with self._places:
            return await self._server.changed()

    async def exists(self) -> bool:
        """Whether the key exists. A key of another type is deleted."""
        kind: Any = await self._asked(self._redis.type(self._key))
        if kind not in (b"hash", b"none"):
            log.warning(
                "the key of the sessions is written anew: key=%s type=%s", self._key, kind.decode()
            )
            await self._asked(self._redis.delete(self._key))
        return bool(kind == b"hash")

    async def take_refresh(self, digest: bytes, instance: str) -> bool:
        """Whether this instance may refresh the session now. Two instances that used one refresh
        token would look like a thief to the provider (RFC 9700 §4.14.2)."""
        name = self._refreshing + digest.hex()
        return bool(await self._asked(self._redis.set(name, instance, nx=True, ex=REFRESH_SECONDS)))

    async def leave_refresh(self, digest: bytes) -> None:
        await self._asked(self._redis.delete(self._refreshing + digest.hex()))

    def _record(self, digest: bytes, sealed: bytes) -> Record | None:
        content = self._cipher.decrypt(sealed, digest)
        if content is None:
            return None
        try:
            return Record(**orjson.loads(content))
        except (ValueError, TypeError):  # of another version of livestate
            return None
