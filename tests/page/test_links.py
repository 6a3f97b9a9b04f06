"""Figures, companies, trunks, nodes and codes are links to the view that they are about."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

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
    some_calls,
    truth,
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


def view(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


async def test_a_tile_leads_to_its_calls_in_place_and_back(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    await page.evaluate("window.unloaded = true")
    await page.locator("#count-ringing").click()
    await rows(page, 1)
    assert view(page) == {"state": ["trying", "ringing", "early"]}
    await page.locator("#count-answered").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".call .state")).to_have_text("answered")
    await page.locator("#filter").fill("no such call")
    await rows(page, 0)
    await page.locator('.tile[data-kpi="longest"] a.value').click()
    await rows(page, 2)  # as many as the figure is of: the search is gone
    assert view(page) == {"state": ["answered", "held"], "sort": ["-talk"]}
    await expect(page.locator("#filter")).to_have_value("")
    await page.go_back()
    await rows(page, 0)
    await expect(page.locator("#filter")).to_have_value("no such call")
    await page.go_back()
    await rows(page, 1)
    await page.go_back()
    await rows(page, 3)
    assert await page.evaluate("window.unloaded"), "the page was not loaded again"


async def test_a_link_opens_in_another_tab_with_the_filters_of_now(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    trunk = page.locator("#trunks").get_by_role("link", name="gw-b")
    await trunk.wait_for()
    await page.get_by_label("Filter by company").select_option("102")  # after the link was made
    await rows(page, 1)
    async with page.context.expect_page() as opened:
        await trunk.click(button="middle")
    other = await opened.value
    await rows(other, 1)
    assert view(other) == {"company_id": ["102"], "trunk": ["gw-b"]}
    await other.close()
    await rows(page, 1)
    assert view(page) == {"company_id": ["102"]}


async def test_what_the_drawer_names_are_links(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await node.call("4.4", company_id="Rossi, Sons", trunk="gw-b", sip_code=183)
    await log_in(page, desk.service)
    drawer = page.locator("#drawer")
    for name, wanted in (("gw-b", {"trunk": ["gw-b"]}), (node.name, {"node": [node.name]}),
                         ("Rossi, Sons", {"company_id": ["Rossi\\, Sons"]}),
                         ("183", {"q": ["code:183"]})):  # fmt: skip
        await page.goto(f"{desk.service.url}/live-calls")
        await rows(page, 4)
        await page.locator(".call", has_text="Rossi, Sons").locator(".state").click()
        await drawer.locator("dd").get_by_role("link", name=name, exact=True).click()
        await expect(drawer).to_be_hidden()
        await rows(page, {"gw-b": 3, node.name: 4}.get(name, 1))
        assert view(page) == wanted


async def test_a_name_with_a_comma_is_one_filter_after_a_reload(
    desk: Desk, node: Node, page: Page
) -> None:
    """Its figures are those of the company too: the service is asked for it."""
    await some_calls(node)
    await node.call("4.4", company_id="Rossi, Sons", trunk="gw\\,b\\")
    await log_in(page, desk.service)
    await rows(page, 4)
    await page.get_by_label("Filter by company").select_option("Rossi, Sons")
    await page.get_by_label("Filter by trunk").select_option("gw\\,b\\")
    for _ in range(2):
        await rows(page, 1)
        await expect(page.locator(".chip:visible")).to_have_text(
            ["Company: Rossi, Sons", "Trunk: gw\\,b\\"]
        )
        await expect(page.locator("#total")).to_have_text("1")
        await page.reload()
    assert view(page) == {"company_id": ["Rossi\\, Sons"], "trunk": ["gw\\\\\\,b\\\\"]}


async def test_a_search_for_a_final_response_leads_to_the_calls_that_it_ended(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", "ringing", company_id="101", trunk="gw-links")
    await node.say("failed", "1.1", outcome="busy", sip_code=486, ended_at=now_ms())
    await log_in(page, desk.service)
    await truth(page, "live")
    await page.locator("#filter").fill("code:486")
    await page.locator("#empty").get_by_role("link").click()
    await expect(page.locator("#panel")).to_be_visible()
    assert view(page) == {"panel": ["ended"], "code": ["486"]}
    await page.locator("#panel").get_by_role("link", name="gw-links").click()
    await until(page, "location.search.includes('trunk=gw-links')")
    assert view(page)["panel"] == ["ended"]
    await page.go_back()
    await until(page, "!location.search.includes('trunk')")


async def test_back_never_leads_to_a_view_of_another_login(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await page.locator("#companies").get_by_role("link", name="102").click()
    await rows(page, 1)
    await page.locator("#count-ringing").click()
    await page.locator("#logout").click()
    await truth(page, "signed out")
    await page.evaluate("history.back()")
    await until(page, "location.search === ''")
    assert "company_id" not in page.url
