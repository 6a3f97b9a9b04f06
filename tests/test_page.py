"""Whether the page can be believed: in a real Chromium, on real servers, killed under it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import Page, Route, expect

from tests.conftest import World
from tests.faults.caddy import Caddy
from tests.harness import Node, now_ms, snapshot
from tests.pages import (
    FLAGS,
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
    truth,
    until,
    world,
)

__all__ = ["FLAGS", "browser", "desk", "node", "office", "page", "world"]
pytestmark = in_one_loop

SET_THE_CLOCK = """
    const now = Date.now;
    let ahead = 0;
    Date.now = () => now() + ahead;
    window.setTheClock = (ms) => { ahead += ms; };
"""
UNSEEN_AND_DEAF = """
    const every = setInterval;
    window.setInterval = (act, ms) => every(act, 120 * ms);
    window.deaf = false;
    window.EventSource = class extends EventSource {
      addEventListener(name, hear) {
        super.addEventListener(name, (event) => { if (!deaf) hear(event); });
      }
    };
"""


async def test_a_call_appears_rings_is_answered_held_and_ends(
    desk: Desk, node: Node, page: Page
) -> None:
    service = desk.service
    await log_in(page, service)
    await truth(page, "live")
    await rows(page, 0)
    for phase, shown in (("setup", "trying"), ("ringing", "ringing"),
                         ("answered", "answered"), ("hold", "on hold"),
                         ("resume", "answered")):  # fmt: skip
        await node.say(phase, "1.1", company_id="101", from_="0039021", to="112",
                       trunk="gw-a", direction="outbound", setup_at=node.epoch)  # fmt: skip
        await expect(page.locator(".call .state")).to_contain_text(shown)
    row = page.locator(".call")
    for name, text in (("from", "0039021"), ("to", "112"), ("company", "101"),
                       ("trunk", "gw-a"), ("direction", "out"), ("age", "00:0")):  # fmt: skip
        await expect(row.locator(f".{name}")).to_contain_text(text)
    await expect(page.locator("#total")).to_have_text("1")
    await expect(page.locator("#count-answered")).to_have_text("1")
    await expect(page.locator("#heard")).to_have_text(re.compile(r"data 00:0\d old"))
    await agrees(page, service, service.token())
    await node.say("ended", "1.1", outcome="answered", company_id="101")
    await expect(page.locator('.call[data-state="over"] .state')).to_contain_text("answered")
    await expect(page.locator(".call")).to_have_count(0)
    await expect(page.locator("#total")).to_have_text("0")


async def test_a_killed_service_comes_back_and_nobody_touches_the_page(
    world: World, page: Page
) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        for number in range(5):
            await node.call(f"{number}.{number}")
        await log_in(page, service)
        await truth(page, "live")
        await rows(page, 5)
        await service.kill()
        await truth(page, "disconnected", 5)
        await expect(page.locator("#rows")).to_have_css("opacity", "0.4")
        async with page.expect_event("requestfailed"):
            pass  # it has tried, and nobody was there
        await service.start()
        await truth(page, "live", 10)
        await node.call("9.1")
        await rows(page, 6)
        await agrees(page, service, service.token())


async def test_a_kill_behind_caddy_is_survived(world: World, page: Page) -> None:
    service = world.service()
    async with (
        service,
        await Node.connect(world.nats.url) as node,
        Caddy(service.port) as caddy,
    ):
        await service.until_ready()
        await node.call("1.1", company_id="101")
        await page.goto(f"{caddy.url}/login#{service.token()}")
        await page.wait_for_url("**/live-calls")
        await truth(page, "live")
        await rows(page, 1)
        await service.kill()
        await truth(page, "disconnected", 12)
        await service.start()
        await truth(page, "live", 15)
        await node.call("7.7", company_id="101")
        await rows(page, 2)
        await caddy.kill()  # on SIGTERM it waits for open streams


async def test_a_502_a_204_and_a_page_of_html_do_not_kill_the_page(
    world: World, page: Page
) -> None:
    service = world.service()
    answers: list[dict[str, Any]] = [
        {"status": 502, "body": "Bad Gateway"},
        {"status": 204},
        {"status": 200, "content_type": "text/html", "body": "<p>wait</p>"},
    ]
    given = 0

    async def instead(route: Route) -> None:
        nonlocal given
        given += 1
        await route.fulfill(**answers[given % len(answers)])

    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        await page.route("**/api/v1/live/calls*", instead)
        await service.kill()
        await service.start()
        async with asyncio.timeout(20):
            while given < len(answers):  # it asks on, whatever it is told
                await asyncio.sleep(0.05)
        await truth(page, "disconnected", 5)
        await page.unroute("**/api/v1/live/calls*")
        await truth(page, "live", 10)
        await agrees(page, service, service.token())
        await rows(page, 1)


async def test_a_page_that_holds_something_wrong_notices_and_asks_anew(
    desk: Desk, node: Node, page: Page
) -> None:
    """Frames are lost on the way to the page: the digest of the next heartbeat tells."""
    await node.call("1.1")
    # A browser that swallows the first diff: nothing else on the way can lose one.
    await page.add_init_script("""
        const listen = EventSource.prototype.addEventListener;
        let swallow = 1;
        EventSource.prototype.addEventListener = function (name, heard) {
          return listen.call(this, name, (event) => {
            if (name === "diff" && swallow-- > 0) return;
            heard(event);
          });
        };
    """)
    await log_in(page, desk.service)
    await truth(page, "live")
    await rows(page, 1)
    await page.evaluate("""() => {
        window.words = [];
        const bar = document.getElementById("truth-word");
        new MutationObserver(() => words.push(bar.textContent)).observe(bar, { childList: true });
    }""")
    await node.say("hold", "1.1")
    await until(page, "words.at(-1) === 'live'")
    await expect(page.locator("#count-held")).to_have_text("1")
    assert (await page.evaluate("words"))[0] == "catching up"
    assert (await page.evaluate("livestate.state()"))["divergences"] == 1
    told = await snapshot(desk.service, desk.service.token())
    assert await page.evaluate("livestate.calls()") == told["calls"]


async def test_a_silent_source_greys_the_page(world: World, page: Page) -> None:
    service = world.service(NODE_STALE_SECONDS="2")
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        await world.nats.kill()
        await truth(page, "stale", 10)
        await expect(page.locator("#rows")).to_have_css("opacity", "0.4")
        said = page.locator("#truth-text")
        await expect(said).to_contain_text(re.compile(r"as they were at .* \d\d:\d\d ago"))
        await expect(said).to_contain_text("live again when the nodes are heard")
        await expect(page).to_have_title("stale · Live calls")
        await world.nats.start()
        await truth(page, "live", 10)
        await rows(page, 1)


async def test_a_half_open_connection_is_noticed(world: World, page: Page) -> None:
    service = world.service(HEARTBEAT_SECONDS="1")
    async with service, await Node.connect(world.nats.url):
        await log_in(page, service)
        await truth(page, "live")
        service.pause()
        await truth(page, "disconnected", 10)  # promise S: blind is seen within 10 s
        await expect(page.locator("#truth-text")).to_contain_text("ago")
        service.resume()
        await truth(page, "live", 10)


async def test_a_laptop_that_slept_or_was_set_to_another_time_comes_back_right(
    desk: Desk, node: Node, page: Page
) -> None:
    """The computer's clock jumps, while the time that scripts see pass does not: so it looks when
    a laptop has slept, and when somebody has set it. Ages are the server's in any case."""
    await page.add_init_script(SET_THE_CLOCK)
    await node.say("setup", "1.1", setup_at=now_ms() - 90_000)
    await log_in(page, desk.service)
    await truth(page, "live")
    age = page.locator(".call .age")
    await expect(age).to_have_text(re.compile(r"01:[345]\d"))
    await page.evaluate("setTheClock(3_600_000)")
    await until(page, "livestate.state().reconnects === 1")  # nothing heard for an hour
    await truth(page, "live")
    await expect(age).to_have_text(re.compile(r"0[12]:\d\d"))
    await page.evaluate("setTheClock(-7_200_000)")
    await node.call("2.2")
    await rows(page, 2)
    await truth(page, "live")
    await expect(age.last).to_have_text(re.compile(r"0[12]:\d\d"))
    assert (await page.evaluate("livestate.state()"))["reconnects"] == 1
    await agrees(page, desk.service, desk.service.token())


