"""The page as people use it: filters, pause, drawer, keys, files, tabs; in a real Chromium."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, expect

from tests.harness import Node, now_ms
from tests.pages import (
    HOSTILE,
    Desk,
    agrees,
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
from tests.slow_reader import SlowReader

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


async def test_what_a_caller_writes_is_text(desk: Desk, node: Node, page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e"
    await log_in(page, desk.service)
    await node.call("1.1", from_=hostile, to=hostile, trunk="<b>x</b>", call_id="<i>y</i>")
    seen = hostile.replace("\u202e", "⟨U+202E⟩")
    await expect(page.locator(".call .from")).to_have_text(seen)
    await page.locator(".call").locator(".state").click()
    await expect(page.locator('#drawer [data-part="title"]')).to_contain_text(seen)
    await expect(page.locator('#drawer [data-part="call-id"]')).to_have_text("<i>y</i>")
    written = "main :is(img, script, b, i)"
    assert await page.locator(written).count() == 0


async def test_what_cannot_be_seen_is_a_sign_wherever_a_name_is_shown(
    desk: Desk, node: Node, page: Page
) -> None:
    """In the table, the drawer, the title of a tooltip, menus, chips and what is read aloud."""
    seen = "a⟨U+202E⟩b⟨U+2066⟩c␛d⟨U+200B⟩e⟨U+2028⟩f"
    unseen = "a\u202eb\u2066c\x1bd\u200be\u2028f"
    columns = "['state', 'from', 'to', 'company', 'trunk', 'reason', 'call_id', 'node']"
    await page.add_init_script(f"localStorage.livestate = JSON.stringify({{ columns: {columns} }})")
    await log_in(page, desk.service)
    await node.call("1.1", company_id=f"c{unseen}", from_=unseen, to=f"to{unseen}",
                    trunk=f"t{unseen}", from_uri=f"sip:{unseen}", sip_reason=unseen,
                    detail=unseen)  # fmt: skip
    await page.locator(".call").locator(".state").click()
    await expect(page.locator('#drawer [data-part="details"]')).to_contain_text("sip:a⟨U+202E⟩b")
    await page.get_by_label("Filter by trunk").select_option(index=1)
    await expect(page.locator(".chip")).to_contain_text(f"Trunk: t{seen}")
    await expect(page.locator("#trunks th[scope=row]").first).to_contain_text(
        "⟨U+202E⟩", timeout=8_000
    )
    shown: str = await page.evaluate("""() => {
        const names = ["title", "aria-label", "label", "alt", "placeholder"];
        const found = [document.title, document.body.innerText, document.body.textContent];
        for (const one of document.querySelectorAll("*")) {
            found.push(...names.map((name) => one.getAttribute(name) ?? ""));
        }
        return found.join(" ");
    }""")
    assert not [sign for sign in "\u202e\u2066\x1b\u200b\u2028" if sign in shown]
    names = page.locator('#drawer [data-part="title"] bdi')  # neither turns the other round
    await expect(names).to_have_text([seen,
                                      f"to{seen}"])  # fmt: skip


async def test_filters_are_in_the_address_and_narrow_the_stream(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.get_by_label("Filter by trunk").select_option("gw-b")
    await rows(page, 2)
    assert page.url.endswith("?trunk=gw-b")
    await until(page, "livestate.state().calls === 2")  # the server narrowed it
    await truth(page, "live")
    await expect(page.locator("#count-ringing")).to_have_text("1")  # figures are not narrowed
    await page.locator("#filter").fill("39 02-2222")
    await rows(page, 1)
    await page.reload()
    await rows(page, 1)
    await page.locator("#filter").fill("nobody has this")
    await page.locator("#clear").click()
    await rows(page, 3)
    assert page.url.endswith("/live-calls")
    for menu, choice, shown in (("state", "held", 1), ("company", "101", 2),
                                ("node", node.name, 3)):  # fmt: skip
        await page.get_by_label(f"Filter by {menu}").select_option(choice)
        await rows(page, shown)
        await page.locator(".chip").click()
        await rows(page, 3)


async def test_a_paused_page_stands_still_and_says_how_much_waits(
    desk: Desk, node: Node, page: Page
) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.keyboard.press("p")
    for number in range(4):
        await node.call(f"9{number}.9", "ringing", company_id="101")
    await expect(page.locator("#status-remedy")).to_contain_text("changes waiting")
    await until(page, "livestate.state().calls === 7")
    await rows(page, 3)
    await page.keyboard.press("p")
    await rows(page, 7)


async def test_keys_open_a_call_with_its_timeline(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await expect(page.locator('.call[aria-rowindex="2"]')).to_have_attribute("aria-current", "true")
    await page.keyboard.press("/")
    await page.keyboard.type("1.1@")
    await rows(page, 1)
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    await expect(drawer.locator("li .phase").nth(1)).to_have_text("ringing")
    await expect(drawer.locator("li .gap").nth(1)).to_contain_text("+")
    await expect(drawer.locator('[data-part="call-id"]')).to_have_text(f"1.1@{node.name}")
    await page.keyboard.press("m")
    await expect(page.locator(".call .from")).to_have_text("+39 02 •••")
    await expect(drawer.locator('[data-part="title"]')).to_contain_text("+39 02 •••")
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await page.keyboard.press("?")
    await expect(page.locator("#help kbd")).to_have_count(10)
    await page.keyboard.press("Escape")
    await page.keyboard.press("w")
    assert "wall=1" in page.url


async def test_a_call_leads_on_to_its_trace_and_its_id_is_copied(
    desk: Desk, node: Node, page: Page
) -> None:
    call_id = "\"><b>&to=0#'@x y"
    await node.call("1.1", company_id="101", call_id=call_id)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await log_in(page, desk.service)
    await page.locator(".call").locator(".state").click()
    link = page.locator('#drawer [data-part="link"]')
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(link).to_have_attribute("href", re.compile("."))  # once the settings are here
    found = urlsplit(await link.evaluate("one => one.href"))
    assert (found.netloc, found.fragment) == ("homer.example", "")
    assert parse_qs(found.query)["callid"] == [call_id]
    await page.locator('#drawer [data-part="copy"]').click()
    await expect(page.locator('#drawer [data-part="copied"]')).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == call_id


async def test_a_user_sees_the_own_company_and_no_hint_at_others(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="101", from_="mine")
    await node.call("2.2", company_id="102", from_="theirs", trunk="theirs-too")
    await log_in(page, desk.service, "user", company_id="101")
    await rows(page, 1)
    await expect(page.locator("#total")).to_have_text("1")
    await expect(page.locator("#who")).to_have_text("company 101")
    await expect(page.get_by_label("Filter by company")).to_be_hidden()
    await expect(page.locator("#companies")).to_be_hidden()
    await expect(page.locator("#heading .company")).to_have_count(0)
    await page.locator(".call").locator(".state").click()
    await page.locator("#drawer li").first.wait_for()
    await expect(page.locator('#drawer [data-part="link"]')).to_be_hidden()
    await until(page, "livestate.figures().concurrent === 1")
    for hint in ("102", "theirs", "homer"):
        assert hint not in await page.content()
        assert hint not in json.dumps(await page.evaluate("livestate.figures()"))


async def test_odd_calls_stand_first_and_say_why(desk: Desk, node: Node, page: Page) -> None:
    """A call that rings for a minute, or has no company, is not odd by that."""
    await node.say("setup", "1.1", setup_at=now_ms() - 190_000, company_id="101", from_="stuck")
    await node.say("setup", "6.6", setup_at=now_ms() - 61_000, company_id="101")
    await node.say("setup", "2.2", setup_at=now_ms(), from_="nobodys")
    for number in range(3, 6):
        await node.call(f"{number}.1", company_id="101")
    await log_in(page, desk.service)
    await rows(page, 6)
    await expect(page.locator(".call.anomaly")).to_have_count(1)
    await expect(page.locator("#shown")).to_have_text("6 shown")
    await expect(page.locator(".anomalies:visible")).to_have_text(["1 no answer after 03:00"])
    await expect(page.locator('.call[aria-rowindex="2"]')).to_contain_text("stuck")
    await page.locator(".call", has_text="stuck").locator(".state").click()
    await expect(page.locator('[data-part="why"]')).to_contain_text("without an answer")


async def test_columns_are_chosen_and_any_of_them_sorts(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await rows(page, 3)
    await page.locator("#show-settings").click()
    await page.locator('[data-column="node"]').uncheck()
    await page.locator('[data-column="call_id"]').check()
    await page.locator("#set-density").select_option("compact")
    await page.locator("#set-theme").select_option("dark")
    await page.locator("#settings [data-close]").click()
    await expect(page.locator("#heading .node")).to_have_count(0)
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await until(page, "document.getElementById('ruler').clientHeight < 25")
    ids = page.locator(".call .call_id")
    for direction, wanted in (("ascending", ["1.1", "2.2", "3.3"]),
                              ("descending", ["3.3", "2.2", "1.1"])):  # fmt: skip
        await page.locator("#heading .call_id button").click()
        sorted_by = page.locator("#heading .call_id")
        await expect(sorted_by).to_have_attribute("aria-sort", direction)
        await expect(ids).to_have_text([f"{one}@{node.name}" for one in wanted])
    assert "sort=-call_id" in page.url
    await page.reload()
    await expect(ids.first).to_have_text(f"3.3@{node.name}")


async def test_thousands_of_calls_are_a_window_of_rows_that_stands_still(
    desk: Desk, node: Node, page: Page
) -> None:
    node.hurried = True
    for number in range(3000):
        await node.say("setup", f"{number}.{number}", setup_at=node.epoch + number)
    await log_in(page, desk.service)
    await expect(page.locator("#total")).to_have_text("3,000")
    assert await page.locator(".call").count() < 80
    scroller = page.locator("#scroller")
    await scroller.evaluate("one => one.scrollTo(0, one.scrollHeight)")
    await expect(page.locator('.call[aria-rowindex="3001"]')).to_be_visible()
    await scroller.evaluate("one => one.scrollTo(0, one.scrollHeight / 2)")
    row = page.locator('.call[aria-rowindex="1510"]')
    key = await row.get_attribute("data-key")
    row = page.locator(f'.call[data-key="{key}"]')
    await expect(row).to_be_visible()
    before = await row.evaluate("one => one.getBoundingClientRect().y")
    for number in range(3000, 3020):
        await node.say("setup", f"{number}.{number}", setup_at=node.epoch + number)
    await expect(row).to_have_attribute("aria-rowindex", "1530")
    assert abs(await row.evaluate("one => one.getBoundingClientRect().y") - before) < 1
    await page.locator("#filter").fill(f"2999.2999@{node.name}")
    await rows(page, 1)
    await agrees(page, desk.service, desk.service.token())


async def test_no_picture_is_without_rows_when_the_window_changes(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(99):
        await node.say("setup", f"{number}.1", setup_at=now_ms())
    await log_in(page, desk.service)
    await until(page, "document.querySelectorAll('.call').length > 20")
    await page.evaluate("""() => {
        window.fewest = Infinity;
        const shown = new MessageChannel();  // heard of when the picture is done
        shown.port1.onmessage = () => {
            const seen = document.getElementById("scroller").getBoundingClientRect();
            const at = document.elementFromPoint(seen.x + 40, seen.y + seen.height / 3);
            const rows = at?.closest(".call") ? document.querySelectorAll(".call").length : 0;
            window.fewest = Math.min(window.fewest, rows);
            next();
        };
        const next = () => requestAnimationFrame(() => shown.port2.postMessage(""));
        next();
    }""")
    for width in (1100, 2400, 700, 1600):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert await page.evaluate("window.fewest") > 10


async def test_what_is_filtered_can_be_saved(desk: Desk, node: Node, page: Page) -> None:
    await some_calls(node)
    await log_in(page, desk.service)
    await page.get_by_label("Filter by company").select_option("102")
    await rows(page, 1)
    saved = {}
    for kind in ("csv", "json"):
        async with page.expect_download() as download:
            await page.locator(f"#{kind}").click()
        saved[kind] = Path(await (await download.value).path()).read_text("utf-8-sig")
    (only,) = csv.DictReader(saved["csv"].splitlines())
    assert only["from"] == "'" + HOSTILE  # a formula is text
    (record,) = json.loads(saved["json"])["calls"].values()
    assert record["from"] == HOSTILE


async def test_an_administrator_sees_who_is_slow(desk: Desk, page: Page) -> None:
    token = desk.service.token("user", company_id="c9", subject="slow-reader")
    node = desk.node()
    with await SlowReader.open(desk.service.url, token):
        for number in range(100):  # more than fits between two sockets
            await node.say("setup", f"{number}.1", company_id="c9", from_="5" * 100)
        await log_in(page, desk.service, "admin")
        row = page.locator("#slow-clients tbody tr")
        await expect(row).to_contain_text("slow-reader", timeout=30_000)
        await expect(page.locator("#slow-clients tfoot")).to_be_hidden()
    await expect(page.locator("#slow-clients tfoot")).to_be_visible(timeout=30_000)
    await log_in(page, desk.service, "noc")
    await truth(page, "live")
    await expect(page.locator("#slow-clients")).to_be_hidden()
