"""The page in a real Chromium, on real servers that are killed under it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from api.instance import Instance
from tests.conftest import World
from tests.harness import Node, snapshot

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage"]  # fmt: skip
VECTORS = Path(__file__).parent / "vectors" / "fold.json"


@pytest.fixture
async def browser(program: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield started
        await started.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose console must stay free of errors of our own."""
    context = await browser.new_context(viewport={"width": 1600, "height": 900})
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Security" in said.text else None)
    yield page
    assert wrong == []


async def log_in(page: Page, service: Instance, role: str = "noc", **claims: Any) -> None:
    await service.until_ready()
    await page.goto(f"{service.url}/login#{service.token(role, **claims)}")
    await page.wait_for_url(f"{service.url}/live-calls")


async def truth(page: Page, word: str, seconds: float = 10) -> None:
    await expect(page.locator("#truth-word")).to_have_text(word, timeout=seconds * 1000)


async def rows(page: Page, number: int, seconds: float = 10) -> None:
    live = page.locator('.call:not([data-state="over"])')
    await expect(live).to_have_count(number, timeout=seconds * 1000)


async def agrees(page: Page, service: Instance, token: str) -> None:
    """What the page holds is what the service has, field for field."""
    async with asyncio.timeout(8):
        while True:
            told = await snapshot(service, token)
            state = await page.evaluate("livestate.state()")
            if state["id"] == told["id"]:
                break
            await asyncio.sleep(0.05)
    assert await page.evaluate("livestate.calls()") == told["calls"]
    assert state["divergences"] == 0