async def test_a_tab_that_is_frozen_hands_on_the_lead_and_comes_back(
    desk: Desk, node: Node, page: Page
) -> None:
    """A browser freezes tabs that nobody sees. Headless, all are seen: this one is told so."""
    await node.call("1.1")
    await log_in(page, desk.service)
    await truth(page, "live")
    other = await page.context.new_page()
    await other.goto(f"{desk.service.url}/live-calls")
    await truth(other, "live")
    await page.evaluate("document.dispatchEvent(new Event('freeze'))")
    await until(other, "livestate.state().tab === 'leads'")
    await node.call("2.2")
    for tab in (other, page):
        await truth(tab, "live")
        await rows(tab, 2)
        await agrees(tab, desk.service, desk.service.token())
    assert await page.evaluate("livestate.state().tab") == "follows"


async def test_a_tab_that_nobody_sees_and_nobody_talks_to_vouches_for_nothing(
    desk: Desk, node: Node, page: Page
) -> None:
    """Its timers are slowed to one a minute, its stream is half-open: it leads, and does not know
    yet that what it holds is old. Another tab must not take that for live."""
    await page.add_init_script(SET_THE_CLOCK + UNSEEN_AND_DEAF)
    await node.call("1.1")
    await log_in(page, desk.service)
    await truth(page, "live")
    await page.evaluate("deaf = true")
    await node.say("ended", "1.1", outcome="answered")
    for number in range(2, 5):
        await node.call(f"{number}.{number}")
    await page.evaluate("setTheClock(60_000)")
    other = await page.context.new_page()
    await other.goto(f"{desk.service.url}/live-calls")
    await truth(other, "live", 20)
    await agrees(other, desk.service, desk.service.token())
    await rows(other, 3)


