"""The page on paper, without motion, and read by a screen reader with its menus open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from api.assets import DASHBOARD
from tests.harness import Node, now_ms
from tests.page.test_tabs import axe
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
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
MOTION = re.compile(r"\b(animation|transition|scroll-behavior)\b|@keyframes")


@pytest.mark.parametrize("path", sorted(DASHBOARD.rglob("*.css")), ids=lambda path: path.name)
def test_nothing_on_the_page_moves_by_itself(path: Path) -> None:
    """So a user who asks for reduced motion has it."""
    assert MOTION.search(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)) is None


@in_one_loop
async def test_paper_is_light_and_has_status_filters_and_calls_only(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await page.add_init_script("localStorage.livestate = JSON.stringify({ theme: 'dark' })")
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.get_by_label("Filter by trunk").select_option("gw-b")
    await rows(page, 2)
    await page.locator(".call").first.locator(".state").click()
    await page.emulate_media(media="print")
    for shown in ("#status-word", "#data-age", "#tiles", "#view", "#table"):
        await expect(page.locator(shown)).to_be_visible()
    await expect(page.locator("#view")).to_contain_text("gw-b")
    for hidden in ("#tools", "#tabs", "#drawer", "#top-talkers", "#logout", "#filters .chip"):
        await expect(page.locator(hidden)).to_be_hidden()
    ground = "getComputedStyle(document.body).backgroundColor"
    await until(page, f"{ground} === 'rgb(246, 248, 250)'")
    await page.emulate_media(media="screen")
    await expect(page.locator("#view")).to_be_hidden()


@in_one_loop
async def test_the_calls_out_of_sight_are_printed_too(desk: Desk, node: Node, page: Page) -> None:
    node.hurried = True
    for number in range(1_100):
        await node.say("setup", f"{number}.1", setup_at=node.epoch + number)
    await log_in(page, desk.service)
    await truth(page, "live")
    await until(page, "livestate.state().calls === 1100")
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    await expect(page.locator(".call")).to_have_count(1_000)
    await expect(page.locator("#not-printed")).to_contain_text("first 1,000 of 1,100")
    room = await page.locator("#table").evaluate("one => one.clientHeight")
    assert room < 1_010 * await page.locator(".call").first.evaluate("one => one.clientHeight + 1")
    await page.evaluate("dispatchEvent(new Event('afterprint'))")
    await until(page, "document.querySelectorAll('.call').length < 80")
    await expect(page.locator("#not-printed")).to_be_hidden()
    paper = await page.pdf()
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) > 10


@pytest.mark.slow
@in_one_loop
async def test_menus_and_links_shut_nobody_out(desk: Desk, node: Node, page: Page) -> None:
    """WCAG, as far as axe-core can tell, with each menu open in both themes."""
    await some_calls(node)
    await node.call("5.5", sip_code=183, answered_at=now_ms())
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        await log_in(page, desk.service)
        await rows(page, 4)
        await truth(page, "live")
        await page.locator("#filter").fill("code:busy")
        await expect(page.locator("#ignored")).not_to_be_empty()
        await page.locator("#show-search-help").click()
        assert await axe(page) == [], scheme
        await page.keyboard.press("Escape")
        await page.locator("#show-views").click()
        await page.locator("#view-name").fill("a")
        await page.keyboard.press("Enter")
        await page.locator("#views li a").wait_for()
        assert await axe(page) == [], scheme
        await page.keyboard.press("Escape")
        await page.goto(f"{desk.service.url}/nowhere")
        await page.locator("h1").wait_for()
        assert await axe(page) == [], scheme


@in_one_loop
@pytest.mark.parametrize("size", [(780, 900), (390, 844), (640, 512), (320, 256)])
async def test_menus_are_reached_on_any_screen(
    desk: Desk, page: Page, size: tuple[int, int]
) -> None:
    """A narrow window, a telephone, and 1280 x 1024 at 200 % and at 400 %."""
    width, height = size
    await page.set_viewport_size({"width": width, "height": height})
    await log_in(page, desk.service)
    await truth(page, "live")
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    for button, menu, last in (("#show-search-help", "#search-help", "dt button >> nth=-1"),
                               ("#show-views", "#views", "#copy-view")):  # fmt: skip
        await page.locator(button).click()
        end = page.locator(menu).locator(last)
        await end.scroll_into_view_if_needed()
        await expect(end).to_be_in_viewport()
        assert await page.evaluate(wide), "the page itself never scrolls sideways"
        await page.keyboard.press("Escape")
        await expect(page.locator(menu)).to_be_hidden()
    for name in ("#status-word", "#data-age", "#who", "#logout"):
        one = page.locator(name)
        await one.scroll_into_view_if_needed()
        await expect(one).to_be_in_viewport()
