"""The panels of companies and nodes, in a real Chromium: for roles that see all calls."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Page, expect

from livestate.client.paths import COMPANIES_PATH, NODES_PATH
from tests.harness import Node, bearer, now_ms
from tests.page.test_tabs import axe
from tests.pages import HOSTILE, Desk, browser, desk, in_one_loop, log_in, node, office, page, rows

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
WAIT = 20_000  # ms; the panel asks every 4 s


async def fail(node: Node, dialog: str, company: str) -> None:
    facts = {"trunk": "gw", "company_id": company}
    await node.say("setup", dialog, setup_at=now_ms(), **facts)
    await node.say("failed", dialog, sip_code=503, outcome="congestion", ended_at=now_ms(), **facts)


async def test_the_company_whose_calls_fail_stands_first_and_leads_to_its_calls(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(25):
        await fail(node, f"{number}.1", "dead")
    await node.call("1.2", company_id="dead")
    for number in range(3):
        await node.call(f"{number}.3", company_id=HOSTILE[:60] + "\u202e")
    await log_in(page, desk.service)
    await page.get_by_role("tab", name="Companies").click()
    first = page.locator("#panel tbody tr").first
    await expect(first.locator("th bdi")).to_have_text("dead", timeout=WAIT)
    await expect(first).to_have_attribute("data-level", "alarm", timeout=WAIT)
    await expect(first.locator(".alarms")).to_contain_text("alarm: NER")
    await expect(first.locator(".codes")).to_have_text("503 ×25")
    await expect(first.locator(".live")).to_have_text("1")
    hostile = page.locator("#panel tbody tr", has_text="⟨U+202E⟩")
    await expect(hostile.locator(".live")).to_have_text("3", timeout=WAIT)
    assert await page.locator("#panel :is(img, script)").count() == 0
    await first.get_by_role("link", name="dead").click()
    await rows(page, 1)
    assert page.url.endswith("?company_id=dead")


@pytest.mark.slow
async def test_a_node_says_its_health_and_why_it_is_bad(desk: Desk, node: Node, page: Page) -> None:
    for number in range(4):
        await node.call(f"{number}.1")
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel=nodes&company_id=1")
    row = page.locator("#panel tbody tr", has=page.get_by_text(node.name, exact=True))
    cells = row.locator("td")
    await expect(cells.first).to_have_text("4", timeout=WAIT)
    await expect(cells.nth(2)).to_contain_text("ago")
    await expect(cells.nth(7)).to_have_text("right")
    node.seq += 3  # of messages that are lost
    await node.call("9.1")
    await expect(cells.nth(5)).to_contain_text("1 (", timeout=WAIT)


@pytest.mark.parametrize("name", ["Companies", "Nodes"])
async def test_a_login_of_one_company_has_no_panel_of_all(
    desk: Desk, page: Page, name: str
) -> None:
    await log_in(page, desk.service, "user", company_id="101")
    await page.goto(f"{desk.service.url}/live-calls?panel={name.lower()}")
    await expect(page.locator("#tab-calls")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("tab", name=name)).to_be_hidden()
    await expect(page.get_by_role("tab", name="Trunks")).to_be_visible()


async def test_only_roles_that_see_all_calls_get_companies_and_nodes(desk: Desk) -> None:
    async with httpx.AsyncClient(base_url=desk.service.url) as client:
        for path in (COMPANIES_PATH, NODES_PATH):
            user = bearer(desk.service.token("user", company_id="101"))
            assert (await client.get(path, headers=user)).status_code == 403
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=bearer(desk.service.token()))).is_success


async def test_destinations_have_a_country_and_the_drawer_writes_the_number(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "818"}
    for number in range(3):
        await node.call(f"{number}.1", to=f"+39 06 5550{number}111", **company)
    await node.call("1.2", to="+88216123456", from_="<b>x", **company)
    await log_in(page, desk.service, "user", **company)
    await page.get_by_role("tab", name="Destinations").click()
    await expect(page.locator("#panel tbody tr")).to_have_count(2, timeout=WAIT)
    rome, satellite = (page.locator("#panel tbody tr").nth(n) for n in range(2))
    await expect(rome.locator("th")).to_have_text("Italy")
    await expect(rome.locator("td")).to_contain_text(["+39 06", "fixed line", "3", "3"])
    await expect(satellite.locator("th")).to_have_text("no country")
    await expect(satellite.locator("td").nth(1)).to_have_text("satellite")
    await page.locator("#tab-calls").click()
    await rows(page, 4)
    await page.locator(".call", has_text="55502111").locator(".state").click()
    fields = page.locator('#drawer [data-part="details"]')
    await expect(fields).to_contain_text("Number called+39 06 5550 2111 · Italy", timeout=WAIT)


async def test_a_hint_shows_its_rule_and_leads_to_the_calls(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "828"}
    for number in range(10):
        await node.call(f"{number}.1", from_="+39 02 5550", to=f"+3906555{number:04}", **company)
    await node.call("1.2", from_="+39025551", to="+390655", **company)
    await log_in(page, desk.service, "user", **company)
    await page.get_by_role("tab", name="Fraud hints").click()
    hint = page.locator('#panel tr[data-rule="at_once"]')
    await expect(hint.locator("td")).to_have_text(["+39025550", "–", "828", "10"], timeout=WAIT)
    await expect(page.locator("#panel ul.rules")).to_contain_text("10 or more calls are up")
    await hint.get_by_role("link").click()
    await rows(page, 10)


@pytest.mark.parametrize("name", ["companies", "nodes", "destinations", "hints"])
async def test_the_panels_are_accessible(desk: Desk, node: Node, page: Page, name: str) -> None:
    for number in range(10):
        await node.call(f"{number}.1", from_="+39025550", to="+88216123456", company_id="838")
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel={name}")
    await expect(page.locator("#panel tbody tr").first).to_be_visible(timeout=WAIT)
    await expect(page.locator("#status-word")).to_have_text("live", timeout=WAIT)
    assert await axe(page) == []