async def test_a_call_appears_rings_is_answered_held_and_ends(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await log_in(page, service)
        await truth(page, "live")
        await rows(page, 0)
        for phase, shown in (("setup", "trying"), ("ringing", "ringing"),
                             ("answered", "answered"), ("hold", "on hold"),
                             ("resume", "answered")):  # fmt: skip
            await node.say(phase, "1.1", company_id="101", from_="0039021", to="112",
                           trunk="gw-a", direction="outbound", setup_at=node.epoch)  # fmt: skip
            await expect(page.locator(".call .state")).to_contain_text(shown)
        row = page.locator(".call")
        for name, text in (("from", "0039021"), ("to", "112"), ("company", "101"),
                           ("trunk", "gw-a"), ("direction", "out"), ("age", "00:0")):  # fmt: skip
            await expect(row.locator(f".{name}")).to_contain_text(text)
        await expect(page.locator("#total")).to_have_text("1")
        await expect(page.locator("#count-answered")).to_have_text("1")
        await agrees(page, service, service.token())
        await node.say("ended", "1.1", outcome="answered", company_id="101")
        await expect(page.locator('.call[data-state="over"] .state')).to_contain_text("answered")
        await expect(page.locator(".call")).to_have_count(0)
        await expect(page.locator("#total")).to_have_text("0")


async def test_what_a_caller_writes_is_text(world: World, page: Page) -> None:
    service = world.service()
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e"
    async with service, await Node.connect(world.nats.url) as node:
        await log_in(page, service)
        await node.call("1.1", from_=hostile, to=hostile, trunk="<b>x</b>")
        await expect(page.locator(".call .from")).to_have_text(hostile)
        assert await page.locator(".call img, .call script, .call b").count() == 0


async def test_a_killed_service_comes_back_and_nobody_touches_the_page(
    world: World, page: Page
) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        for number in range(5):
            await node.call(f"{number}.{number}")
        await log_in(page, service)
        await truth(page, "live")
        await rows(page, 5)
        for turn in range(2):
            await service.kill()
            await truth(page, "disconnected", 5)
            await expect(page.locator("#rows")).to_have_css("opacity", "0.4")
            await asyncio.sleep(1.5)
            await service.start()
            await truth(page, "live", 10)
            await node.call(f"9{turn}.1")
            await rows(page, 6 + turn)
            await agrees(page, service, service.token())


async def test_a_502_and_a_204_do_not_kill_the_page(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        for answer in (
            {"status": 502, "body": "Bad Gateway"},
            {"status": 204},
            {"status": 200, "content_type": "text/html", "body": "<p>wait</p>"},
        ):

            async def instead(route: Route, *, answer: dict[str, Any] = answer) -> None:
                await route.fulfill(**answer)

            await page.route("**/api/v1/live/calls*", instead)
            await service.restart()
            await truth(page, "disconnected", 5)
            await asyncio.sleep(3)
            await page.unroute("**/api/v1/live/calls*")
            await truth(page, "live", 10)
            await agrees(page, service, service.token())
        await rows(page, 1)


async def test_a_page_that_holds_something_wrong_notices_and_asks_anew(
    world: World, page: Page
) -> None:
    """Frames are lost on the way to the page: the digest of the next heartbeat tells."""
    service = world.service(HEARTBEAT_SECONDS="1")
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        # A browser that swallows the first diff: nothing else on the way can lose one.
        await page.add_init_script("""
            const listen = EventSource.prototype.addEventListener;
            let swallow = 1;
            EventSource.prototype.addEventListener = function (name, heard) {
              return listen.call(this, name, (event) => {
                if (name === "diff" && swallow-- > 0) return;
                heard(event);
              });
            };
        """)
        await log_in(page, service)
        await truth(page, "live")
        await rows(page, 1)
        await node.say("hold", "1.1")
        await expect(page.locator("#count-held")).to_have_text("1")
        state = await page.evaluate("livestate.state()")
        assert state["divergences"] == 1
        assert (
            await page.evaluate("livestate.calls()")
            == (await snapshot(service, service.token()))["calls"]
        )


async def test_a_silent_source_greys_the_page(world: World, page: Page) -> None:
    service = world.service(NODE_STALE_SECONDS="2")
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        await world.nats.kill()
        await truth(page, "stale", 10)
        await expect(page.locator("#truth-text")).to_contain_text(re.compile(r"\d\d:\d\d ago"))
        await world.nats.start()
        await truth(page, "live", 10)
        await rows(page, 1)


async def test_a_half_open_connection_is_noticed(world: World, page: Page) -> None:
    service = world.service(HEARTBEAT_SECONDS="1")
    async with service, await Node.connect(world.nats.url):
        await log_in(page, service)
        await truth(page, "live")
        service.pause()
        await truth(page, "disconnected", 10)  # promise S: blind is seen within 10 s
        await expect(page.locator("#truth-text")).to_contain_text("ago")
        service.resume()
        await truth(page, "live", 10)


async def test_an_expired_login_says_so_and_a_new_one_brings_the_page_back(
    world: World, page: Page
) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url):
        await log_in(page, service, seconds=4)
        await truth(page, "live")
        await truth(page, "signed out", 10)
        await expect(page.locator("#login")).to_be_visible()
        other = await page.context.new_page()
        await log_in(other, service)
        await truth(page, "live", 15)
        await other.close()


async def test_a_user_sees_the_own_company_only(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1", company_id="101", from_="mine")
        await node.call("2.2", company_id="102", from_="theirs")
        await log_in(page, service, "user", company_id="101")
        await rows(page, 1)
        assert "theirs" not in await page.content()
        await expect(page.locator("#who")).to_have_text("company 101")


async def test_thousands_of_calls_are_a_window_of_rows(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        node.hurried = True
        for number in range(3000):
            await node.say("setup", f"{number}.{number}", setup_at=node.epoch + number)
        await log_in(page, service)
        await expect(page.locator("#total")).to_have_text("3,000")
        assert await page.locator(".call").count() < 80
        newest = page.locator('.call[aria-rowindex="2"]')
        assert await newest.get_attribute("data-key") is not None
        await page.locator("#scroller").evaluate("one => one.scrollTo(0, one.scrollHeight)")
        await expect(page.locator('.call[aria-rowindex="3001"]')).to_be_visible()
        await page.locator("#filter").fill(f"2999.2999@{node.name}")
        await rows(page, 1)
        await agrees(page, service, service.token())


async def test_the_fold_of_the_page_is_the_fold_of_the_vectors(
    service: Instance, page: Page
) -> None:
    await page.goto(f"{service.url}/login")
    found = await page.evaluate(
        """async (vectors) => {
            const { Fold } = await import("/static/fold.js");
            return vectors.map(({ frames }) => {
                const fold = new Fold();
                for (const [name, data, id] of frames) fold.apply(name, data, id ?? "");
                const calls = Object.fromEntries(fold.calls);
                const again = new Fold();  // the running digest is that of a whole snapshot
                again.apply("snapshot", { part: 1, parts: 1, calls });
                return { calls, digest: fold.digest, whole: again.digest, id: fold.id };
            });
        }""",
        json.loads(VECTORS.read_text()),
    )  # fmt: skip
    for vector, one in zip(json.loads(VECTORS.read_text()), found, strict=True):
        assert one["calls"] == vector["calls"], vector["name"]
        assert one["digest"] == one["whole"] == vector["digest"], vector["name"]
        assert one["id"] == vector.get("id", ""), vector["name"]
