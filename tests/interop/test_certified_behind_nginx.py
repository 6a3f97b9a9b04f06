"""Logins at npm's certified ``oidc-provider`` behind the documented nginx: on port 8443 and below a
path, where the proxy has a password of its own, and at the root of a host."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from api.cli.child_service import Instance
from tests.conftest import World, absent
from tests.harness import Node
from tests.interop.browsing import chromium, live, tls
from tests.interop.proxies import PASSWORD, USER, Nginx, node_environment
from tests.interop.table import Ran
from tests.oidc import CertifiedProvider, Phone

__all__ = ["chromium", "tls"]
PROVIDER: Final = "oidc-provider (npm)"
TOKEN_SECONDS: Final = 6
pytestmark = pytest.mark.timeout(600)  # the first one waits for npm
SECONDS: Final = 60_000  # ms, on a busy machine
WORDS: Final = """() => {
  window.words = [];
  const word = document.querySelector("#status-word");
  const note = () => window.words.push(word.textContent);
  new MutationObserver(note).observe(word, { childList: true, characterData: true, subtree: true });
}"""


class Site(NamedTuple):
    proxy: Nginx
    service: Instance
    provider: CertifiedProvider
    context: BrowserContext
    node: Node


@pytest.fixture(params=[False, True], ids=["root", "below a path"])
async def site(
    request: pytest.FixtureRequest, world: World, tls: Path, modules: Path, chromium: Browser,
    program: Callable[[str], str], ran: Ran,
) -> AsyncIterator[Site]:  # fmt: skip
    if Nginx.found() is None:
        absent("nginx")
    service = world.service(HEARTBEAT_SECONDS="1")
    proxy = Nginx(service.port, tls, below=request.param)
    ran(proxy.label, provider=PROVIDER, client="Chromium")
    provider = CertifiedProvider(program("node"), modules, proxy.url, TOKEN_SECONDS,
                                 node_environment(tls))  # fmt: skip
    for name, value in provider.settings().items():
        service.environment[f"LIVESTATE_{name}"] = value
    context = await chromium.new_context(
        ignore_https_errors=True,
        http_credentials={"username": USER, "password": PASSWORD} if proxy.below else None,
    )
    # The provider's own pages name fonts of another host.
    await context.route(re.compile(r"^https://(?!noc\.example)"), lambda route: route.abort())
    async with provider, service, proxy, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        yield Site(proxy, service, provider, context, node)


async def log_in(site: Site) -> Page:
    """A page that ann is logged in at, and that is live."""
    view = f"{site.proxy.url}/live-calls?trunk=gw-b"
    page = await site.context.new_page()
    await page.goto(view)
    await page.locator("#signed-out-login").click()
    await page.locator("[name=login]").fill("ann")
    await page.locator("[name=password]").fill("x")
    await page.locator("button[type=submit]").click()
    await page.locator("button[type=submit]").click()  # what livestate may know of her
    await page.wait_for_url(view, timeout=SECONDS)
    await live(page)
    return page


async def refreshes(service: Instance) -> int:
    async with httpx.AsyncClient() as client:
        status = (await client.get(f"{service.admin_url}/statusz")).json()
    return int(status["logins"]["sessions"]["refreshes"].get("done", 0))


async def test_a_session_is_renewed_in_place(site: Site) -> None:
    page = await log_in(site)
    reconnects = await page.evaluate("livestate.state().reconnects")
    await page.evaluate(WORDS)
    begun = await refreshes(site.service)
    async with asyncio.timeout(SECONDS / 1000):
        while await refreshes(site.service) < begun + 2:
            await asyncio.sleep(0.2)
    await site.node.call("1.1", trunk="gw-b")
    await expect(page.locator("#rows tr")).to_have_count(1)
    assert await page.evaluate("livestate.state().reconnects") == reconnects
    assert set(await page.evaluate("words")) <= {"live"}


async def test_a_logout_at_the_provider_signs_the_page_out(site: Site) -> None:
    page = await log_in(site)
    other = await site.context.new_page()
    await other.goto(f"{site.provider.url}/session/end")
    await other.locator("[name=logout]").click()
    await expect(page.locator("#signed-out")).to_be_visible()


async def test_a_logout_here_ends_the_session_at_the_provider(site: Site) -> None:
    page = await log_in(site)
    await page.locator("#logout").click()
    await page.wait_for_url(re.compile(f"^{re.escape(site.provider.url)}"), timeout=SECONDS)
    await page.locator("[name=logout]").click()
    await page.wait_for_url(re.compile(f"^{re.escape(site.proxy.url)}/live-calls"), timeout=SECONDS)
    await expect(page.locator("#signed-out")).to_be_visible()


async def test_a_wall_logs_in_by_a_code(site: Site) -> None:
    page = await site.context.new_page()
    view = f"{site.proxy.url}/live-calls?wall=1"
    await page.goto(view)
    await page.locator("#signed-out-login").click()
    await expect(page.locator("#code")).to_have_text(re.compile(r"\w{4}-\w{4}"))
    async with Phone(site.provider.url, "ann") as phone:
        await phone.follow(str(await page.locator("#address").get_attribute("href")))
        await page.wait_for_url(view, timeout=SECONDS)
        await live(page)