async def test_a_tab_whose_scripts_stood_still_is_right_when_they_run_again(
    desk: Desk, node: Node, page: Page
) -> None:
    """The browser itself stops them: no timer fires and no event is delivered meanwhile."""
    await node.call("1.1")
    await log_in(page, desk.service)
    await truth(page, "live")
    await page.evaluate("ticks = 0; void setInterval(() => { ticks += 1; }, 20)")
    browser = await page.context.new_cdp_session(page)
    await browser.send("Debugger.enable")
    await browser.send("Debugger.pause")  # at the next statement
    await node.say("ended", "1.1", outcome="answered")
    for number in range(2, 14):
        await node.call(f"{number}.{number}", "ringing")
    await asyncio.sleep(2)
    await browser.send("Debugger.resume")
    await browser.send("Debugger.disable")
    assert await page.evaluate("ticks") < 50, "they ran on"
    await truth(page, "live", 15)
    await rows(page, 12)
    await agrees(page, desk.service, desk.service.token())


async def test_an_expired_login_says_so_and_a_new_one_brings_the_page_back(
    desk: Desk, page: Page
) -> None:
    await log_in(page, desk.service, seconds=4)
    await truth(page, "live")
    await truth(page, "signed out", 10)
    await expect(page.locator("#login")).to_be_visible()
    other = await page.context.new_page()
    await log_in(other, desk.service)
    await truth(page, "live", 15)
