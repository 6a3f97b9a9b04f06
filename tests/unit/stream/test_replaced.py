"""A page that opens a stream anew leaves no old one behind, whatever stands between."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from api.cli.child_service import Instance
from tests.conftest import World
from tests.harness import Stream, bearer

ONE, OTHER = "page-0001", "page-0002"


async def opened(service: Instance, reader: str, token: str | None = None) -> Stream:
    """A stream that its client never hangs up, as a proxy keeps one that ignores its client."""
    stream = await Stream.open(service.url, token or service.token(), query={"reader": reader})
    await stream.until(lambda s: s.named("heartbeat"))
    return stream


async def count(service: Instance) -> int:
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{service.admin_url}/statusz")).json()["streams"])


async def test_a_newer_stream_of_a_page_ends_the_older(world: World) -> None:
    for direct in ("yes", "no"):
        async with world.service(DIRECT=direct, MAX_STREAMS_PER_USER="3") as service:
            await service.until_ready()
            async with (
                await opened(service, OTHER),
                await Stream.open(service.url, service.token()),
                contextlib.AsyncExitStack() as left,
            ):
                older = await left.enter_async_context(await opened(service, ONE))
                for _ in range(5):  # also where the user has as many as a user may
                    newer = await left.enter_async_context(await opened(service, ONE))
                    async with asyncio.timeout(5):
                        await older.over.wait()
                        while await count(service) != 3:
                            await asyncio.sleep(0.02)
                    assert older.dashboard.goodbye == "rotation"
                    assert not newer.over.is_set()
                    older = newer


async def test_a_name_is_its_users_own(world: World) -> None:
    async with world.service() as service:
        await service.until_ready()
        stranger = service.token(subject="stranger")
        async with await opened(service, ONE) as mine, await opened(service, ONE, stranger):
            assert not mine.over.is_set()
            assert await count(service) == 2
            for short in ("short", "with space", "x" * 65):
                async with await opened(service, short), await opened(service, short):
                    pass
            assert not mine.over.is_set()


async def test_a_page_that_closes_ends_its_stream(world: World) -> None:
    async with world.service() as service, httpx.AsyncClient() as client:
        await service.until_ready()
        token, where = service.token(), f"{service.url}/api/v1/live/calls"

        async def leave(reader: str | None, **headers: str) -> int:
            params = {} if reader is None else {"reader": reader}
            sent = bearer(token) | headers
            return (await client.delete(where, params=params, headers=sent)).status_code

        async with await opened(service, ONE, token) as one, await opened(service, OTHER, token):
            assert await leave(OTHER, **{"Sec-Fetch-Site": "cross-site"}) == 403
            assert await leave(OTHER, Authorization="Bearer x") == 401
            assert await leave(OTHER, **bearer(service.token(subject="stranger"))) == 204
            assert await leave(None) == await leave("short") == 400
            assert await count(service) == 2
            assert await leave(ONE) == await leave(ONE) == 204
            async with asyncio.timeout(5):
                await one.over.wait()
                while await count(service) != 1:
                    await asyncio.sleep(0.02)


async def test_a_session_says_whether_the_page_is_being_sent_to(world: World) -> None:
    async with world.service() as service, httpx.AsyncClient() as client:
        await service.until_ready()

        async def sending(reader: str, token: str) -> object:
            where = f"{service.url}/api/v1/session"
            answer = await client.get(where, params={"reader": reader}, headers=bearer(token))
            return answer.json().get("sending_seconds")

        token, stranger = service.token(), service.token(subject="stranger")
        assert await sending(ONE, token) is None
        async with await opened(service, ONE, token):
            seconds = await sending(ONE, token)
            assert isinstance(seconds, float)
            assert 0 <= seconds < 30
            assert await sending(OTHER, token) is None
            assert await sending(ONE, stranger) is None
        async with asyncio.timeout(5):
            while await sending(ONE, token) is not None:
                await asyncio.sleep(0.02)
