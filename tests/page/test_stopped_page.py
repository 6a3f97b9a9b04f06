"""A page whose computer slept, or whose tab is frozen, hidden or logged out, in a real Chromium."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.harness import Node, now_ms
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


async def test_a_laptop_that_slept_or_was_set_to_another_time_comes_back_right(
    desk: Desk, node: Node, page: Page
) -> None:
    """The computer's clock jumps, while the time that scripts see pass does not: so it looks when
    a laptop has slept, and when its clock was set. Ages are the server's in any case."""
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
    """A browser freezes hidden tabs. Headless, no tab is hidden: a script event says so."""
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


@pytest.mark.slow
async def test_a_hidden_tab_without_a_stream_shows_no_live_state(
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
