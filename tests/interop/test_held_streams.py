"""Proxies that hold a stream back, or keep it when its page has left."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Error, expect

from api.cli.child_service import Instance
from tests.conftest import World
from tests.harness import Node
from tests.interop.browsing import chromium, live, tls
from tests.interop.proxies import Nginx, OwnCaddy, Proxy
from tests.interop.table import Ran

__all__ = ["chromium", "tls"]
LINE = "proxy_read_timeout 60s;"
# Collects the response before it passes any of it on, and reads on after its client has left.
HOLDING = (
    "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_ignore_client_abort on;"
)


class HoldingNginx(Nginx):
    held = True

    def substituted(self, text: str) -> str:
        assert LINE in text
        return super().substituted(text).replace(LINE, HOLDING if self.held else LINE)


class KeepingCaddy(OwnCaddy):
    """Goes on reading from the service when its client has left."""

    def substituted(self, text: str) -> str:
        return super().substituted(text).replace("{\n\t\tlb_", "{\n\t\tflush_interval -1\n\t\tlb_")


async def log_in(proxy: Proxy, service: Instance, chromium: Browser):  # type: ignore[no-untyped-def]
    page = await (await chromium.new_context(ignore_https_errors=True)).new_page()
    await page.goto(f"{proxy.url}/login")
    await page.locator("#token").fill(service.token())
    await page.locator("#form button").click()
    await page.wait_for_url(f"{proxy.url}/live-calls")
    return page


async def streams(service: Instance) -> int:
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{service.admin_url}/statusz")).json()["streams"])


async def test_a_stream_that_is_held_back_is_named_and_leaves_none_behind(
    world: World, tls: Path, chromium: Browser, ran: Ran
) -> None:
    ran("nginx that holds the stream back", client="Chromium")
    service = world.service()
    proxy = HoldingNginx(service.port, tls, below=False)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    async with service, proxy, await Node.connect(world.nats.url):
        await service.until_ready()
        page = await log_in(proxy, service, chromium)
        reason = page.locator("#status-reason")
        await expect(reason).to_contain_text("A proxy holds the stream back", timeout=30_000)
        await expect(page.locator("#status-remedy")).to_contain_text("proxy_buffering off;")
        most = 0
        for _ in range(30):  # a page opened one every 5 s, and nginx kept them all
            most = max(most, await streams(service))
            await asyncio.sleep(1)
        assert most <= 2, "the older one may still be ending"
        await expect(reason).to_contain_text("A proxy holds the stream back")
        await proxy.stop()
        proxy.held = False
        await proxy.start()
        await live(page)


@pytest.mark.parametrize("kind", [HoldingNginx, KeepingCaddy])
async def test_streams_of_pages_that_left_end(
    kind: type[Proxy], world: World, tls: Path, chromium: Browser, ran: Ran
) -> None:
    """A reload is another page: of the old one nothing is left within two heartbeats."""
    ran(f"{kind.name} that does not hang up", client="Chromium")
    service = world.service(HEARTBEAT_SECONDS="1")
    proxy = kind(service.port, tls, below=False)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    async with service, proxy, await Node.connect(world.nats.url):
        await service.until_ready()
        page = await log_in(proxy, service, chromium)
        for _ in range(3):
            await asyncio.sleep(2)
            await page.reload()
        await asyncio.sleep(6)
        assert await streams(service) <= 2


@pytest.mark.parametrize(("kind", "seconds"), [(Nginx, "3600"), (KeepingCaddy, "8")])
async def test_the_stream_of_a_killed_browser_ends(
    kind: type[Proxy], seconds: str, world: World, tls: Path, chromium: Browser, ran: Ran
) -> None:
    """A documented proxy hangs up; of another the setting bounds how long it lasts."""
    ran("caddy that does not hang up" if kind is KeepingCaddy else "nginx", client="Chromium")
    service = world.service(HEARTBEAT_SECONDS="1", STREAM_SECONDS=seconds)
    proxy = kind(service.port, tls, below=False)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    async with service, proxy, await Node.connect(world.nats.url):
        await service.until_ready()
        await live(await log_in(proxy, service, chromium))
        assert await streams(service) > 0
        crashing = await chromium.new_browser_cdp_session()
        with contextlib.suppress(Error):  # nothing is left to answer
            await crashing.send("Browser.crash")
        async with asyncio.timeout(60):
            while await streams(service):
                await asyncio.sleep(0.2)
