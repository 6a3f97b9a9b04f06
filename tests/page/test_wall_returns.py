"""A wall that a click or key has narrowed shows its own view again by itself."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.harness import Node
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
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
OWN = "#own-view"


async def wall(desk: Desk, node: Node, page: Page, query: str = "") -> None:
    await some_calls(node)
    await page.clock.install()
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?wall=1{query}")
    await rows(page, 3)


async def follow_trunk(page: Page) -> None:
    await page.locator(".call", has_text="gw-a").locator(".trunk a").click()
    await rows(page, 1)
    await expect(page.locator("#view")).to_contain_text("gw-a")
    await expect(page.locator(OWN)).to_contain_text("Back to this wall's view (by itself in")


@pytest.mark.parametrize("reloaded", [False, True])
async def test_a_narrowed_wall_returns_after_a_minute(
    desk: Desk, node: Node, page: Page, reloaded: bool
) -> None:
    await wall(desk, node, page, "&sort=-from")
    await follow_trunk(page)
    await page.clock.fast_forward(40_000)
    await asyncio.sleep(1.5)  # three ticks
    await rows(page, 1)
    if reloaded:  # what it shows now is not its own view
        await page.reload()
        await rows(page, 1)
        await expect(page.locator(OWN)).to_be_visible()
        await page.clock.fast_forward(40_000)
    await page.clock.fast_forward(25_000)
    await rows(page, 3)
    await expect(page.locator(OWN)).to_be_hidden()
    assert "trunk=" not in page.url
    assert {"wall=1", "sort=-from"} <= {*page.url.partition("?")[2].split("&")}


@pytest.mark.parametrize("how", ["button", "Escape", "Back"])
async def test_a_narrowed_wall_returns_at_once_when_asked(
    desk: Desk, node: Node, page: Page, how: str
) -> None:
    await wall(desk, node, page, "&state=ringing&state=answered&state=held")
    await follow_trunk(page)
    if how == "button":
        await page.locator(OWN).click()
    elif how == "Back":
        await page.go_back()
    else:
        await page.keyboard.press("Escape")
    await rows(page, 3)
    await expect(page.locator(OWN)).to_be_hidden()
    assert "trunk=" not in page.url
    assert "state=" in page.url  # the wall's own filter
    assert await page.locator(":root.wall").count() == 1
    await page.keyboard.press("Escape")  # and now to the desk
    assert await page.locator(":root.wall").count() == 0


async def test_a_wall_that_is_sorted_by_a_click_returns_too(
    desk: Desk, node: Node, page: Page
) -> None:
    await wall(desk, node, page)
    await page.locator("#heading [data-column=company], #heading .company").first.click()
    await expect(page.locator(OWN)).to_be_visible()
    assert "sort=" in page.url
    await page.clock.fast_forward(61_000)
    await expect(page.locator(OWN)).to_be_hidden()
    assert "sort=" not in page.url


async def test_a_desk_returns_to_nothing(desk: Desk, node: Node, page: Page) -> None:
    await wall(desk, node, page)
    await follow_trunk(page)
    await page.keyboard.press("w")
    await expect(page.locator(OWN)).to_be_hidden()
    await page.clock.fast_forward(120_000)
    await asyncio.sleep(1.5)
    await rows(page, 1)
    assert "trunk=gw-a" in page.url
    await page.keyboard.press("w")  # the wall that is made of it has this view
    await page.keyboard.press("Shift")
    await page.clock.fast_forward(120_000)
    await asyncio.sleep(1.5)
    await rows(page, 1)
    await expect(page.locator(OWN)).to_be_hidden()


async def test_named_views_wait_while_somebody_looks(desk: Desk, node: Node, page: Page) -> None:
    await wall(desk, node, page, "&rotate=20")
    await page.evaluate("""() => localStorage.setItem(
        'livestate-views:["noc",null]', JSON.stringify([{ name: "a", address: "?state=held" }]))""")
    await follow_trunk(page)
    await page.clock.fast_forward(45_000)
    await asyncio.sleep(1.5)
    await rows(page, 1)
    await expect(page.locator("#wall-view")).to_have_text("")
    await page.clock.fast_forward(20_000)
    await rows(page, 3)  # its own view, and then in turn
    await page.clock.fast_forward(21_000)
    await expect(page.locator("#wall-view")).to_have_text("View: a")
    assert "rotate=20" in page.url
    await expect(page.locator(OWN)).to_be_hidden()
