"""Named views and columns: kept in the browser, shared by a link."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

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
    settled,
    some_calls,
    truth,
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


async def headings(page: Page) -> list[str]:
    return await page.locator("#heading th button").all_inner_texts()


async def test_a_view_is_kept_under_a_name_and_shared_by_a_link(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.get_by_label("Filter by trunk").select_option("gw-b")
    await page.locator("#filter").fill("-state:held")
    await rows(page, 1)
    menu, box = page.locator("#show-views"), page.locator("#views")
    await menu.click()
    await box.get_by_label("Name of the present view").fill("gw-b <b>\u202e")
    await page.keyboard.press("Enter")
    link = box.get_by_role("link")
    await expect(link).to_have_text("gw-b <b>⟨U+202E⟩")
    await expect(link).to_have_attribute("aria-current", "true")
    await box.locator("#copy-view").click()
    await expect(box.get_by_role("status")).to_have_text("Copied")
    shared = await page.evaluate("navigator.clipboard.readText()")
    wanted = parse_qs(urlsplit(shared).query)
    assert wanted.keys() == {"trunk", "q", "columns"}
    await page.goto(f"{desk.service.url}/live-calls")
    await rows(page, 3)
    await menu.click()
    await link.click()
    await rows(page, 1)
    await expect(box).to_be_hidden()
    assert parse_qs(urlsplit(page.url).query) == wanted
    await menu.click()
    await box.get_by_role("button", name="Rename").click()
    await box.get_by_label("New name of").fill("calm")
    await page.keyboard.press("Enter")
    await expect(link).to_have_text("calm")
    await box.get_by_role("button", name="Delete calm").click()
    await box.get_by_role("button", name="Really delete calm").click()
    await expect(link).to_have_count(0)


async def test_views_of_one_login_are_not_those_of_another(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="101")
    await log_in(page, desk.service)
    await rows(page, 1)
    await page.locator("#show-views").click()
    await page.locator("#view-name").fill("of-the-noc")
    await page.keyboard.press("Enter")
    await expect(page.locator("#views li a")).to_have_text("of-the-noc")
    await page.keyboard.press("Escape")
    await page.locator("#logout").click()
    await truth(page, "signed out")
    assert "of-the-noc" not in await page.content()
    await log_in(page, desk.service, "user", company_id="101")
    await rows(page, 1)
    await page.locator("#show-views").click()
    await expect(page.locator("#views")).to_contain_text("No views yet")
    assert "of-the-noc" not in await page.content()


async def test_columns_of_a_link_last_until_the_user_changes_them(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    usual = await headings(page)
    await page.goto(f"{desk.service.url}/live-calls?columns=trunk,state,constructor,trunk")
    await rows(page, 3)
    assert await headings(page) == ["Trunk", "State"]
    await page.goto(f"{desk.service.url}/live-calls")
    await rows(page, 3)
    assert await headings(page) == usual
    await page.goto(f"{desk.service.url}/live-calls?columns=trunk,state")
    await rows(page, 3)
    await page.locator("#heading .state").drag_to(page.locator("#heading .trunk"))
    await expect(page.locator("#heading th").first).to_have_text("State")
    assert "columns" not in page.url  # they are the user's own now
    await page.reload()
    await rows(page, 3)
    assert await headings(page) == ["State", "Trunk"]


async def test_columns_are_moved_and_resized_by_pointer_and_by_keyboard(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    width = "document.querySelector('#heading .company').getBoundingClientRect().width"
    before = await settled(page, width)
    edge = await page.locator("#heading .company .edge").bounding_box()
    assert edge is not None
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + 60, y, steps=4)
    await page.mouse.up()
    await until(page, f"Math.abs({width} - {before + 60}) < 4")
    await expect(page.locator("#heading .company")).to_have_attribute("aria-sort", "none")
    await page.reload()
    await rows(page, 3)
    await until(page, f"Math.abs({width} - {before + 60}) < 4")
    await page.locator("#heading .company .edge").dblclick()
    await until(page, f"Math.abs({width} - {before}) < 4")
    await page.locator("#show-settings").click()
    down = page.get_by_role("button", name="Move State to the right")
    await down.focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")  # the focus stays on it
    assert (await headings(page))[:3] == ["From", "To", "State"]
    await page.get_by_label("Width of State").fill("20")
    await page.keyboard.press("Tab")
    state = "document.querySelector('#heading .state').getBoundingClientRect().width"
    rem = "parseFloat(getComputedStyle(document.documentElement).fontSize)"
    await until(page, f"Math.abs({state} - 20 * {rem}) < 2")
    await page.locator("#reset-columns").click()
    await until(page, f"Math.abs({state} - 20 * {rem}) > 20")
    assert (await headings(page))[0] == "State"
