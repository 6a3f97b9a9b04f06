"""The configurations of docs/proxies.md, run: a login, a live page, a stream, a restart."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, expect

from api.cli.child_service import Instance
from tests.conftest import World, absent
from tests.harness import STREAM, Node
from tests.interop.browsing import chromium, live, tls
from tests.interop.proxies import HOST, PASSWORD, PROXIES, USER, Nginx, Proxy
from tests.interop.table import Ran
from tests.oidc import MockProvider

__all__ = ["chromium", "tls"]
DOCUMENTED = [pytest.param((kind, below), id=f"{kind.title or kind.name}{'-below' * below}")
              for kind in PROXIES for below in (False, True)]  # fmt: skip


pytestmark = pytest.mark.timeout(300)  # on a busy machine
BELOW_NGINX = pytest.param((Nginx, True), id="nginx-below", marks=pytest.mark.fast)


class Site(NamedTuple):
    proxy: Proxy
    service: Instance

    @property
    def name(self) -> str:
        return self.proxy.label


@pytest.fixture
async def site(request: pytest.FixtureRequest, world: World, tls: Path) -> AsyncIterator[Site]:
    """A service, and before it the proxy that the test is for, as the page configures it."""
    kind, below = request.param
    if kind.found() is None:
        absent(kind.name)
    service = world.service(HEARTBEAT_SECONDS="1", MAX_STREAMS_PER_ADDRESS="1")
    proxy = kind(service.port, tls, below=below)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    async with service, proxy:
        await service.until_ready()
        yield Site(proxy, service)


async def visitor(site: Site, chromium: Browser) -> BrowserContext:
    """A browser; where the proxy has a password of its own, its user knows that."""
    guarded = isinstance(site.proxy, Nginx) and site.proxy.below
    return await chromium.new_context(
        ignore_https_errors=True,
        http_credentials={"username": USER, "password": PASSWORD} if guarded else None,
    )


@pytest.mark.fast
@pytest.mark.parametrize("site", DOCUMENTED, indirect=True)
async def test_a_page_logs_in_is_live_and_survives_a_restart(
    site: Site, world: World, chromium: Browser, ran: Ran
) -> None:
    ran(site.name, client="Chromium")
    context = await visitor(site, chromium)
    page = await context.new_page()
    async with await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        await page.goto(f"{site.proxy.url}/login")
        await page.locator("#token").fill(site.service.token())
        await page.locator("#form button").click()
        await page.wait_for_url(f"{site.proxy.url}/live-calls")
        await live(page)
        await expect(page.locator("#rows tr")).to_have_count(1)
        [cookie] = [one for one in await context.cookies() if "livestate" in one["name"]]
        assert cookie["path"] == ("/noc/" if site.proxy.below else "/")
        await site.service.kill()
        await expect(page.locator("#status-word")).not_to_have_text("live")
        await site.service.start()
        await live(page)
        await page.locator("#logout").click()
        await expect(page.locator("#signed-out")).to_be_visible()


@pytest.mark.parametrize(
    "site", [BELOW_NGINX, *(one for one in DOCUMENTED if one.id != BELOW_NGINX.id)], indirect=True
)
async def test_a_provider_sends_one_back_to_the_same_view(
    site: Site, world: World, chromium: Browser, ran: Ran
) -> None:
    ran(site.name, provider="oidc-provider-mock (PyPI)", client="Chromium")
    async with MockProvider() as provider:
        await provider.user("ann", role="noc")
        await site.service.stop()
        for name, value in provider.settings(site.proxy.url).items():
            site.service.environment[f"LIVESTATE_{name}"] = value
        await site.service.start()
        await site.service.until_ready()
        page = await (await visitor(site, chromium)).new_page()
        await page.route(re.compile(r"^https://(?!noc\.example)"), lambda route: route.abort())
        view = f"{site.proxy.url}/live-calls?trunk=gw-b"
        async with await Node.connect(world.nats.url) as node:
            await node.call("1.1", trunk="gw-a")
            await node.call("2.2", trunk="gw-b")
            await page.goto(view)
            await page.locator("#signed-out-login").click()
            await page.locator("[name=sub]").first.fill("ann")
            await page.locator("[name=sub]").first.press("Enter")
            await page.wait_for_url(view)
            await live(page)
            await expect(page.locator("#rows tr")).to_have_count(1)
            await page.locator("#logout").click()
            await page.wait_for_url(re.compile(f"^{re.escape(provider.url)}"))


@pytest.mark.parametrize("site", DOCUMENTED, indirect=True)
async def test_a_stream_passes_at_once_and_ends_with_its_client(
    site: Site, world: World, ran: Ran
) -> None:
    ran(site.name, client="httpx")
    headers = {
        "Authorization": f"Bearer {site.service.token()}",
        "Host": f"{HOST}:{site.proxy.port}",
    }
    context = ssl.create_default_context(cafile=str(site.proxy.certificates / "noc.crt"))
    async with (
        httpx.AsyncClient(verify=context, timeout=60) as client,
        await Node.connect(world.nats.url) as node,
    ):
        asked = client.stream("GET", f"{site.proxy.local_url}{STREAM}", headers=headers,
                              extensions={"sni_hostname": HOST})  # fmt: skip
        async with asked as answer, asyncio.timeout(60):
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            async for line in lines:
                if line == "event: heartbeat":
                    break
            called = asyncio.create_task(node.call("1.1"))
            async for line in lines:
                if line == "event: diff":
                    break
            await called
            assert await streams(site) == 1
        async with asyncio.timeout(60):
            while await streams(site):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("site", DOCUMENTED, indirect=True)
async def test_clients_are_counted_by_their_own_addresses(site: Site, ran: Ran) -> None:
    """The proxy appends them to X-Forwarded-For; what a client writes there counts for nothing."""
    ran(site.name, client="httpx")
    kept: list[AsyncIterator[str]] = []

    async def first_event(address: str, left: AsyncExitStack) -> str:
        context = ssl.create_default_context(cafile=str(site.proxy.certificates / "noc.crt"))
        transport = httpx.AsyncHTTPTransport(verify=context, local_address=address)
        client = await left.enter_async_context(httpx.AsyncClient(transport=transport, timeout=60))
        headers = {"Authorization": f"Bearer {site.service.token()}",
                   "Host": f"{HOST}:{site.proxy.port}", "X-Forwarded-For": "192.0.2.1"}  # fmt: skip
        asked = client.stream("GET", f"{site.proxy.local_url}{STREAM}", headers=headers,
                              extensions={"sni_hostname": HOST})  # fmt: skip
        answer = await left.enter_async_context(asked)
        kept.append(lines := answer.aiter_lines())  # one that is collected closes its stream
        async for line in lines:
            if line.startswith("event:"):
                return line.removeprefix("event: ")
        return ""

    async with AsyncExitStack() as left, asyncio.timeout(60):
        for address in ("127.0.0.2", "127.0.0.3"):
            assert await first_event(address, left) == "snapshot"
        assert await first_event("127.0.0.2", left) == "goodbye"


async def streams(site: Site) -> int:
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{site.service.admin_url}/statusz")).json()["streams"])
