"""Rows whose cells are links, as axe-core sees them: every screen, theme and language."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

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
)

__all__ = ["browser", "desk", "node", "office", "page"]
LINKS = ".call :is(.company, .trunk, .node, .code) a[href]"


@in_one_loop
@pytest.mark.parametrize("language", ["en", "it"])
@pytest.mark.parametrize("screen", ["desk", "wall", "narrow", "compact"])
async def test_rows_with_links_are_accessible(
    desk: Desk, node: Node, page: Page, screen: str, language: str
) -> None:
    await some_calls(node)
    await node.call("4.4", company_id="101", trunk="gw-a", sip_code=183)
    await node.say("setup", "5.5", company_id="101", trunk="gw-a", setup_at=now_ms() - 400_000)
    await log_in(page, desk.service)
    if screen == "compact":
        await page.evaluate("localStorage.livestate = JSON.stringify({ density: 'compact' })")
    if screen == "narrow":
        await page.set_viewport_size({"width": 390, "height": 844})
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        more = "&wall=1" if screen == "wall" else ""
        await page.goto(f"{desk.service.url}/live-calls?lang={language}{more}")
        await rows(page, 5)
        if screen != "narrow":
            await expect(page.locator(LINKS).nth(7)).to_be_attached()
        assert await axe(page) == [], (scheme, "all")
        row = page.locator(".call", has_text="gw-b" if screen != "narrow" else "").first
        if screen != "narrow":
            await row.locator(".trunk a").hover()
            assert await axe(page) == [], (scheme, "under the pointer")
            await row.locator(".trunk a").click()
            await rows(page, 2)
            assert await axe(page) == [], (scheme, "narrowed")
        await page.mouse.move(5, 5)
        await page.locator("#table").focus()
        await page.keyboard.press("Home")
        await expect(page.locator("#table")).to_have_attribute(
            "aria-activedescendant", re.compile(".")
        )
        assert await axe(page) == [], (scheme, "chosen by keyboard")
