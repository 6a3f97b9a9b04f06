"""Company, trunk, node and code of a row are links; elsewhere in the row a click opens the call."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

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
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
NAMES = ["Rossi, Sons", "a\\,b\\", '50%+x&y=#?" é日<b>x</b>']


def view(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


async def test_a_link_of_a_row_leads_to_the_filtered_view(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="101", trunk="gw-a", sip_code=183)
    await node.call("2.2", company_id="102", trunk="gw-b")
    await log_in(page, desk.service)
    await rows(page, 2)
    row = page.locator(".call", has_text="gw-a")
    for cell, wanted, shown in (
        (".company a", {"company_id": ["101"]}, 1), (".trunk a", {"trunk": ["gw-a"]}, 1),
        (".code a", {"q": ["code:183"]}, 1), (".node a", {"node": [node.name]}, 2),
    ):  # fmt: skip
        await row.locator(cell).click()
        await rows(page, shown)
        assert view(page) == wanted
        await expect(page.locator("#drawer")).to_be_hidden()
        await page.go_back()
        await rows(page, 2)
    assert await page.locator(".call", has_text="gw-b").locator(".code a[href]").count() == 0
    # Elsewhere in the cell of a link, and with the keyboard, the call is opened.
    await row.locator(".trunk").click(position={"x": 130, "y": 8})
    await expect(page.locator("#drawer")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator("#table").focus()
    await page.keyboard.press("Home")
    await page.keyboard.press("Enter")
    await expect(page.locator("#drawer")).to_be_visible()
    assert await page.locator(".call a:not([tabindex='-1'])").count() == 0, "one stop of Tab"
    # By keyboard here; the drawer is filled after it is opened.
    await expect(page.locator("#drawer dd a[href]").nth(2)).to_be_attached()


async def test_a_link_of_a_row_opens_in_a_tab_with_the_filters_of_now(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="101", trunk="gw-a")
    await node.call("2.2", "ringing", company_id="101", trunk="gw-a")
    await log_in(page, desk.service)
    await rows(page, 2)
    await page.get_by_label("Filter by state").select_option("ringing")  # the rows were made before
    await rows(page, 1)
    link = page.locator(".call .trunk a")
    for how in ({"button": "middle"}, {"modifiers": ["ControlOrMeta"]}):
        async with page.context.expect_page() as opened:
            await link.click(**how)
        other = await opened.value
        await rows(other, 1)
        assert view(other) == {"state": ["ringing"], "trunk": ["gw-a"]}
        await other.close()
    assert view(page) == {"state": ["ringing"]}
    await expect(page.locator("#drawer")).to_be_hidden()


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_is_one_filter_of_table_panel_link_and_view(
    desk: Desk, node: Node, page: Page, name: str
) -> None:
    await node.call("1.1", company_id=name, trunk=name)
    await node.call("2.2", company_id="102", trunk="gw-b")
    for number, trunk in ((3, name), (4, "gw-b"), (5, "Rossi")):
        await node.call(f"{number}.3", "ringing", trunk=trunk)
        await node.say("failed", f"{number}.3", trunk=trunk, outcome="busy", ended_at=now_ms())
    await log_in(page, desk.service)
    await rows(page, 2)
    for cell in (".trunk a", ".company a"):
        await page.locator(".call:not([data-state=ended])", has_text=name).locator(cell).click()
        await rows(page, 1)
    await page.locator("#show-views").click()
    await page.locator("#view-name").fill("mine")
    await page.locator("#views form button").click()
    await page.keyboard.press("Escape")
    address, wanted = page.url, view(page)
    await page.goto(f"{desk.service.url}/live-calls")
    await rows(page, 2)
    await page.locator("#show-views").click()
    await page.locator("#views a", has_text="mine").click()
    await rows(page, 1)
    named = view(page)
    assert named == wanted | {"columns": named["columns"]}, "the view and the link are the same"
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    await page.goto(f"{desk.service.url}/live-calls?{urlsplit(address).query}")
    await rows(page, 1)
    streams = [one for one in asked if "/live/calls?" in one]
    assert "trunk" in parse_qs(urlsplit(streams[-1]).query), "the service narrows it"
    await page.locator(".chip", has_text="Company").click()
    await page.locator("#tab-ended").click()
    trunks = page.locator("#panel .ended tbody tr td:nth-child(6)")
    await expect(trunks).to_have_text([name])
    assert await page.locator("main :is(b, img)").count() == 0
