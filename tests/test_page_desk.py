"""The page as people use it: filters, pause, drawer, keys, files, tabs; in a real Chromium."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import axe_playwright_python
from playwright.async_api import Page, expect

from api.instance import Instance
from tests.conftest import World
from tests.faults.caddy import Caddy
from tests.harness import Node, metrics, now_ms
from tests.test_page import browser, log_in, page, rows, truth

__all__ = ["browser", "page"]  # fixtures

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
HOSTILE = '=cmd|"x"!A1,<img src=x onerror=alert(1)>'


async def some_calls(node: Node) -> None:
    """One of each kind; whoever looks for a company of its own finds these."""
    await node.call("1.1", "ringing", company_id="101", from_="+39 02 111", trunk="gw-a")
    await node.call("2.2", company_id="101", from_="0039022222", trunk="gw-b", answered_at=now_ms())
    await node.call("3.3", "held", company_id="102", from_=HOSTILE, trunk="gw-b")


async def test_filters_are_in_the_address_and_narrow_the_stream(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await rows(page, 3)
        await page.get_by_label("Filter by trunk").select_option("gw-b")
        await rows(page, 2)
        assert page.url.endswith("?trunk=gw-b")
        await page.wait_for_function("livestate.state().calls === 2")  # the server narrowed it
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


async def test_a_paused_page_stands_still_and_says_how_much_waits(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await rows(page, 3)
        await page.keyboard.press("p")
        for number in range(4):
            await node.call(f"9{number}.9", "ringing", company_id="101")
        await expect(page.locator("#pause")).to_contain_text("changes waiting")
        await page.wait_for_function("livestate.state().calls === 7")
        await rows(page, 3)
        await page.keyboard.press("p")
        await rows(page, 7)


async def test_keys_open_a_call_with_its_timeline(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await rows(page, 3)
        await page.keyboard.press("/")
        await page.keyboard.type("1.1@")
        await rows(page, 1)
        await page.keyboard.press("Escape")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        drawer = page.locator("#drawer")
        await expect(drawer.locator("li .phase").nth(1)).to_have_text("ringing")
        await expect(drawer.locator('[data-part="call-id"]')).to_have_text(f"1.1@{node.name}")
        await page.keyboard.press("m")
        await expect(page.locator(".call .from")).to_have_text("+39 02 •••")
        await expect(drawer.locator('[data-part="title"]')).to_contain_text("+39 02 •••")
        await page.keyboard.press("Escape")
        await expect(drawer).to_be_hidden()
        await page.keyboard.press("w")
        assert "wall=1" in page.url


async def test_odd_calls_stand_first_and_say_why(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.say("setup", "1.1", setup_at=now_ms() - 90_000, company_id="101", from_="stuck")
        await node.say("setup", "2.2", setup_at=now_ms(), from_="nobodys")
        for number in range(3, 6):
            await node.call(f"{number}.1", company_id="101")
        await log_in(page, service)
        await rows(page, 5)
        first = page.locator(".call.odd")
        await expect(first).to_have_count(2)
        for place in (2, 3):
            odd = page.locator(f'.call[aria-rowindex="{place}"]')
            await expect(odd.locator(".state")).to_contain_text("⚠")
        await page.locator(".call", has_text="stuck").click()
        await expect(page.locator('[data-part="why"]')).to_contain_text("without an answer")


async def test_what_is_filtered_can_be_saved(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await page.get_by_label("Filter by company").select_option("102")
        await rows(page, 1)
        saved = {}
        for kind in ("csv", "json"):
            async with page.expect_download() as download:
                await page.locator(f"#{kind}").click()
            saved[kind] = Path(await (await download.value).path()).read_text()
        (only,) = csv.DictReader(saved["csv"].splitlines())
        assert only["from"] == "'" + HOSTILE  # a formula is text
        (record,) = json.loads(saved["json"])["calls"].values()
        assert record["from"] == HOSTILE


async def test_six_tabs_are_one_stream_and_the_next_one_leads(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await rows(page, 3)
        tabs = [page]
        for _ in range(5):
            tab = await page.context.new_page()
            await tab.goto(f"{service.url}/live-calls")
            tabs.append(tab)
        for tab in tabs:
            await truth(tab, "live")
            await rows(tab, 3)
        assert (await metrics(service))["livestate_sse_subscribers"] == 1.0
        assert await page.evaluate("livestate.state().tab") == "leads"
        await page.close()
        await node.call("4.4", company_id="101")
        for tab in tabs[1:]:
            await truth(tab, "live")
            await rows(tab, 4)
            assert await tab.evaluate("livestate.state().divergences") == 0
        assert (await metrics(service))["livestate_sse_subscribers"] == 1.0


async def test_logging_out_leaves_nothing_to_see(world: World, page: Page) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await log_in(page, service)
        await rows(page, 3)
        await page.locator("#logout").click()
        await expect(page.locator("#signed-out")).to_be_visible()
        await rows(page, 0)
        assert await page.evaluate("Object.keys(livestate.calls()).length") == 0


async def test_an_alarm_is_a_word_and_a_title_and_spoken(world: World, page: Page) -> None:
    service = world.service(HEARTBEAT_SECONDS="1")
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        for number in range(20):
            await node.call(f"{number}.1", "ringing", company_id="101")
            await node.say("failed", f"{number}.1", company_id="101", outcome="congestion")
        await log_in(page, service)
        tile = page.locator('.tile[data-kpi="asr"]')
        await expect(tile).to_have_attribute("data-level", "alarm")
        await expect(tile.locator("small")).to_have_text("⛔ alarm < 25 %")
        await expect(page).to_have_title("(2!) Live calls")
        await expect(page.locator("#announce")).to_contain_text("ASR 0 %")
        await expect(page.locator("#icon")).to_have_attribute("href", "/static/icon-alarm.svg")


async def test_nothing_on_the_page_shuts_anybody_out(world: World, page: Page) -> None:
    """WCAG, as far as axe-core can tell, in both themes and with everything open."""
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await some_calls(node)
        await node.call("5.5")
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            await log_in(page, service)
            await rows(page, 4)
            await truth(page, "live")
            await page.locator(".call").first.click()
            await page.locator("#drawer li").first.wait_for()
            found = await axe(page)
            assert found == [], scheme
            await page.keyboard.press("Escape")


async def axe(page: Page) -> list[str]:
    """What axe-core objects to. The debugger brings it in: our policy forbids the page an eval."""
    devtools = await page.context.new_cdp_session(page)
    source = AXE.read_text()
    await devtools.send("Runtime.evaluate", {"expression": source})
    told = await page.evaluate("axe.run(document)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in told["violations"]]


async def test_a_kill_behind_caddy_is_survived(world: World, page: Page) -> None:
    service: Instance = world.service()
    async with (
        service,
        await Node.connect(world.nats.url) as node,
        Caddy(service.port) as caddy,
    ):
        await service.until_ready()
        await some_calls(node)
        await page.goto(f"{caddy.url}/login#{service.token()}")
        await page.wait_for_url("**/live-calls")
        await truth(page, "live")
        await rows(page, 3)
        await service.kill()
        await truth(page, "disconnected", 12)
        await service.start()
        await truth(page, "live", 15)
        await node.call("7.7", company_id="101")
        await rows(page, 4)
        await caddy.kill()  # on SIGTERM it waits for open streams
