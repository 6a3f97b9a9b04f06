"""A login and what the browser asks for, in Chromium: few requests, and none when it comes back."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, Request, expect

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
    truth,
)

__all__ = ["browser", "desk", "node", "office", "page"]
MOST = 8  # page, sheet, script, icon, the session twice, the stream, and one to spare


@in_one_loop
async def test_a_page_is_loaded_in_few_requests_and_kept(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url.removeprefix(desk.service.url))

    page.on("request", note)
    await page.goto(f"{desk.service.url}/live-calls?state=ringing")
    await rows(page, 1)
    assert len(asked) <= MOST, asked
    entries: list[dict[str, Any]] = await page.evaluate(
        """performance.getEntriesByType("resource").filter(({ name }) => name.includes(".bundle."))
        .map(({ name, transferSize }) => ({ name, transferSize }))"""
    )
    assert len(entries) == 2
    assert [one["transferSize"] for one in entries] == [0, 0], entries  # from the browser's cache


@in_one_loop
async def test_a_picture_of_a_style_sheet_is_drawn(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    state = page.locator('.call[data-state="held"] .state').first
    await expect(state).to_be_visible()
    sign = await page.evaluate(
        """getComputedStyle(document.querySelector('.call[data-state="held"]'))
        .getPropertyValue("--sign")"""
    )
    assert sign.startswith('url("data:image/svg+xml,')


@in_one_loop
async def test_an_error_is_of_the_module_that_raised_it(desk: Desk, page: Page) -> None:
    """The debugger is told where the map of the script is."""
    await log_in(page, desk.service)
    await truth(page, "live")  # by then its script is here
    devtools = await page.context.new_cdp_session(page)
    maps: list[str] = []
    devtools.on("Debugger.scriptParsed", lambda one: maps.append(one.get("sourceMapURL", "")))
    await devtools.send("Debugger.enable")
    assert "main.bundle.js.map" in maps
