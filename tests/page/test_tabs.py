"""Several tabs, logins by hand, alarms and accessibility of the page, in a real Chromium."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import axe_playwright_python
from playwright.async_api import Page, expect

from api.cli.child_service import Instance
from tests.harness import Node, metrics
from tests.pages import (
    Desk,
    browser,
    desk,
    in_one_loop,
    log_in,
    node,
    office,
    page,
    rows,
    some_calls,
    truth,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"


async def test_six_tabs_are_one_stream_and_the_next_one_leads(
    desk: Desk, node: Node, page: Page
) -> None:
    service = desk.service
    await some_calls(node)
    await log_in(page, service)
    await rows(page, 3)
    tabs = [page, *[await page.context.new_page() for _ in range(5)]]
    await asyncio.gather(*[tab.goto(f"{service.url}/live-calls") for tab in tabs[1:]])
    for tab in tabs:
        await truth(tab, "live")
        await rows(tab, 3)
    await one_stream(service)
    assert await page.evaluate("livestate.state().tab") == "leads"
    await page.close()
    await node.call("4.4", company_id="101")
    for tab in tabs[1:]:
        await truth(tab, "live")
        await rows(tab, 4)
        assert await tab.evaluate("livestate.state().divergences") == 0
    await one_stream(service)


async def one_stream(service: Instance) -> None:
    """Pages of tests before may have been heard of for the last time a moment ago."""
    async with asyncio.timeout(5):
        while (await metrics(service))["livestate_sse_subscribers"] != 1.0:
            await asyncio.sleep(0.05)


async def test_a_browser_without_locks_has_a_stream_a_tab(
    desk: Desk, node: Node, page: Page
) -> None:
    await page.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    await node.call("1.1")
    await log_in(page, desk.service)
    await truth(page, "live")
    await rows(page, 1)
    assert await page.evaluate("livestate.state().tab") == "alone"


async def test_a_login_by_hand_and_out_again_leaves_nothing_to_see(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await page.goto(f"{desk.service.url}/login")
    await page.locator("#token").fill("this.is.none")
    await page.locator("#form button").click()
    await expect(page.locator("#message")).not_to_be_empty()
    await page.locator("#token").fill(desk.service.token())
    await page.locator("#form button").click()
    await page.wait_for_url("**/live-calls")
    await rows(page, 3)
    await page.locator("#logout").click()
    await expect(page.locator("#signed-out")).to_be_visible()
    await rows(page, 0)
    assert await page.evaluate("Object.keys(livestate.calls()).length") == 0


async def test_the_next_login_sees_no_frozen_picture(desk: Desk, node: Node, page: Page) -> None:
    await node.call("1.1", company_id="101")
    await node.call("2.2", company_id="202")
    await node.call("3.3", company_id="202")
    await log_in(page, desk.service, "user", company_id="101")
    await rows(page, 1)
    await page.keyboard.press("p")
    other = await page.context.new_page()
    await log_in(other, desk.service, "user", company_id="202")
    await expect(page.locator("#who")).to_have_text("company 202")
    await truth(page, "live")
    await rows(page, 2)
    await expect(page.locator("#pause")).to_have_text("Pause")


async def test_a_figure_says_of_how_many_calls_it_is_and_draws_its_line(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    for number in range(10, 35):
        await node.call(f"{number}.1", "ringing", company_id="101")
        await node.say("failed", f"{number}.1", company_id="101", outcome="congestion")
    await log_in(page, desk.service)
    await rows(page, 3)
    asr = page.locator('.tile[data-kpi="asr"]')
    await expect(asr.locator(".value")).to_have_text("0 %")
    await expect(asr.locator("small")).to_have_text(re.compile(r"of \d\d calls in 0\d:\d\d"))
    await expect(asr.locator("path")).to_have_attribute("d", re.compile("^M"))
    await expect(asr).to_have_attribute("data-level", "")  # no alarm: the service is too young


async def test_nothing_on_the_page_shuts_anybody_out(desk: Desk, node: Node, page: Page) -> None:
    """WCAG, as far as axe-core can tell, in both themes and with everything open."""
    await some_calls(node)
    await node.call("5.5")
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        await log_in(page, desk.service)
        await rows(page, 4)
        await truth(page, "live")
        await page.locator(".call").first.locator(".state").click()
        await page.locator("#drawer li").first.wait_for()
        assert await axe(page) == [], scheme
        await page.locator("#show-settings").click()
        assert await axe(page) == [], scheme
    for path in ("/login", "/static/definitions.html"):
        await page.goto(f"{desk.service.url}{path}")
        assert await axe(page) == [], path


async def axe(page: Page) -> list[str]:
    """What axe-core objects to. The debugger brings it in: our policy forbids the page an eval.
    What it finds good is the most of its result, and is neither made nor sent here."""
    if not await page.evaluate("'axe' in window"):
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Runtime.evaluate", {"expression": AXE.read_text()})
        await devtools.detach()
    found: list[str] = await page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
            .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)}`)"""
    )
    return found
