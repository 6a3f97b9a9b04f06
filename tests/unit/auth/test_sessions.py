"""Sessions and their store, on a real Redis, without HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from api.auth.claim_paths import ClaimRules
from api.auth.claims import Unauthenticated
from api.auth.logout import Logouts
from api.auth.oidc import Provider
from api.auth.oidc_messages import Client, Tokens
from api.auth.session_store import Cipher, SessionStore, parse_key
from api.auth.sessions import NotLoaded, Sessions
from livestate.devtools.servers import Redis as RedisServer
from livestate.store.keys import UNPREFIXED

OLD, NEW = "o" * 32, "n" * 32


def sessions_on(redis: Any, key: str = OLD) -> Sessions:
    provider = Provider(Client("http://127.0.0.1:1", "livestate", None, "x"))
    return Sessions(provider, ClaimRules(), SessionStore(redis, Cipher(key)), Logouts(time.time),
                    clock=time.time, seconds=86_400)  # fmt: skip


def tokens(seconds: float = 60, refresh: str | None = "r", **claims: Any) -> Tokens:
    return Tokens({"sub": "ann", "role": "noc", **claims}, "a", refresh, "i", time.time() + seconds)


async def test_a_logout_at_the_provider_ends_what_it_names(redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        one, two = sessions_on(redis), sessions_on(redis)
        first, _ = await one.begin(tokens(sid="s1"))
        second, _ = await one.begin(tokens(sid="s2"))
        other, _ = await one.begin(tokens(sub="bob", sid="s3"))
        with pytest.raises(NotLoaded):
            two.identity(first)
        assert await two.end_matching(sid="s1", subject=None) == 1  # it never saw that session
        with pytest.raises(Unauthenticated):
            await two.prepare(first)
        await two.prepare(second)
        assert two.identity(second).subject == "ann"
        assert await two.end_matching(sid=None, subject="ann") == 1
        with pytest.raises(Unauthenticated):
            two.identity(second)
        await two.prepare(other)
        assert two.identity(other).subject == "bob"
        assert await two.end_matching(sid="guessed", subject=None) == 0


async def test_a_key_is_replaced_without_a_logout(redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        cookie, _ = await sessions_on(redis).begin(tokens())
        both = sessions_on(redis, f"{NEW}, {OLD}")
        await both.prepare(cookie)
        assert both.identity(cookie).role == "noc"
        with pytest.raises(Unauthenticated):
            await sessions_on(redis, NEW).prepare(cookie)


async def test_a_record_under_another_key_is_no_session(redis_server: RedisServer) -> None:
    """Write access to Redis is not enough to take over a session."""
    async with Redis.from_url(redis_server.url) as redis:
        sessions = sessions_on(redis)
        await sessions.begin(tokens(role="admin", sub="boss"))
        (admins,) = (await redis.hgetall(UNPREFIXED.sessions)).values()
        mine, _ = await sessions.begin(tokens())
        for name in await redis.hkeys(UNPREFIXED.sessions):
            await redis.hset(UNPREFIXED.sessions, name, admins)
        with pytest.raises(Unauthenticated):
            await sessions_on(redis).prepare(mine)
        await redis.delete(UNPREFIXED.sessions)
        await redis.set(UNPREFIXED.sessions, "of another type")
        running = asyncio.create_task(sessions.run())
        async with asyncio.timeout(10):
            while (
                await redis.type(UNPREFIXED.sessions) != b"hash"
                or await redis.hlen(UNPREFIXED.sessions) < 2
            ):
                await asyncio.sleep(0.05)
        running.cancel()
        again = sessions_on(redis)
        await again.prepare(mine)
        assert again.identity(mine).role == "noc"


async def test_without_a_refresh_token_the_claims_stay(
    redis_server: RedisServer,
) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        sessions = sessions_on(redis)
        cookie, identity = await sessions.begin(tokens(seconds=0.05, refresh=None))
        assert identity.expires_at - time.time() < 1
        while time.time() < identity.expires_at:
            pass
        with pytest.raises(Unauthenticated, match="expired"):
            sessions.identity(cookie)


@pytest.mark.parametrize("wrong", ["", "short", f"{OLD},short", f"{OLD},"])
def test_a_short_key_is_a_wrong_setting(wrong: str) -> None:
    with pytest.raises(ValueError, match="openssl rand"):
        parse_key(wrong)
