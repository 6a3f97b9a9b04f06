"""The wall, in a real Chromium: what a room reads from five metres."""

from __future__ import annotations

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
    truth,
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
# On a screen of 55 inches a pixel of 1080 lines is 0.63 mm: 44 px are capitals of 2 cm.
LEAST = {"#status-word": 44, ".tile .value": 60, ".tile dt": 18, ".tile small": 18, ".call td": 18}
SIX = ["concurrent", "cps", "asr", "ner", "acd_seconds", "pdd_p95_ms"]
SHOWN = """() => [...document.querySelectorAll(".tile")]
    .filter((one) => one.checkVisibility()).map((one) => one.dataset.kpi)"""


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (3840, 2160)])
@pytest.mark.parametrize("language", ["en", "it"])
async def test_a_wall_shows_six_figures_without_scrolling(
    desk: Desk, node: Node, page: Page, size: tuple[int, int], language: str
) -> None:
    await some_calls(node)
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?wall=1&lang={language}")
    await rows(page, 3)
    assert await page.evaluate(SHOWN) == SIX
    cut = await page.evaluate("""() => {
        const all = [document.documentElement, ...document.querySelectorAll(
            "#status-bar, .tile .value, .tile dt, .call .state")];
        return all.filter((one) => one.checkVisibility() && (one.scrollWidth > one.clientWidth
            && getComputedStyle(one).display !== "inline"))
            .map((one) => `${one.id} ${one.className} ${one.textContent}`);
    }""")
    assert cut == []
    assert await page.evaluate(
        "document.documentElement.scrollHeight <= document.documentElement.clientHeight"
    )


async def test_a_wall_is_legible_from_five_metres(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await page.set_viewport_size({"width": 1920, "height": 1080})
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?wall=1")
    await rows(page, 3)
    for name, least in LEAST.items():
        size = await page.locator(name).first.evaluate("one => getComputedStyle(one).fontSize")
        assert float(size.removesuffix("px")) >= least, name


async def test_a_wall_shows_its_named_views_in_turn(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.evaluate("""() => localStorage.setItem(
        'livestate-views:["noc",null]', JSON.stringify([
            { name: "a", address: "?state=held" }, { name: "b", address: "?panel=trunks" },
        ]))""")
    await page.goto(f"{desk.service.url}/live-calls?wall=1&rotate=5")
    await rows(page, 1, 30)
    await expect(page.locator("#wall-view")).to_have_text("View: a")
    await expect(page.locator("#view")).to_contain_text("on hold")
    await expect(page.locator("#wall-view")).to_have_text("View: b", timeout=30_000)
    await expect(page.locator("#panel")).to_be_visible(timeout=30_000)
    assert "rotate=5" in page.url
    await page.keyboard.press("Escape")
    assert "rotate" not in page.url
    assert "wall" not in page.url
    await expect(page.locator("#wall-view")).to_have_text("")


async def test_a_wall_cannot_be_paused(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.keyboard.press("p")
    await truth(page, "paused")
    await node.call("9.9")
    await until(page, "livestate.state().calls === 4")
    await page.keyboard.press("w")  # ends the pause
    await truth(page, "live")
    await rows(page, 4)
    await expect(page.locator("#pause")).to_be_hidden()
    await page.keyboard.press("p")
    await node.call("8.8")
    await rows(page, 5)
    await truth(page, "live")
    await page.keyboard.press("w")
    await truth(page, "live")
