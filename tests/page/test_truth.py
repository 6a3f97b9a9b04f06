"""The page is true in every mode: paused, filtered, on a wall, with too much asked for."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.conftest import World
from tests.harness import Node, now_ms
from tests.page.test_tabs import axe
from tests.page.test_vectors import modules
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

__all__ = ["browser", "desk", "modules", "node", "office", "page", "world"]
pytestmark = in_one_loop

CLOCK = r"\d\d:\d\d:\d\d [A-Z][\w+:-]*"  # a time with its zone


async def test_a_paused_page_says_so_and_is_not_green(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await truth(page, "live")
    await rows(page, 3)
    dot = page.locator("#status-dot")
    green = await dot.evaluate("one => getComputedStyle(one).backgroundColor")
    await page.keyboard.press("p")
    await truth(page, "paused")
    await expect(dot).not_to_have_css("background-color", green)
    await expect(page.locator("#rows")).to_have_css("opacity", "1")
    await expect(page.locator("#status-text")).to_contain_text(
        re.compile(rf"as they were at {CLOCK}, \d\d:\d\d ago.*press p to resume")
    )
    await expect(page).to_have_title("paused · Live calls")
    await page.keyboard.press("p")
    await truth(page, "live")
    await expect(page).to_have_title("Live calls")


async def test_a_file_of_a_paused_picture_says_so_and_as_of_when(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.keyboard.press("p")
    await truth(page, "paused")
    await node.call("9.9")
    await until(page, "livestate.state().calls === 4")
    await expect(page.locator("#status-remedy")).to_contain_text("waiting")
    before = now_ms()
    for kind in ("csv", "json"):
        async with page.expect_download() as download:
            await page.locator(f"#{kind}").click()
        file = await download.value
        assert file.suggested_filename.endswith(f"Z-paused.{kind}")
        text = Path(await file.path()).read_text("utf-8-sig")
        if kind == "json":
            saved = json.loads(text)
            assert saved["truth"] == "paused"
            assert saved["as_of"] <= before
            assert len(saved["calls"]) == 3
        else:
            lines = list(csv.DictReader(text.splitlines()))
            assert [line["truth"] for line in lines] == ["paused"] * 3
            assert lines[0]["as_of"].endswith("Z")


async def test_figures_say_whose_they_are(desk: Desk, node: Node, page: Page) -> None:
    """Of two companies they are the sum, and rates, which cannot be added, are left out."""
    await some_calls(node)  # two calls of 101, one of 102
    await node.call("4.4", company_id="103")
    await log_in(page, desk.service)
    await rows(page, 4)
    whose, total, asr = (page.locator(one) for one in ("#whose-figures", "#total", "#kpi-asr"))
    await expect(whose).to_have_text("Figures: all calls")
    await expect(total).to_have_text("4")
    companies = page.get_by_label("Filter by company")
    await companies.select_option("101")
    await expect(whose).to_have_text("Figures: company 101")
    await expect(total).to_have_text("2")
    await page.goto(f"{desk.service.url}/live-calls?company_id=101&company_id=102")
    await rows(page, 3)
    await page.get_by_label("Filter by state").select_option("held")
    await rows(page, 1)
    await expect(whose).to_have_text("Figures: sum of companies 101 + 102, calls that are up only")
    await expect(total).to_have_text("3")
    await expect(page.locator("#count-held")).to_have_text("1")
    await until(page, "livestate.figures().concurrent === 4")  # the service's are of all calls
    await expect(asr).to_have_text("–")
    await expect(page.locator("[data-kpi=concurrent] small")).to_have_text("")


async def test_a_wall_shows_its_filter(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?trunk=gw-b&state=held&wall=1")
    await rows(page, 1)
    await expect(page.locator("#tools")).to_be_hidden()
    view = page.locator("#view")
    await expect(view).to_be_visible()
    await expect(view).to_have_text("Table: only state on hold, trunk gw-b")
    shares = (
        "['#board', '#scroller', 'main', '.call']"
        ".map((one) => document.querySelector(one).offsetHeight)"
    )
    board, scroller, whole, row = await settled(page, shares)
    left = whole - board - scroller
    assert 0 <= left < row + 2, "board and whole rows fill the wall, and are no higher"


async def test_more_filter_values_than_the_service_takes_are_honoured(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    many = "&".join(f"trunk=no-{number}" for number in range(30))
    for query, shown in ((f"{many}&trunk=gw-b", 2), (f"trunk={'x' * 70}", 0)):
        await page.goto(f"{desk.service.url}/live-calls?{query}")
        await truth(page, "live")
        await rows(page, shown)
        await expect(page.locator("#ignored")).to_be_hidden()


async def test_a_filter_that_cannot_be_applied_is_named(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    ignored = page.locator("#ignored")
    for query, text in (("state=dead", "“dead” is no state"),
                        ("longer=x", "“x” is not a number of seconds"),
                        ("why=x", "“x” is no anomaly"),
                        ("trunk=" + ",".join(map(str, range(501))),
                         "more than 500 values")):  # fmt: skip
        await page.goto(f"{desk.service.url}/live-calls?{query}")
        await expect(ignored).to_contain_text(text)
        await expect(ignored).to_be_visible()


async def test_an_empty_table_says_why(world: World, page: Page) -> None:
    """No node was heard, no call is up, or no call matches: three sentences."""
    async with world.service() as service:
        await log_in(page, service)
        await truth(page, "stale")
        empty = page.locator("#empty-text")
        await expect(empty).to_have_text("No SIP node has been heard yet.")
        await expect(page.locator("#status-text")).to_contain_text("No SIP node has been heard")
        async with await Node.connect(world.nats.url):
            await truth(page, "live", 15)
            await expect(empty).to_have_text("No live calls.")
            await page.locator("#filter").fill("nothing")
            await expect(empty).to_have_text("No live calls match these filters.")


async def test_a_silent_node_is_named_with_its_calls(world: World, page: Page) -> None:
    async with (
        world.service(NODE_STALE_SECONDS="2") as service,
        await Node.connect(world.nats.url, "kam-1") as one,
        await Node.connect(world.nats.url, "kam-2") as other,
    ):
        await one.call("1.1")
        await one.call("2.2")
        await other.call("3.3")
        await log_in(page, service)
        await truth(page, "live")
        await rows(page, 3)
        one.silence()
        await truth(page, "stale", 15)
        status = page.locator("#status-reason")
        await expect(status).to_have_text("kam-1 is silent: 2 of 3 calls are on it.")
        assert [one for one in await axe(page) if "node=kam-1" in one] == []
        await status.get_by_role("link", name="kam-1").click()
        await rows(page, 2)
        assert page.url.endswith("?node=kam-1")
        await expect(status).to_have_text("kam-1 is silent: 2 of 3 calls are on it.")


async def test_many_anomalies_leave_the_newest_calls_in_sight(
    desk: Desk, node: Node, page: Page
) -> None:
    """A handful is lifted, their reason has a count, and a click shows them all."""
    for number in range(9):
        setup_at = now_ms() - 200_000 - number
        await node.say("setup", f"{number}.1", setup_at=setup_at, from_=f"stuck {number}")
    await node.call("77.1", from_="newest")
    await log_in(page, desk.service)
    await rows(page, 10)
    await expect(page.locator(".call.anomaly")).to_have_count(9)
    await expect(page.locator('.call[aria-rowindex="2"]')).to_contain_text("stuck")
    await expect(page.locator('.call[aria-rowindex="7"]')).to_contain_text("newest")
    group = page.locator(".anomalies:visible")
    await expect(group).to_have_text("9 no answer after 03:00")
    await group.click()
    await rows(page, 9)
    assert page.url.endswith("?why=waiting")
    await page.locator(".chip").click()
    await rows(page, 10)


async def test_an_ended_call_reads_as_ended(desk: Desk, node: Node, page: Page) -> None:
    """With its duration; only a fault of the network is red."""
    await log_in(page, desk.service)
    await truth(page, "live")
    await node.say("setup", "1.1", setup_at=now_ms() - 60_000)
    await node.say("answered", "1.1", answered_at=now_ms() - 42_500)
    await rows(page, 1)
    await node.say("ended", "1.1", outcome="answered", ended_at=now_ms())
    ended = page.locator('.call[data-state="ended"]')
    await expect(ended.locator(".state")).to_have_text(re.compile(r"^ended 00:4[2-9]$"))
    for number, (outcome, fault) in enumerate((("busy", False), ("canceled", False),
                                               ("congestion", True))):  # fmt: skip
        await node.say("setup", f"{number}.5", setup_at=now_ms())
        await rows(page, 1)
        await node.say("failed", f"{number}.5", outcome=outcome, ended_at=now_ms())
        row = ended.filter(has_text=outcome)
        await expect(row).to_have_class("call fault" if fault else "call")


async def test_a_sort_arrow_says_what_the_column_shows(desk: Desk, node: Node, page: Page) -> None:
    for number in range(3):
        await node.say("setup", f"{number}.1", setup_at=now_ms() - 60_000 * number)
    await log_in(page, desk.service)
    await rows(page, 3)
    heading = page.locator("#heading .age")
    for order in ("ascending", "descending"):
        await expect(heading).to_have_attribute("aria-sort", order)
        minutes = [re.compile(f"^0{number}:") for number in range(3)]
        if order == "descending":
            minutes.reverse()
        await expect(page.locator(".call .age")).to_have_text(minutes)  # painted in the next frame
        await heading.locator("button").click()


async def test_times_have_a_zone_and_those_of_another_day_a_date(modules: Page) -> None:
    texts = await modules.evaluate("""async () => {
        const { setUtc, timeOfDay } = await import("/static/text/text.js");
        setUtc(true);
        const noon = Date.UTC(2026, 10, 27, 12);
        return [timeOfDay(noon, noon), timeOfDay(noon - 86_400_000, noon)];
    }""")
    assert texts == ["12:00:00 UTC", "2026-11-26 12:00:00 UTC"]


async def test_numbers_are_written_as_the_readers_country_does(desk: Desk, page: Page) -> None:
    """In the language of the page: 12,34,567 in English as India writes it."""
    context = await page.context.browser.new_context(locale="en-IN")  # type: ignore[union-attr]
    own = await context.new_page()
    await log_in(own, desk.service)
    texts = await own.evaluate("""async () => {
        const { whole, tenths } = await import("/static/text/text.js");
        return [whole(1234567), tenths(0.5)];
    }""")
    await context.close()
    assert texts == ["12,34,567", "0.5"]


async def test_no_sign_depends_on_a_font(desk: Desk, node: Node, page: Page) -> None:
    """No character of the page is one that fonts draw as an emoji or not at all."""
    await some_calls(node)
    await node.say("setup", "9.1", setup_at=now_ms() - 200_000)
    await log_in(page, desk.service)
    await rows(page, 4)
    await page.locator(".call").first.locator(".state").click()
    await page.locator("#drawer li").first.wait_for()
    text = await page.evaluate("document.body.textContent")
    signs = re.findall("[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001ffff]", text)
    assert set(signs) <= {"←", "→"}
    mask = await page.locator(".call .state").first.evaluate(
        "one => getComputedStyle(one, '::before').maskImage"
    )
    assert mask.startswith('url("data:image/svg+xml,')
