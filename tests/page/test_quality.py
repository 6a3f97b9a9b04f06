"""The audio quality of a call on the page: beside the open call, in a column, in a search."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.harness import Node, now_ms
from tests.pages import Desk, browser, desk, in_one_loop, log_in, node, office, page, rows

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
OPEN = "#drawer:not([hidden])"


async def measured_calls(node: Node) -> None:
    """A poor call, a good one, one of which only the loss is known, one that nobody measured."""
    for name, figures in (
        ("1.1", {"mos": 3.2, "jitter_ms": 24.4, "loss_pct": 1.8}),
        ("2.2", {"mos": 4.3, "jitter_ms": 3, "loss_pct": 0}), ("3.3", {"loss_pct": 12.5}),
        ("4.4", {}),
    ):  # fmt: skip
        await node.call(name, company_id="101", answered_at=now_ms() - 9_000, trunk=name, **figures)


async def opened(page: Page, trunk: str) -> None:
    await page.locator("#filter").fill(f"trunk:{trunk}")
    await rows(page, 1)
    await page.locator(".call").filter(has_text=trunk).locator(".state").click()
    await page.locator(f"{OPEN} dl").filter(has_text=trunk).wait_for()


async def test_the_open_call_shows_its_quality_where_it_was_measured(
    desk: Desk, node: Node, page: Page
) -> None:
    await measured_calls(node)
    await log_in(page, desk.service)
    await rows(page, 4)
    quality = page.locator(f"{OPEN} dt:text-is('Audio quality') + dd")
    for trunk, text, poor in (
        ("1.1", "MOS 3.2 · jitter 24 ms · loss 1.8 % · poor", True),
        ("2.2", "MOS 4.3 · jitter 3 ms · loss 0.0 %", False), ("3.3", "loss 12.5 %", False),
    ):  # fmt: skip
        await opened(page, trunk)
        await expect(quality).to_have_text(text)
        assert ("poor" in (await quality.get_attribute("class") or "")) is poor
    await opened(page, "4.4")
    await expect(quality).to_have_count(0)
    await node.say("notice", "4.4", company_id="101", trunk="4.4", mos=2)
    await expect(quality).to_have_text("MOS 2.0 · poor")  # a report while the call is up


async def test_a_search_and_a_column_find_the_poor_calls(
    desk: Desk, node: Node, page: Page
) -> None:
    await measured_calls(node)
    await log_in(page, desk.service)
    await rows(page, 4)
    await expect(page.locator("th", has_text="Quality")).to_have_count(0)
    box, note = page.locator("#filter"), page.locator("#ignored")
    for search, shown in (("mos:<3.6", 1), ("mos:>=3.2", 2), ("-mos:none", 2), ("loss:>1.8", 1),
                          ("jitter:<=3", 1), ("mos:none loss:none", 1)):  # fmt: skip
        await box.fill(search)
        await rows(page, shown)
        await expect(note).to_be_empty()
    for search, said in (
        ("mos:bad", "mos:<3.6"),
        ("jitter:30", "jitter:>30"),
        ("loss:>x", "loss:>2"),
    ):
        await box.fill(search)
        await expect(note).to_contain_text(said)
    await page.goto(f"{desk.service.url}/live-calls?columns=from,quality&sort=quality")
    await rows(page, 4)
    cells = page.locator(".call td:last-of-type")
    await expect(cells.nth(0)).to_have_text("MOS 3.2 · poor")
    assert sorted(await cells.all_inner_texts()) == ["", "MOS 3.2 · poor", "MOS 4.3", "loss 12.5 %"]


async def test_quality_speaks_italian(desk: Desk, node: Node, page: Page) -> None:
    await measured_calls(node)
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?lang=it")
    await rows(page, 4)
    await opened(page, "1.1")
    await expect(page.locator(f"{OPEN} dt:text-is('Qualità audio') + dd")).to_have_text(
        "MOS 3,2 · jitter 24 ms · perdita 1,8 % · scarsa"
    )
