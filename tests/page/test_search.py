"""The search box: its syntax, what it says of a term that it cannot apply, and its help."""

from __future__ import annotations

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
    settled,
    some_calls,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


async def test_terms_of_a_search_narrow_the_table_together(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await node.call("4.4", company_id="101", answered_at=now_ms() - 400_000, trunk="gw-b")
    await log_in(page, desk.service)
    await rows(page, 4)
    box = page.locator("#filter")
    for search, shown in (("company:101 trunk:gw-b", 2), (f">5m node:{node.name}", 1),
                          ("trunk:gw-* -state:answered", 2), ("+39 02-2222", 1)):  # fmt: skip
        await box.fill(search)
        await rows(page, shown)
    await page.reload()  # the address keeps it
    await expect(box).to_have_value("+39 02-2222")
    await rows(page, 1)


async def test_a_term_that_is_not_applied_is_named(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    top = "document.querySelector('main').getBoundingClientRect().y"
    before = await settled(page, top)
    box, note = page.locator("#filter"), page.locator("#ignored")
    await box.fill("code:busy trunk:gw-b")
    await expect(note).to_contain_text("“code:busy” is no SIP response")
    await expect(box).to_have_attribute("aria-invalid", "true")
    await expect(box).to_have_accessible_description(await note.inner_text())
    await rows(page, 2)
    assert await settled(page, top) == before
    await box.fill("state:<b>\u202e")
    await expect(note).to_contain_text("“state:<b>⟨U+202E⟩” is not one of the states: trying, ")
    await box.fill("trunk:gw-b")
    await expect(note).to_be_empty()
    await expect(box).to_have_attribute("aria-invalid", "false")


async def test_the_help_shows_the_syntax_by_examples(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    button, box = page.locator("#show-search-help"), page.locator("#filter")
    shown = page.locator("#search-help")
    await button.click()
    await expect(shown).to_be_visible()
    await expect(shown).to_be_in_viewport(ratio=1)
    for example in await shown.locator("dt button").all_inner_texts():
        await expect(shown).to_be_visible()
        await shown.get_by_role("button", name=example, exact=True).click()
        await expect(box).to_have_attribute("aria-invalid", "false")  # it is understood
        await expect(shown).to_be_hidden()
        await box.fill("")
        await button.click()
    await page.keyboard.press("Escape")
    await expect(shown).to_be_hidden()
    await expect(button).to_be_focused()
