"""Logins at npm's certified ``oidc-provider``: rotated refresh tokens, walls, logouts of both."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from playwright.async_api import async_playwright, expect

from api.cli.child_service import Instance
from tests.conftest import World
from tests.harness import Stream
from tests.interop.table import Ran
from tests.oidc import COOKIE, Browser, CertifiedProvider, Phone
from tests.pages import FLAGS

pytestmark = pytest.mark.timeout(600)  # the first one waits for npm


class Pair(NamedTuple):
    service: Instance
    provider: CertifiedProvider


@pytest.fixture
async def pair(
    world: World, modules: Path, program: Callable[[str], str], ran: Ran
) -> AsyncIterator[Pair]:
    ran(provider="oidc-provider (npm)")
    service = world.service()
    provider = CertifiedProvider(program("node"), modules, service.url, token_seconds=6)
    for name, value in provider.settings().items():
        service.environment[f"LIVESTATE_{name}"] = value
    async with provider, service:
        await service.until_ready()
        yield Pair(service, provider)


async def log_in(pair: Pair, browser: Browser, phone: Phone) -> None:
    back = await phone.follow(await browser.go_to_provider())
    assert back.startswith(pair.service.url), back
    answer = await browser.get(back)
    assert answer.status_code == 303, answer.text
    assert COOKIE in browser.cookies


async def test_refresh_tokens_are_rotated_while_a_stream_goes_on(pair: Pair) -> None:
    async with Browser(pair.service) as browser, Phone(pair.provider.url, "bob") as phone:
        await log_in(pair, browser, phone)
        assert (await browser.who()).json()["company_id"] == "101"
        async with await Stream.open(pair.service.url, None, headers=browser.cookie) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            await asyncio.sleep(14)  # more than two tokens
            assert not stream.over.is_set()
            await pair.provider.disable("bob")
            async with asyncio.timeout(6 + 5):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        assert (await browser.who()).status_code == 401


async def test_a_logout_at_the_provider_ends_the_session_here(pair: Pair) -> None:
    async with Browser(pair.service) as browser, Phone(pair.provider.url, "ann") as phone:
        await log_in(pair, browser, phone)
        async with await Stream.open(pair.service.url, None, headers=browser.cookie) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            await phone.follow(f"{pair.provider.url}/session/end")
            async with asyncio.timeout(5):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        assert (await browser.who()).status_code == 401


@pytest.mark.fast
async def test_a_logout_here_ends_the_session_at_the_provider(pair: Pair) -> None:
    async with Browser(pair.service) as browser, Phone(pair.provider.url, "ann") as phone:
        await log_in(pair, browser, phone)
        answer = await browser.ask("DELETE", "/api/v1/session")
        back = await phone.follow(answer.json()["end_session"])
        assert back.startswith(f"{pair.service.url}/live-calls")


async def test_a_front_channel_logout_ends_the_session_that_it_names(pair: Pair) -> None:
    """The provider's page loads our address in a frame, without cookies."""
    async with (
        Browser(pair.service) as one, Browser(pair.service) as two,
        Phone(pair.provider.url, "ann") as phone, httpx.AsyncClient() as frame,
    ):  # fmt: skip
        await log_in(pair, one, phone)
        await log_in(pair, two, phone)  # the same session at the provider
        left = (await one.ask("DELETE", "/api/v1/session")).json()["end_session"]
        hint = parse_qs(urlsplit(left).query)["id_token_hint"][0]
        sid = jwt.decode(hint, options={"verify_signature": False})["sid"]
        async with await Stream.open(pair.service.url, None, headers=two.cookie) as stream:
            await stream.until(lambda s: s.named("heartbeat"))

            async def load(**query: str) -> int:
                address = f"{pair.service.url}/login/frontchannel"
                return (await frame.get(address, params=query)).status_code

            assert await load(iss="https://other.example", sid=sid) == 400
            assert await load(iss=pair.provider.url) == 400
            assert await load(iss=pair.provider.url, sid="another") == 200
            assert (await two.who()).status_code == 200
            assert await load(iss=pair.provider.url, sid=sid) == 200
            async with asyncio.timeout(30):
                await stream.over.wait()
            assert stream.dashboard.goodbye == "revoked"
        assert (await two.who()).status_code == 401


async def test_a_wall_logs_in_by_a_code_on_a_phone(pair: Pair) -> None:
    async with Browser(pair.service) as wall, Phone(pair.provider.url, "ann") as phone:
        await wall.go_to_provider("/live-calls")  # the provider is known
        answer = await wall.get("/login", params={"next": "/live-calls?wall=1"})
        assert answer.headers["location"].startswith("login/device?next=")
        assert "code" in (await wall.get(f"/{answer.headers['location']}")).text
        shown = (await wall.ask("POST", "/login/device?next=/live-calls%3Fwall=1")).json()
        assert len(shown["code"]) >= 6
        assert (await wall.ask("POST", "/login/device/poll")).status_code == 202
        end = await phone.follow(shown["complete"])
        assert end.startswith(pair.provider.url), end
        async with asyncio.timeout(30):
            while (answer := await wall.ask("POST", "/login/device/poll")).status_code == 202:
                await asyncio.sleep(1)
        assert (answer.status_code, answer.json()) == (200, {"next": "/live-calls?wall=1"})
        assert (await wall.who()).json()["role"] == "noc"
        denied = await wall.ask("POST", "/login/device/poll")
        assert denied.status_code == 403  # the code is used up, and the cookie gone


async def test_a_wall_shows_the_code_and_goes_on_by_itself(
    pair: Pair, program: Callable[[str], str], ran: Ran
) -> None:
    """In a real Chromium, at which nobody types."""
    ran(provider="oidc-provider (npm)", client="Chromium")
    async with async_playwright() as playwright, Phone(pair.provider.url, "ann") as phone:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        page = await browser.new_page()
        await page.goto(f"{pair.service.url}/live-calls?wall=1")
        await page.locator("#signed-out-login").click()
        await expect(page.locator("#code")).to_have_text(re.compile(r"\w{4}-\w{4}"))
        await phone.follow(str(await page.locator("#address").get_attribute("href")))
        await page.wait_for_url(f"{pair.service.url}/live-calls?wall=1")
        await expect(page.locator("#status-word")).not_to_have_text("signed out")
        await expect(page.locator("#who")).to_have_text("noc")
        await browser.close()
