"""Chromium for the tests of tests/page, and the page as they look at it.

One Chromium a pytest process (tests/page/conftest.py), a context of it a test, one set of servers a
module. All of it shares one event loop, so every fixture says so. What is killed in a test is the
test's own (``world``); the rest share a ``desk``, where each test has a node of its own and leaves
no call behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from api.cli.child_service import Instance
from livestate.devtools import servers
from tests.conftest import World
from tests.harness import Node, now_ms, snapshot

HOSTILE = '=cmd|"x"!A1,<img src=x onerror=alert(1)>'
# Of Chromium the tests need a page, not its address bar. That bar's popup is a web page too (two of
# them a window): it took a third of all CPU of a test. The list replaces Playwright's own, and so
# repeats what of that one matters here.
_NO_FEATURES = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "AimEnabled",
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding",
    "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
    "NetworkTimeServiceQuerying", "PreconnectToSearch",
)  # fmt: skip
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", f"--disable-features={','.join(_NO_FEATURES)}"]  # fmt: skip
TRACE_URL = "https://homer.example/search?callid={call_id}&from={begin}&to={end}"
in_one_loop = pytest.mark.asyncio(loop_scope="session")
a_module = pytest_asyncio.fixture(scope="module", loop_scope="session")
a_test = pytest_asyncio.fixture(loop_scope="session")


@a_module
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Chromium without a context. A context that a module leaves open would go on asking for
    streams of servers that are gone."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@a_test
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose console stays free of errors of our own, and that asks our servers only."""
    context = await browser.new_context(viewport={"width": 1600, "height": 900})
    wrong: list[str] = []
    context.on("weberror", lambda one: wrong.append(str(one.error)))
    context.on("console", lambda line: wrong.append(line.text) if "Security" in line.text else None)
    context.on("request", lambda one: None if _ours(one.url) else wrong.append(one.url))
    yield await context.new_page()
    await context.close()
    assert not wrong, wrong


def _ours(url: str) -> bool:
    return urlsplit(url).hostname == "127.0.0.1" or url.startswith(("blob:", "data:"))


@a_test
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "keys")
    async with world.nats, world.redis:
        yield world


class Desk:
    """A running service, and the nodes that have spoken to it. They go on beating, or it would be
    stale for the next test."""

    def __init__(self, service: Instance, client: nats.NATS) -> None:
        self.service = service
        self._client = client
        self._nodes: list[Node] = []

    def node(self) -> Node:
        self._nodes.append(Node(self._client))
        return self._nodes[-1]

    def someone_beats(self) -> None:
        if not self._nodes:
            self.node()

    async def clear(self) -> None:
        """Every node says that none of its calls is up."""
        token = self.service.token()
        async with asyncio.timeout(10):
            while (await snapshot(self.service, token))["calls"]:
                for node in self._nodes:
                    await node.list()
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for node in self._nodes:
            await node.__aexit__()


@a_module
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with servers.NatsServer() as queue, servers.Valkey() as store:
        addresses = {"NATS_URL": queue.url, "REDIS_URL": store.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1", "TRACE_URL": TRACE_URL}  # fmt: skip
        async with Instance(tmp_path_factory.mktemp("keys"), addresses) as service:
            await service.until_ready()
            client = await nats.connect(queue.url)
            desk = Desk(service, client)
            yield desk
            await desk.close()


@a_test
async def desk(office: Desk, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """The service without calls. A node has spoken to it, also if this is its first test: without
    one its data is stale."""
    if "node" not in request.fixturenames:
        office.someone_beats()
    yield office
    await office.clear()


@a_test
async def node(desk: Desk) -> Node:
    return desk.node()


# -- what a test does and sees -----------------------------------------------------------------


async def log_in(page: Page, service: Instance, role: str = "noc", **claims: Any) -> None:
    await service.until_ready()
    await page.goto(f"{service.url}/login#{service.token(role, **claims)}")
    asked = page.locator("#confirm")  # where another user is logged in
    async with asyncio.timeout(20):
        while page.url != f"{service.url}/live-calls":
            if await asked.is_visible():
                await asked.click()
                await page.wait_for_url(f"{service.url}/live-calls")
            await asyncio.sleep(0.02)


async def truth(page: Page, word: str, seconds: float = 10) -> None:
    await expect(page.locator("#status-word")).to_have_text(word, timeout=seconds * 1000)


async def rows(page: Page, number: int, seconds: float = 10) -> None:
    live = page.locator('.call:not([data-state="ended"])')
    await expect(live).to_have_count(number, timeout=seconds * 1000)


async def until(page: Page, expression: str, seconds: float = 10) -> None:
    """Wait until JavaScript is true. Playwright's own way is an eval, which our policy forbids."""
    async with asyncio.timeout(seconds):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


async def settled(page: Page, expression: str, seconds: float = 20) -> Any:
    """What JavaScript measures of the page, once it has stood still for 300 ms and a call is drawn.

    The table is drawn after its calls are known, and again when what is above it has its height.
    Whatever is counted or measured right after a navigation may be of a page half drawn."""
    await page.locator(".call").first.wait_for(timeout=seconds * 1000)
    picture = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
    found, since = await page.evaluate(expression), time.monotonic()
    async with asyncio.timeout(seconds):
        while time.monotonic() - since < 0.3:
            await page.evaluate(picture)
            await asyncio.sleep(0.05)
            if (now := await page.evaluate(expression)) != found:
                found, since = now, time.monotonic()
    return found


async def agrees(page: Page, service: Instance, token: str) -> None:
    """Assert that the page holds what the service has, field for field."""
    async with asyncio.timeout(8):
        while True:
            current = await snapshot(service, token)
            state = await page.evaluate("livestate.state()")
            if state["id"] == current["id"]:
                break
            await asyncio.sleep(0.05)
    assert await page.evaluate("livestate.calls()") == current["calls"]
    assert state["divergences"] == 0


async def some_calls(node: Node) -> None:
    """One of each kind."""
    await node.call("1.1", "ringing", company_id="101", from_="+39 02 111", trunk="gw-a")
    await node.call("2.2", company_id="101", from_="0039022222", trunk="gw-b", answered_at=now_ms())
    await node.call("3.3", "held", company_id="102", from_=HOSTILE, trunk="gw-b")
