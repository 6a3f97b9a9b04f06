"""Why calls fail, of one trunk: by the filters of the page, by a click, and back."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.harness import Node, now_ms
from tests.pages import Desk, browser, desk, in_one_loop, log_in, node, office, page

__all__ = ["browser", "desk", "node", "office", "page"]
WAIT = 20_000  # ms


async def fail(node: Node, dialog: str, trunk: str, code: int) -> None:
    facts = {"trunk": trunk, "company_id": "405"}
    outcome = "busy" if code == 486 else "congestion"
    await node.say("setup", dialog, setup_at=now_ms(), **facts)
    await node.say("failed", dialog, sip_code=code, outcome=outcome, ended_at=now_ms(), **facts)


@in_one_loop
async def test_the_histogram_is_narrowed_by_trunk_and_back(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(5):
        await fail(node, f"{number}.1", "Rossi, Sons", 503)
    await fail(node, "1.2", "gw-y", 503)
    await fail(node, "1.3", "gw-y", 486)
    await log_in(page, desk.service, "user", company_id="405")
    await page.goto(f"{desk.service.url}/live-calls?panel=failures")
    table, choice = page.locator("#panel .failures tbody tr"), page.locator("#panel p.codes")
    await expect(table).to_have_count(2, timeout=WAIT)
    await expect(choice).to_have_text("Not answered: all trunksRossi, Sons ×5gw-y ×2")
    await choice.get_by_role("link", name="gw-y").click()
    await expect(table.first.locator(".number")).to_have_text("1")
    await expect(table.first.locator(".codes")).to_have_text("gw-y ×1")
    await expect(table).to_have_count(2)
    await expect(page.locator("#panel p").nth(1)).to_contain_text("0 of 2 attempts")
    await expect(choice.locator("[aria-current]")).to_have_text("gw-y")
    await expect(page.get_by_role("button", name="Trunk: gw-y")).to_be_visible()
    assert {"panel=failures", "trunk=gw-y"} <= {*page.url.partition("?")[2].split("&")}
    await choice.get_by_role("link", name="Rossi, Sons").click()  # a name with a comma is one trunk
    await expect(table).to_have_count(1)
    await expect(table.locator(".number")).to_have_text("5")
    await page.reload()
    await expect(table).to_have_count(1, timeout=WAIT)
    await choice.get_by_role("link", name="all trunks").click()
    await expect(table).to_have_count(2)
    await expect(table.first.locator(".number")).to_have_text("6")
    assert "trunk=" not in page.url
    # A filter of the page that is set elsewhere narrows it as well.
    await page.goto(f"{desk.service.url}/live-calls?panel=failures&trunk=gw-y&trunk=gw-z")
    await expect(table.first.locator(".codes")).to_have_text("gw-y ×1", timeout=WAIT)
