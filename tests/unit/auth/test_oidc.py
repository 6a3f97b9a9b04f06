"""Logins at a real OpenID Connect provider (``oidc-provider-mock``): in, on, and out again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis.asyncio import Redis

from api.cli.child_service import Instance
from tests.conftest import World
from tests.harness import Node, Stream
from tests.oidc import COOKIE, PENDING, Browser, MockProvider
from tests.unit.cli.test_cli import run


@pytest.fixture
async def provider() -> AsyncIterator[MockProvider]:
    async with MockProvider() as provider:
        yield provider


@pytest.fixture
async def brief() -> AsyncIterator[MockProvider]:
    """Its tokens last four seconds."""
    async with MockProvider(token_seconds=4) as provider:
        yield provider


def service_at(world: World, provider: MockProvider, **settings: str) -> Instance:
    # The port is known only once there is an instance.
    made = world.service(**settings)
    for name, value in provider.settings(made.url).items():
        made.environment.setdefault(f"LIVESTATE_{name}", value)
    return made


async def status_of(service: Instance) -> Any:
    import httpx

    async with httpx.AsyncClient() as client:
        return (await client.get(f"{service.admin_url}/statusz")).json()["logins"]


async def test_a_login_comes_back_to_where_it_began(world: World, provider: MockProvider) -> None:
    await provider.user("ann", role="noc")
    await provider.user("bob", role="user", company_id="101")
    await provider.user("eve", role="janitor")
    async with service_at(world, provider) as service:
        await service.until_ready()
        async with Browser(service) as browser:
            back_to = "/live-calls?state=ringing&trunk=gw%20a"
            asked = parse_qs(urlsplit(await browser.go_to_provider(back_to)).query)
            assert asked["code_challenge_method"] == ["S256"]
            assert len(asked["state"][0]) >= 32
            assert len(asked["nonce"][0]) >= 32
            answer = await browser.log_in("ann", back_to)
            assert answer.status_code == 303, answer.text
            assert answer.headers["location"] == ".." + back_to
            assert set(browser.cookies) == {COOKIE}
            cookies = "; ".join(answer.headers.get_list("set-cookie"))
            assert "SameSite=Strict" in cookies
            assert "HttpOnly" in cookies
            who = (await browser.who()).json()
            assert (who["subject"], who["role"]) == ("ann", "noc")
            assert (await browser.get("/api/v1/live/calls/snapshot")).status_code == 200
        async with Browser(service) as browser:
            await browser.log_in("bob")
            assert (await browser.who()).json()["company_id"] == "101"
        async with Browser(service) as browser:
            answer = await browser.log_in("eve")
            assert answer.status_code == 403
            assert "role" in answer.text
            assert browser.cookies.keys() <= {PENDING}
        async with Redis.from_url(world.redis.url) as redis:  # a copy of Redis is no login
            kept = await redis.hgetall("{active_calls}:sessions")
            assert len(kept) == 2
            assert not any(word in value for value in kept.values() for word in (b"ann", b"noc"))


@pytest.mark.slow
async def test_a_session_is_refreshed_in_place_while_streams_go_on(
    world: World, brief: MockProvider
) -> None:
    await brief.user("ann", role="noc")
    async with (
        service_at(world, brief) as service,
        Browser(service) as browser,
        await Node.connect(world.nats.url) as node,
    ):
        await service.until_ready()
        await browser.log_in("ann")
        async with await Stream.open(service.url, None, headers=browser.cookie) as stream:
            number = 0
            while (await status_of(service))["sessions"]["refreshes"].get("done", 0) < 2:
                number += 1
                await node.call(f"{number}.1")
                await asyncio.sleep(0.5)
            await stream.until(lambda s: len(s.dashboard.calls) == number)
            assert not stream.named("goodbye")
            # Another role: these streams end, and the next one has it.
            await brief.user("ann", role="user", company_id="101")
            async with asyncio.timeout(4 + 5):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        assert (await browser.who()).json()["company_id"] == "101"
        async with await Stream.open(service.url, None, headers=browser.cookie) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            assert not stream.dashboard.calls
            await brief.disable("ann")
            async with asyncio.timeout(4 + 5):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        answer = await browser.who()
        assert answer.status_code == 401, answer.text


@pytest.mark.slow
async def test_a_session_outlives_restarts_and_redis_and_provider_that_are_away(
    world: World, brief: MockProvider
) -> None:
    await brief.user("ann", role="noc")
    async with service_at(world, brief) as service, Browser(service) as browser:
        await service.until_ready()
        await browser.log_in("ann")
        await service.restart()
        await service.until_ready()
        assert (await browser.who()).status_code == 200  # from Redis
        async with await Stream.open(service.url, None, headers=browser.cookie) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            await world.redis.kill()
            await brief.kill()
            await asyncio.sleep(6)  # longer than a token
            assert not stream.over.is_set(), stream.named("goodbye")
            assert (await browser.who()).status_code == 200
            unknown = await browser.get("/api/v1/session", headers={"Cookie": f"{COOKIE}=ls_x"})
            assert unknown.status_code == 503  # unknown is not refused: no user is signed out
            strange = await Stream._open(
                service.url, None, None, {"Cookie": f"{COOKIE}=ls_x"}, None, None
            )
            await strange.over.wait()
            assert strange.status == 200
            assert strange.dashboard.goodbye == "starting"
            await strange.close()
            await world.redis.start()
            async with Redis.from_url(world.redis.url) as redis, asyncio.timeout(15):
                while not await redis.hlen("{active_calls}:sessions"):  # it came back empty
                    await asyncio.sleep(0.1)
            assert not stream.over.is_set()


async def test_a_token_of_any_size_is_a_short_cookie(world: World, provider: MockProvider) -> None:
    """A user of 2,000 groups: browsers keep no cookie over 4 KB."""
    groups = [f"group-{number:034}" for number in range(2_000)]
    await provider.user("ann", role="noc", groups=groups)
    async with service_at(world, provider) as service, Browser(service) as browser:
        await service.until_ready()
        answer = await browser.log_in("ann")
        assert answer.status_code == 303, answer.text
        assert len(browser.cookies[COOKIE]) < 100
        assert (await browser.who()).json()["role"] == "noc"
        await service.restart()
        await service.until_ready()
        assert (await browser.who()).status_code == 200  # from Redis


async def test_a_logout_ends_a_session_on_every_instance(
    world: World, provider: MockProvider
) -> None:
    await provider.user("ann", role="noc")
    one = service_at(world, provider)
    two = world.service(**provider.settings(one.url))
    async with one, two, Browser(one) as browser:
        await asyncio.gather(one.until_ready(), two.until_ready())
        await browser.log_in("ann")
        copy = browser.cookie
        async with await Stream.open(two.url, None, headers=copy) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            answer = await browser.ask("DELETE", "/api/v1/session")
            assert answer.status_code == 200
            assert answer.json()["end_session"].startswith(provider.url)
            assert COOKIE not in browser.cookies
            async with asyncio.timeout(5):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        for service in (one, two):
            async with Browser(service) as thief:
                assert (await thief.get("/api/v1/session", headers=copy)).status_code == 401


async def test_a_manipulated_login_is_refused(world: World, provider: MockProvider) -> None:
    await provider.user("ann", role="noc")
    async with service_at(world, provider) as service, Browser(service) as browser:
        await service.until_ready()
        where = await browser.go_to_provider("https://evil.example/")
        back = (await browser.ask("POST", where, data={"sub": "ann"})).headers["location"]
        state = parse_qs(urlsplit(back).query)["state"][0]
        pending = dict(browser.cookies)
        for cookies, way in (
            ({}, back), ({PENDING: "00"}, back), (pending, back.replace(state, "x" * 32)),
            (pending, back.replace("&state=", "&other=")), (pending, f"{back}&iss=https://evil"),
            ({PENDING: pending[PENDING][:-2] + "00"}, back), (pending, "/login/callback"),
            (pending, f"/login/callback?state={state}&error=a&error_description=%3Cb%3E"),
            (pending, f"/login/callback?state={state}&code=guessed"),
        ):  # fmt: skip
            browser.cookies = dict(cookies)
            answer = await browser.get(way)
            assert answer.status_code == 403, (way, answer.text)
            assert "<b>" not in answer.text
            assert COOKIE not in browser.cookies
        browser.cookies = pending
        answer = await browser.get(back)
        assert (answer.status_code, answer.headers["location"]) == (303, "../live-calls")
        stolen = dict(browser.cookies)
        browser.cookies = pending | {}
        assert (await browser.get(back)).status_code == 403  # a code is good once
        for wrong in ("ls_", "ls_x", stolen[COOKIE][:-1], stolen[COOKIE] + "x",
                      "ls_" + hashlib.sha256(stolen[COOKIE].encode()).hexdigest()):  # fmt: skip
            browser.cookies = {COOKIE: wrong}
            assert (await browser.who()).status_code == 401, wrong
        foreign = {"Sec-Fetch-Site": "cross-site"}
        browser.cookies = stolen
        assert (await browser.get("/api/v1/session", headers=foreign)).status_code == 401
        for path in ("/login/device", "/login/device/poll"):
            assert (await browser.ask("POST", path, headers=foreign)).status_code == 403


async def test_doctor_says_what_is_wrong_with_a_provider(
    provider: MockProvider, tmp_path: Path
) -> None:
    settings = provider.settings("http://127.0.0.1:1")
    _, out = await run("doctor", cwd=tmp_path, **settings)
    assert f"identity provider {provider.url}: 1 keys; it has no device grant" in out
    other = settings | {"OIDC_ISSUER": provider.url.replace("localhost", "127.0.0.1") + "/"}
    _, out = await run("doctor", cwd=tmp_path, **other)
    assert "they must be the same, to the last sign" in out
    _, out = await run("doctor", cwd=tmp_path, **settings | {"OIDC_ISSUER": "http://127.0.0.1:1"})
    assert "ConnectError" in out
    _, out = await run("doctor", cwd=tmp_path, OIDC_ISSUER=provider.url)
    assert "LIVESTATE_OIDC_ISSUER needs LIVESTATE_SESSION_KEY too" in out
