"""The page is fit for hands: rows stand still under the pointer, keys reach everything."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

from livestate.process.tasks import cancel_and_wait
from tests.harness import Node, now_ms
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
    settled,
    some_calls,
    truth,
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


async def keep_calling(node: Node) -> None:
    """60 new calls a second, and 20 that end."""
    number = 0
    while True:
        for _ in range(6):
            number += 1
            await node.say("setup", f"{number}.7", setup_at=now_ms(), company_id="101")
        for old in range(max(1, number - 7), max(1, number - 5)):
            await node.say("failed", f"{old}.7", outcome="busy", ended_at=now_ms())
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["nothing", "an open call"])
async def test_a_click_hits_the_row_that_one_aims_at(
    desk: Desk, node: Node, page: Page, beside: str
) -> None:
    """Twenty of twenty, while 60 calls a second arrive above it; other cells hold links."""
    node.hurried = True
    await log_in(page, desk.service)
    await truth(page, "live")
    calling = asyncio.create_task(keep_calling(node))
    try:
        # Of an order that is held, calls that have ended leave: more than the clicks reach.
        await until(page, "livestate.state().calls > 80", 30)
        under = "([x, y]) => document.elementFromPoint(x, y)?.closest('.call')?.dataset.key ?? null"
        box = await page.locator("#scroller").bounding_box()
        cell = await page.locator(".call .state").first.bounding_box()
        assert box is not None
        assert cell is not None
        await expect(page.locator(".call .company a[href]").first).to_be_visible()
        for turn in range(20):
            x, y = cell["x"] + (0.1 + 0.04 * turn) * cell["width"], box["y"] + 60 + 17 * turn
            await page.mouse.move(x, y)
            aimed_at = await page.evaluate(under, [x, y])
            assert aimed_at is not None
            known = await page.evaluate("livestate.state().version")
            await until(page, f"livestate.state().version > {known + 20}", 20)  # rows would move
            assert await page.evaluate(under, [x, y]) == aimed_at
            await page.mouse.click(x, y)
            await expect(page.locator('.call[aria-current="true"]')).to_have_attribute(
                "data-key", aimed_at
            )
            await opened(page, aimed_at)
            if beside == "nothing":
                await page.keyboard.press("Escape")
            await page.mouse.move(5, 5)
    finally:
        await cancel_and_wait(calling)


async def opened(page: Page, key: str) -> None:
    await expect(page.locator("#drawer")).to_be_visible()
    async with asyncio.timeout(10):
        while parse_qs(urlsplit(page.url).query).get("call") != [key]:
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_click_in_a_panel_hits_the_call_that_one_aims_at(
    desk: Desk, node: Node, page: Page
) -> None:
    """Twenty of twenty, while 20 calls a second end and the panel is read again and again."""
    node.hurried = True
    await log_in(page, desk.service)
    await truth(page, "live")
    calling = asyncio.create_task(keep_calling(node))
    read = asyncio.Event()
    page.on("response", lambda one: read.set() if "/live/ended" in one.url else None)
    try:
        await page.get_by_role("tab", name="Just ended").click()
        buttons = page.locator("#panel .ended tbody button")
        await expect(buttons.nth(20)).to_be_visible(timeout=20_000)
        under = (
            "([x, y]) => document.elementFromPoint(x, y)?.closest('button')?.dataset.key ?? null"
        )
        middle = """(number) => {
            const row = document.querySelectorAll("#panel .ended tbody button")[number];
            const { x, y, width, height } = row.getBoundingClientRect();
            return [x + width / 2, y + height / 2];
        }"""
        for turn in range(20):
            x, y = await page.evaluate(middle, turn % 15)
            await page.mouse.move(x, y)
            aimed_at = await page.evaluate(under, [x, y])
            assert aimed_at is not None
            if turn % 5 == 0:
                read.clear()
                await asyncio.wait_for(read.wait(), 30)  # rows would move
                await asyncio.sleep(0.3)
            assert await page.evaluate(under, [x, y]) == aimed_at
            await page.mouse.click(x, y)
            await opened(page, aimed_at)
            await page.keyboard.press("Escape")
            await page.mouse.move(5, 5)
    finally:
        await cancel_and_wait(calling)


async def test_new_calls_wait_while_a_call_is_read(desk: Desk, node: Node, page: Page) -> None:
    """Under the pointer, beside the drawer; a button says how many, and shows them."""
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.locator(".call").first.locator(".state").click()
    await expect(page.locator("#drawer")).to_be_visible()
    await page.mouse.move(5, 5)
    for number in range(4):
        await node.call(f"9{number}.9", company_id="101")
    await node.say("ended", "2.2", outcome="answered", ended_at=now_ms())
    held = page.locator("#held")
    await expect(held).to_have_text("4 new above")
    await expect(page.locator(".call")).to_have_count(3)
    await expect(page.locator('.call[data-state="ended"]')).to_have_count(1)  # in its place
    await held.click()
    await rows(page, 6)
    await expect(held).to_be_hidden()
    await page.locator('#drawer [data-part="close"]').click()
    await node.call("99.9")
    await rows(page, 7)


async def test_a_logout_lets_go_of_the_order_held(desk: Desk, node: Node, page: Page) -> None:
    """What has ended meanwhile is not kept for the next login."""
    await node.call("1.1", from_="secret-caller")
    await log_in(page, desk.service)
    await page.locator(".call").locator(".state").click()
    await node.say("ended", "1.1", outcome="answered", ended_at=now_ms())
    await expect(page.locator('.call[data-state="ended"]')).to_have_count(1)
    await page.locator("#logout").click()
    await truth(page, "signed out")
    assert "secret-caller" not in await page.content()


async def test_the_header_never_moves_the_table(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    top = "document.querySelector('main').getBoundingClientRect().y"
    before = await settled(page, top)
    await page.keyboard.press("p")  # a text in the status bar, a longer button
    await truth(page, "paused")
    await until(page, f"{top} === {before}")
    await page.keyboard.press("p")
    await node.say("setup", "5.5", setup_at=now_ms() - 200_000)  # a group of anomalies
    await page.locator(".anomalies:visible").wait_for()
    await page.get_by_label("Filter by trunk").select_option("gw-b")  # a chip
    await page.locator(".chip").wait_for()
    assert await settled(page, top) == before


@pytest.mark.parametrize("width", [1366, 1440, 1920])
async def test_no_column_is_cut(desk: Desk, node: Node, page: Page, width: int) -> None:
    await node.call("1.1", company_id="101", from_="+393474281623", to="+393474281623",
                    trunk="rom-sbc-1", attempt=2, direction="internal", sip_code=200)  # fmt: skip
    await page.set_viewport_size({"width": width, "height": 900})
    await log_in(page, desk.service)
    await rows(page, 1)
    cut = await settled(
        page,
        """() => {
        const scroller = document.getElementById("scroller");
        const found = [...document.querySelectorAll(".call td, #heading th button")]
            .filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => one.className || one.textContent);
        if (scroller.scrollWidth > scroller.clientWidth) {
            found.push(`the table: ${scroller.scrollWidth - scroller.clientWidth} px`);
        }
        return found;
    }""",
    )
    assert cut == []


async def test_a_cut_text_has_a_tooltip(desk: Desk, node: Node, page: Page) -> None:
    name = "x" * 60
    await node.call("1.1", from_=name, to="112")
    await log_in(page, desk.service)
    await rows(page, 1)
    await page.locator(".call .from").hover()
    await expect(page.locator(".call .from")).to_have_attribute("title", name)
    await page.locator(".call .to").hover()
    assert await page.locator(".call .to").get_attribute("title") is None


async def test_rows_are_reached_by_keyboard_and_read_aloud(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    table = page.locator("#table")
    await table.focus()
    for key, index in (("ArrowDown", 2), ("ArrowDown", 3), ("End", 4), ("ArrowUp", 3), ("Home", 2)):
        await page.keyboard.press(key)
        row = page.locator(f'.call[aria-rowindex="{index}"]')
        await expect(row).to_have_attribute("aria-current", "true")
        name = await row.get_attribute("id")
        await expect(table).to_have_attribute("aria-activedescendant", name or "")
    await page.keyboard.press("Enter")
    await expect(page.locator("#drawer")).to_be_visible()


async def test_escape_leaves_the_wall(desk: Desk, page: Page) -> None:
    await log_in(page, desk.service)
    await truth(page, "live")
    await page.keyboard.press("w")
    await expect(page.locator("#tools")).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(page.locator("#tools")).to_be_visible()
    assert "wall" not in page.url


# A telephone, held across, and 1280 x 1024 at 200 % and at 400 %.
@pytest.mark.parametrize("size", [(390, 844), (844, 390), (640, 512), (320, 256)])
async def test_filters_export_and_wall_are_reached_on_any_screen(
    desk: Desk, node: Node, page: Page, size: tuple[int, int]
) -> None:
    await some_calls(node)
    width, height = size
    await page.set_viewport_size({"width": width, "height": height})
    await log_in(page, desk.service)
    await rows(page, 3)
    for name in ("#filter", "#chips select", "#csv", "#json", "#wall", "#pause", "#show-settings"):
        one = page.locator(name).first
        await one.scroll_into_view_if_needed()
        await expect(one).to_be_in_viewport()
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert await settled(page, wide), "the page itself never scrolls sideways"
    await page.locator(".call").first.locator(".state").click()
    with contextlib.suppress(AssertionError):
        await page.locator("#drawer").scroll_into_view_if_needed()
    await expect(page.locator("#drawer")).to_be_in_viewport()
