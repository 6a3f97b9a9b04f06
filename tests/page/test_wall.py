"""The wall, in a real Chromium: what a room reads from five metres."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.conftest import World
from tests.harness import Node
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
    settled,
    some_calls,
    truth,
    until,
    world,
)

__all__ = ["browser", "desk", "node", "office", "page", "world"]
pytestmark = in_one_loop
WAIT = 20_000  # ms
# On a screen of 55 inches a pixel of 1080 lines is 0.63 mm: 44 px are capitals of 2 cm.
LEAST = {"#status-word": 44, ".tile .value": 60, ".tile dt": 18, ".tile small": 18, ".call td": 18,
         "#board h2": 22, "#board tbody th": 20, "#board tbody td": 22}  # fmt: skip
SIX = ["concurrent", "cps", "asr", "ner", "acd_seconds", "pdd_p95_ms"]
WHOLE_ROWS = """() => {
    const box = document.getElementById("scroller").getBoundingClientRect();
    const seen = [...document.querySelectorAll(".call")]
        .map((one) => one.getBoundingClientRect())
        .filter((one) => one.top < box.bottom - 0.5);
    return [seen.length, seen.filter((one) => one.bottom > box.bottom + 0.5).length];
}"""
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
    assert await settled(page, SHOWN) == SIX
    cut = await settled(
        page,
        """() => {
        const all = [document.documentElement, ...document.querySelectorAll(
            "#status-bar, .tile .value, .tile dt, .call .state")];
        return all.filter((one) => one.checkVisibility() && (one.scrollWidth > one.clientWidth
            && getComputedStyle(one).display !== "inline"))
            .map((one) => `${one.id} ${one.className} ${one.textContent}`);
    }""",
    )
    assert cut == []
    await expect(page.locator("#board .trunks tbody tr")).to_have_count(2, timeout=WAIT)
    await expect(page.locator("#board canvas")).to_have_count(2, timeout=WAIT)
    over = """() => [...document.querySelectorAll("#board section, #board .chart")]
        .filter((one) => one.scrollHeight > one.clientHeight + 1
            || one.scrollWidth > one.clientWidth + 1)
        .map((one) => `${one.className} ${one.dataset.part} ${one.scrollHeight}`)"""
    assert await settled(page, over) == []
    assert await page.evaluate(
        "document.documentElement.scrollHeight <= document.documentElement.clientHeight"
    )


async def test_a_wall_is_legible_from_five_metres(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await page.set_viewport_size({"width": 1920, "height": 1080})
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?wall=1")
    await rows(page, 3)
    await expect(page.locator("#board .trunks tbody tr")).to_have_count(2, timeout=WAIT)
    for name, least in LEAST.items():
        size = await page.locator(name).first.evaluate("one => getComputedStyle(one).fontSize")
        assert float(size.removesuffix("px")) >= least, name


@pytest.mark.slow
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


async def test_a_wall_asks_only_for_what_it_shows(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.split("/live/")[-1]))
    parts = page.locator("#board section > h2")
    await expect(page.locator("#board")).to_be_hidden()
    await page.keyboard.press("w")
    await expect(parts).to_have_text(
        ["Trunks, worst first: 2 of 2", "No alarm is raised.", "Last hour"], timeout=WAIT
    )
    documents = {one.split("?")[0] for one in asked if "static" not in one}
    assert documents == {"trunks", "alarms", "history"}
    await page.keyboard.press("w")
    await expect(page.locator("#board")).to_be_hidden()
    await page.goto(f"{desk.service.url}/live-calls?wall=1&company_id=102")
    await expect(parts.first).to_have_text("Trunks, worst first: 1 of 1", timeout=WAIT)
    assert "trunks?company_id=102" in asked


async def test_a_wall_of_one_company_shows_its_own(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service, "user", company_id="102")
    await page.goto(f"{desk.service.url}/live-calls?wall=1")
    await rows(page, 1)
    trunks = page.locator("#board .trunks tbody th a")
    await expect(trunks).to_have_text(["gw-b"], timeout=WAIT)
    await expect(page.locator("#board canvas")).to_have_count(2, timeout=WAIT)
    await expect(page.locator("#board .old")).to_have_count(0)


@pytest.mark.slow
async def test_a_wall_shows_alarms_and_is_unmistakably_stale(
    world: World, page: Page, tmp_path: Path
) -> None:
    rules = tmp_path / "alarms.toml"
    rules.write_text("[live_calls]\nalarm = 3\nraise_after_seconds = 0\n")
    await page.set_viewport_size({"width": 1920, "height": 1080})
    async with (
        world.service(NODE_STALE_SECONDS="2", ALARMS=str(rules)) as service,
        await Node.connect(world.nats.url, "kam-1") as node,
    ):
        await some_calls(node)
        await log_in(page, service)
        await page.goto(f"{service.url}/live-calls?wall=1")
        await truth(page, "live")
        alarm = page.locator("#board table.alarms tbody tr")
        await expect(alarm).to_contain_text("Live calls", timeout=WAIT)
        await expect(alarm).to_contain_text("3, limit 3")
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            found = await axe(page)
            assert found == [], "\n".join(found)
        bar, board = page.locator("#status-bar"), page.locator("#board")
        calm = await bar.evaluate("one => getComputedStyle(one).backgroundColor")
        await expect(board).to_have_css("opacity", "1")
        node.silence()
        await truth(page, "stale", 20)
        await expect(page.locator("#status-word")).to_be_in_viewport(ratio=1)
        await expect(bar).not_to_have_css("background-color", calm)
        await expect(board).to_have_css("opacity", "0.66")
        for scheme in ("dark", "light"):  # paler, and still legible
            await page.emulate_media(color_scheme=scheme)
            assert await axe(page) == [], scheme
        age = page.locator("#status-age")
        await expect(age).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
        await expect(age).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (1920, 1200), (3840, 2160)])
async def test_a_wall_shows_whole_rows_only(
    desk: Desk, node: Node, page: Page, size: tuple[int, int]
) -> None:
    for number in range(60):
        await node.call(f"{number}.{number}")
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await log_in(page, desk.service)
    for view in ("wall=1", "wall=1&density=compact"):
        await page.goto(f"{desk.service.url}/live-calls?{view}")
        await until(page, "livestate.state().calls === 60")
        await expect(page.locator("#board")).to_be_visible()
        seen, half = await settled(page, WHOLE_ROWS)
        assert seen >= 2
        assert half == 0


LEFT_OPEN = {"a call": "#drawer", "a row": ".call[aria-current]", "the help": "#help"}


async def leave_open(page: Page, what: str) -> None:
    if what == "the help":
        await page.keyboard.press("?")
    elif what == "a row":
        await page.keyboard.press("j")
        await page.locator("#table").focus()
        await page.keyboard.press("ArrowDown")
    else:
        await page.locator(".call .state").first.click()
    await page.mouse.move(5, 5)
    await expect(page.locator(LEFT_OPEN[what])).to_be_visible()


@pytest.mark.parametrize("what", LEFT_OPEN)
async def test_a_wall_closes_what_was_left_open(
    desk: Desk, node: Node, page: Page, what: str
) -> None:
    """Nobody is there to close it; it stays for a minute after the last key or click."""
    await some_calls(node)
    await page.clock.install()
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?wall=1")
    await rows(page, 3)
    await leave_open(page, what)
    await node.call("20.20")
    held = page.locator("#held")
    if what != "the help":
        await expect(held).to_be_visible()
    await page.clock.fast_forward(50_000)
    await page.keyboard.press("Shift")  # somebody is there
    await page.clock.fast_forward(50_000)
    await asyncio.sleep(1.5)  # three ticks
    await expect(page.locator(LEFT_OPEN[what])).to_be_visible()
    await page.clock.fast_forward(15_000)
    await expect(page.locator(LEFT_OPEN[what])).to_be_hidden()
    await expect(held).to_be_hidden()
    await rows(page, 4)
    assert "call=" not in page.url
    assert "wall=1" in page.url


async def test_a_desk_holds_its_order_until_it_is_let_go(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await page.clock.install()
    await log_in(page, desk.service)
    await rows(page, 3)
    await leave_open(page, "a call")
    await node.call("20.20")
    await expect(page.locator("#held")).to_be_visible()
    await page.clock.fast_forward(300_000)
    await asyncio.sleep(1.5)  # three ticks
    await expect(page.locator("#drawer")).to_be_visible()
    await expect(page.locator("#held")).to_be_visible()


async def test_a_wall_with_a_panel_asks_for_that_panel_only(
    desk: Desk, node: Node, page: Page
) -> None:
    """Again and again, and its address stays as it was given."""
    await some_calls(node)
    await page.clock.install()
    await log_in(page, desk.service)
    await rows(page, 3)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/api/v1/live/" in one.url else None)
    await page.goto(f"{desk.service.url}/live-calls?wall=1&panel=trunks")
    await expect(page.locator("#panel tbody tr")).to_have_count(2, timeout=WAIT)
    await expect(page.locator("#board")).to_be_hidden()
    assert "panel=trunks" in page.url
    for _ in range(3):
        async with page.expect_request("**/live/trunks*", timeout=WAIT):
            await page.clock.fast_forward(10_000)
    documents = {one.split("/live/")[1].split("?")[0] for one in asked}
    assert documents - {"calls"} == {"trunks"}


async def test_a_wall_keeps_no_listeners_of_its_turns(desk: Desk, node: Node, page: Page) -> None:
    """The charts of the board stay for its next turn: one set of them, not one a turn."""
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    await devtools.send("HeapProfiler.enable")

    async def listeners() -> int:
        for _ in range(2):
            await devtools.send("HeapProfiler.collectGarbage")
        metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
        return next(int(one["value"]) for one in metrics if one["name"] == "JSEventListeners")

    held = [await listeners()]
    for _ in range(5):
        await page.keyboard.press("w")
        await expect(page.locator("#board canvas")).to_have_count(2, timeout=WAIT)
        async with page.expect_response("**/live/history*", timeout=WAIT):
            await page.keyboard.press("w")
            await page.keyboard.press("w")
        await page.keyboard.press("w")
        await expect(page.locator("#board")).to_be_hidden()
        held.append(await listeners())
    assert held[-1] == held[1]
