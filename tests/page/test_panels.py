"""The panels beside the table, in a real Chromium: trunks, and why calls fail."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import nats
import pytest
from playwright.async_api import Browser, Page, expect

from api.cli.child_service import Instance
from livestate.devtools import servers
from tests.harness import Node, now_ms
from tests.pages import (
    HOSTILE,
    Desk,
    a_module,
    a_test,
    browser,
    in_one_loop,
    log_in,
    page,
    rows,
)

__all__ = ["browser", "page"]
pytestmark = in_one_loop
TRUNKS = "trunk,capacity,name,country\nfull,10,Carrier of Milan,IT\nidle,30\nbad,lots\n"
WAIT = 20_000  # ms; the panel asks every 4 s


@a_module
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    file = tmp_path_factory.mktemp("files") / "trunks.csv"
    file.write_text(TRUNKS)
    async with servers.NatsServer() as queue, servers.Valkey() as store:
        addresses = {"NATS_URL": queue.url, "REDIS_URL": store.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1", "TRUNKS": str(file),
                     "CDR_URL": "https://cdr.example/find?id={call_id}"}  # fmt: skip
        async with Instance(tmp_path_factory.mktemp("keys"), addresses) as service:
            await service.until_ready()
            desk = Desk(service, await nats.connect(queue.url))
            yield desk
            await desk.close()


@a_test
async def desk(office: Desk) -> AsyncIterator[Desk]:
    yield office
    await office.clear()


@a_test
async def node(desk: Desk) -> Node:
    return desk.node()


async def fail(node: Node, dialog: str, trunk: str, code: int = 503, **facts: str) -> None:
    facts = {"trunk": trunk, "company_id": "101"} | facts
    outcome = "busy" if code == 486 else "congestion"
    await node.say("setup", dialog, setup_at=now_ms(), **facts)
    await node.say("failed", dialog, sip_code=code, outcome=outcome, ended_at=now_ms(), **facts)


async def test_a_dead_carrier_stands_first_and_its_row_leads_to_its_calls(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(25):
        await fail(node, f"{number}.1", "dead")
    await node.call("1.2", trunk="dead", company_id="101")
    await node.call("1.3", trunk="good", company_id="101")
    await log_in(page, desk.service)
    await page.get_by_role("tab", name="Trunks").click()
    first = page.locator("#panel tbody tr").first
    await expect(first.locator("th")).to_contain_text("dead", timeout=WAIT)
    await expect(first).to_have_attribute("data-level", "alarm", timeout=WAIT)
    await expect(first.locator(".alarms")).to_contain_text("alarm: NER")
    await expect(first.locator(".codes")).to_have_text("503 ×25")
    await expect(page.locator("#panel-about")).to_contain_text("Of all calls")
    assert page.url.endswith("?panel=trunks")
    await first.get_by_role("link", name="dead").click()
    await rows(page, 1)
    assert page.url.endswith("?trunk=dead")
    await expect(page.locator("#tab-calls")).to_have_attribute("aria-selected", "true")


@pytest.mark.slow
async def test_the_trunk_file_gives_capacity_and_bad_lines_are_named(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(9):
        await node.call(f"{number}.1", trunk="full")
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel=trunks")
    row = page.locator("#panel tbody tr", has_text="full").first
    await expect(row.locator(".live")).to_contain_text("9 / 10", timeout=WAIT)
    await expect(row).to_have_attribute("data-level", "warning")
    await expect(row.locator("th")).to_contain_text("Carrier of Milan · IT")
    await expect(row.locator(".alarms")).to_have_text("warning: 90 % full")
    await expect(page.locator("#panel tbody tr", has_text="idle")).to_contain_text("0 / 30")
    await page.get_by_text("Lines of the trunk file that are ignored: 1.").click()
    await expect(page.locator("#panel li")).to_have_text(re.compile("^Line 4: the capacity is not"))
    await node.call("9.1", trunk="full")
    await expect(row).to_have_attribute("data-level", "alarm", timeout=WAIT)


async def test_a_company_sees_its_own_calls_and_nothing_of_the_file(
    desk: Desk, node: Node, page: Page
) -> None:
    for number in range(9):
        await node.call(f"{number}.1", trunk="full", company_id="202")
    await node.call("1.2", trunk="full", company_id="303")
    await log_in(page, desk.service, "user", company_id="303")
    await page.get_by_role("tab", name="Trunks").click()
    await expect(page.locator("#panel-about")).to_contain_text("Of company 303", timeout=WAIT)
    await expect(page.locator("#panel tbody tr")).to_have_count(1)
    await expect(page.locator("#panel tbody .live")).to_have_text("1")
    assert await page.get_by_text("Carrier of Milan").count() == 0
    assert await page.locator("#panel details").count() == 0


async def test_why_calls_fail_counts_each_response_by_trunk(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "404"}
    for number in range(5):
        await fail(node, f"{number}.1", "gw-x", 503, **company)
    await fail(node, "1.2", "gw-y", 503, **company)
    await fail(node, "1.3", "gw-y", 486, **company)
    await log_in(page, desk.service, "user", **company)
    await page.get_by_role("tab", name="Why calls fail").click()
    first, second = (page.locator("#panel .failures tbody tr").nth(n) for n in range(2))
    await expect(first.locator("th")).to_have_text("503 Service Unavailable fault", timeout=WAIT)
    await expect(first.locator(".number")).to_have_text("6")
    await expect(first.locator(".codes")).to_have_text("gw-x ×5gw-y ×1")
    await expect(second.locator("th")).to_have_text("486 Busy Here ")
    await expect(page.locator("#panel .failures + p, #panel p").nth(1)).to_contain_text(
        "Not answered: 7, of which 6 are faults"
    )
    await first.get_by_role("link", name="gw-x").click()
    await expect(page.get_by_role("button", name="Trunk: gw-x")).to_be_visible()
    ended = page.locator("#panel .ended tbody tr")
    await expect(ended).to_have_count(5, timeout=WAIT)
    assert {"panel=ended", "code=503", "trunk=gw-x"} <= {*page.url.partition("?")[2].split("&")}


async def test_names_of_trunks_are_text_and_another_login_sees_nothing_of_the_last(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", trunk=HOSTILE[:60] + "\u202e", company_id="505")
    await log_in(page, desk.service, "user", company_id="505")
    await page.get_by_role("tab", name="Trunks").click()
    name = page.locator("#panel tbody th bdi")
    await expect(name).to_have_text(HOSTILE[:60] + "⟨U+202E⟩", timeout=WAIT)
    assert await page.locator("#panel :is(img, script)").count() == 0
    await log_in(page, desk.service, "user", company_id="606")
    await page.goto(f"{desk.service.url}/live-calls?panel=trunks")
    await expect(page.locator("#panel-about")).to_contain_text("Of company 606", timeout=WAIT)
    await expect(page.get_by_text("No call has used a trunk in this time.")).to_be_visible()
    assert await page.get_by_text("⟨U+202E⟩").count() == 0


@pytest.mark.slow
async def test_a_service_that_is_gone_is_said_beside_old_figures(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", trunk="gw")
    await log_in(page, desk.service)
    await page.get_by_role("tab", name="Trunks").click()
    await expect(page.locator("#panel tbody")).to_contain_text("gw", timeout=WAIT)
    await page.route("**/api/v1/live/trunks*", lambda route: route.abort())
    await expect(page.locator("#panel-about")).to_contain_text("Not updated since", timeout=WAIT)
    await page.unroute("**/api/v1/live/trunks*")
    await expect(page.locator("#panel-about")).to_contain_text("again in", timeout=WAIT)


@pytest.mark.slow
async def test_tabs_work_by_keys_and_no_row_moves_under_the_pointer(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "707"}
    await fail(node, "1.1", "aaa", 503, **company)
    await fail(node, "1.2", "bbb", 486, **company)
    await log_in(page, desk.service, "user", **company)
    await page.locator("#tab-calls").focus()
    await page.keyboard.press("ArrowRight")
    tab = page.get_by_role("tab", name="Trunks")
    await expect(tab).to_be_focused()
    await expect(tab).to_have_attribute("aria-selected", "true")
    names = page.locator("#panel tbody th bdi")
    await expect(names).to_have_text(["aaa", "bbb"], timeout=WAIT)
    await page.locator("#panel tbody tr").first.hover()
    for number in range(9):
        await fail(node, f"{number}.9", "bbb", 503, **company)
    await expect(page.locator("#panel tbody tr").nth(1)).to_contain_text("503 ×9", timeout=WAIT)
    await expect(names).to_have_text(["aaa", "bbb"])
    await page.mouse.move(5, 5)
    await expect(names).to_have_text(["bbb", "aaa"], timeout=WAIT)


async def test_a_panel_that_is_closed_asks_for_nothing(desk: Desk, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/live/trunks" in one.url else None)
    await page.clock.install()
    await log_in(page, desk.service)
    await page.get_by_role("tab", name="Trunks").click()
    await expect(page.locator("#panel-about")).to_contain_text("Of all calls", timeout=WAIT)
    before = len(asked)
    async with page.expect_request("**/live/trunks*", timeout=WAIT):
        await page.clock.fast_forward(10_000)
    assert len(asked) > before
    await page.locator("#tab-calls").click()
    before = len(asked)
    await page.clock.fast_forward(60_000)
    await page.get_by_role("tab", name="Why calls fail").click()  # it asks at once
    await expect(page.locator("#panel-about")).to_contain_text("Of all calls", timeout=WAIT)
    assert len(asked) == before + 1


async def test_ended_calls_are_listed_with_their_outcome_and_lead_to_their_cdr(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "808"}
    await node.call("1.1", trunk="gw-a", from_="+391", to="+392", answered_at=now_ms(), **company)
    await node.say("ended", "1.1", outcome="answered", ended_at=now_ms() + 42_000, **company)
    await fail(node, "1.2", "gw-b", 503, **company)
    await fail(node, "1.3", "gw-a", 486, **company)
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel=ended&company_id=808")
    calls = page.locator("#panel .ended tbody tr")
    how = calls.locator(".outcome")
    wanted = ["486 Busy Here", "503 Service Unavailable", "answered"]
    await expect(how).to_have_text(wanted, timeout=WAIT)
    kinds = [await calls.nth(n).get_attribute("data-kind") for n in range(3)]
    assert kinds == ["people", "fault", "answered"]
    await expect(calls.nth(2).locator("td")).to_contain_text(["answered", "+391", "+392"])
    await calls.nth(1).get_by_role("button").click()
    link = page.get_by_role("link", name="Open its CDR")
    await expect(link).to_have_attribute("href", re.compile(r"^https://cdr\.example/find\?id=1\.2"))
    await page.keyboard.press("Escape")
    await page.goto(f"{desk.service.url}/live-calls?panel=ended&company_id=808&trunk=gw-a")
    await expect(how).to_have_text(["486 Busy Here", "answered"], timeout=WAIT)


async def test_a_response_leads_to_the_calls_that_it_ended(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "909"}
    await fail(node, "1.1", "gw", 503, **company)
    await fail(node, "1.2", "gw", 486, **company)
    await log_in(page, desk.service, "user", **company)
    await page.goto(f"{desk.service.url}/live-calls?panel=failures")
    await page.locator("#panel").get_by_role("link", name="503").click(timeout=WAIT)
    how = page.locator("#panel .ended .outcome")
    await expect(how).to_have_text(["503 Service Unavailable"], timeout=WAIT)
    assert page.url.endswith("?panel=ended&code=503")
    await page.get_by_role("button", name="Only 503").click()
    await expect(how).to_have_count(2, timeout=WAIT)
    assert page.url.endswith("?panel=ended")
    await page.locator("#tab-calls").click()
    assert page.url.endswith("/live-calls")


@pytest.mark.slow
async def test_a_panel_and_the_drawer_follow_the_chosen_zone_at_once(
    desk: Desk, node: Node, browser: Browser
) -> None:
    company = {"company_id": "919"}
    await fail(node, "1.1", "gw", 503, **company)
    context = await browser.new_context(timezone_id="Asia/Kolkata", locale="en-IN")
    page = await context.new_page()
    await log_in(page, desk.service, "user", **company)
    await page.goto(f"{desk.service.url}/live-calls?panel=ended")
    ended = page.locator("#panel .ended tbody th")
    await expect(ended).to_contain_text("GMT+5:30", timeout=WAIT)
    await ended.get_by_role("button").click()
    step = page.locator('#drawer [data-part="timeline"]')
    await expect(step).to_contain_text("GMT+5:30", timeout=WAIT)
    await page.route("**/api/v1/live/ended*", lambda route: route.abort())
    about = page.locator("#panel-about")
    await expect(about).to_contain_text("Not updated since", timeout=WAIT)
    await page.locator("#show-settings").click()
    await page.locator("#set-utc").check()
    await page.locator("#settings [data-close]").click()
    for place in (ended, step, about):
        await expect(place).to_contain_text("UTC")
        await expect(place).not_to_contain_text("GMT")
    await context.close()
