"""Logging out ends the login, not only the browser's copy of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from api.auth.logout import MOST, Logouts, login_of
from api.cli.child_service import Instance
from livestate.redis.connection import connect
from livestate.store.keys import UNPREFIXED
from tests.abuse.provider import EC, b64, claims, sign
from tests.conftest import World
from tests.harness import Stream, bearer

LOGOUTS = UNPREFIXED.logouts
SESSION = "/api/v1/session"


async def status_of(service: Instance, token: str) -> int:
    async with httpx.AsyncClient(base_url=service.url) as client:
        return (await client.get(SESSION, headers=bearer(token))).status_code


async def log_out(service: Instance, token: str, *, by: str = "cookie") -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.url) as client:
        login = {"Cookie": f"__Host-livestate={token}"} if by == "cookie" else bearer(token)
        return await client.delete(SESSION, headers=login)


async def until_refused(service: Instance, token: str, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while await status_of(service, token) != 401:
            await asyncio.sleep(0.05)


async def test_a_copy_of_a_login_is_worth_nothing_after_a_logout(service: Instance) -> None:
    for by in ("cookie", "header"):
        token, other = service.token(), service.token()
        copies = [await Stream.open(service.url, token) for _ in range(3)]
        stays = await Stream.open(service.url, other)
        for stream in (*copies, stays):
            await stream.until(lambda s: s.named("heartbeat"))
        answer = await log_out(service, token, by=by)
        assert answer.status_code == 204
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert await status_of(service, token) == 401
        async with asyncio.timeout(5):
            for stream in copies:
                await stream.over.wait()
                assert stream.dashboard.goodbye == "revoked"
        assert await status_of(service, other) == 200
        assert not stays.over.is_set()
        for stream in (*copies, stays):
            await stream.close()
        assert (await log_out(service, token)).status_code == 204  # twice is no mistake


async def test_another_spelling_of_the_same_login_is_the_same(service: Instance) -> None:
    """The last sign of a signature in base64url has bits that are ignored."""
    token = service.token()
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = {token[:-1] + sign_ for sign_ in last} | {token + "=", token + "=="}
    before = [one for one in spellings if await status_of(service, one) == 200]
    assert token in before
    await log_out(service, token)
    assert [one for one in before if await status_of(service, one) != 401] == []


def test_the_twin_of_an_ecdsa_signature_is_the_same_login() -> None:
    token = sign(claims(), EC, "ES256", kid="ec")
    assert login_of(token) == login_of(f"{token.rpartition('.')[0]}.{b64(b'x' * 64)}")
    assert login_of(token) != login_of(sign(claims(sub="other"), EC, "ES256", kid="ec"))


async def test_a_logout_holds_on_the_other_instance_and_after_a_restart(world: World) -> None:
    async with world.service() as first, world.service() as second:
        for service in (first, second):
            await service.until_ready()
        token = first.token()
        assert await status_of(second, token) == 200
        async with await Stream.open(second.url, token) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            await log_out(first, token)
            await asyncio.wait_for(stream.over.wait(), 5)
        await until_refused(second, token)
        await first.kill()
        await first.start()
        await first.until_ready()
        assert await status_of(first, token) == 401


async def test_a_logout_without_redis_is_shared_later(world: World) -> None:
    async with world.service() as first, world.service() as second:
        for service in (first, second):
            await service.until_ready()
        await world.redis.kill()
        token = first.token()
        await log_out(first, token)
        assert await status_of(first, token) == 401
        await world.redis.start()
        await until_refused(second, token, 10)


@pytest.mark.parametrize("what", ["deleted", "a string", "wiped with all else"])
async def test_deleted_logouts_are_written_again(world: World, what: str) -> None:
    now = 1_000.0
    async with connect(world.redis.url) as redis:
        mine = Logouts(lambda: now, redis)
        ended = [login_of(f"a.{number}.c") for number in range(3)]
        for login in ended[:2]:
            mine.end(login, now + 60)
        await mine.exchange()
        if what == "wiped with all else":
            await redis.flushall()
        else:
            await redis.delete(LOGOUTS)
            if what == "a string":
                await redis.set(LOGOUTS, "x")
        mine.end(ended[2], now + 60)
        await mine.exchange()
        starts_later = Logouts(lambda: now, redis)
        await starts_later.exchange()
        assert all(login in starts_later for login in ended)
        length = await redis.xlen(LOGOUTS)
        await mine.exchange()
        assert await redis.xlen(LOGOUTS) == length == 3, "each once"


async def test_foreign_entries_in_the_stream_end_no_login(world: World) -> None:
    now = 1_000.0
    redis: Any = connect(world.redis.url)
    mine, others = Logouts(lambda: now, redis), Logouts(lambda: now, redis)
    try:
        for junk in ({b"x": b"y"}, {b"login": b"zz", b"expires": b"2000"},
                     {b"login": b"00" * 32, b"expires": b"1e999"},
                     {b"login": b"00" * 31, b"expires": b"2000"},
                     {b"login": b"\xff" * 64, b"expires": b"2000"},
                     {b"login": b"00" * 32, b"expires": b"9" * 5000}):  # fmt: skip
            await redis.xadd(LOGOUTS, junk)
        login = bytes(range(32))
        mine.end(login, 2_000.0)
        await mine.exchange()
        await others.exchange()
        assert login in others
        assert len(others) == 1
    finally:
        await redis.aclose()


async def test_what_has_expired_is_forgotten_and_there_is_a_bound() -> None:
    now = 1_000.0
    logouts = Logouts(lambda: now)
    for number in range(MOST):
        logouts.end(number.to_bytes(32, "big"), 2_000.0 + number)
    logouts.end(b"x" * 32, 5_000.0)
    assert len(logouts) == MOST
    assert (0).to_bytes(32, "big") not in logouts  # it would have expired first
    now = 2_000.0 + MOST
    logouts._forget_expired()
    assert len(logouts) == 0
    logouts.end(b"y" * 32, now)
    assert len(logouts) == 0
