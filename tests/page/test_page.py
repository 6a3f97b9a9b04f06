"""Whether the page can be believed: in a real Chromium, on real servers, killed under it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.conftest import World
from tests.faults.caddy import Caddy
from tests.harness import Node, now_ms, snapshot
from tests.page.test_tabs import axe
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
    await expect(page.locator("#data-age")).to_have_text(re.compile(r"updated (just now|\d s ago)"))
    await agrees(page, service, service.token())
    await node.say("ended", "1.1", outcome="answered", company_id="101")
    await expect(page.locator('.call[data-state="ended"] .state')).to_have_text("ended")
    await expect(page.locator(".call")).to_have_count(0)
    await expect(page.locator("#total")).to_have_text("0")


async def test_the_page_recovers_from_a_killed_service_by_itself(world: World, page: Page) -> None:
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
        await expect(page.locator("#rows")).to_have_css("opacity", "0.66")
        async with page.expect_event("requestfailed"):
            pass  # it has tried without an answer
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
            while given < len(answers):  # it keeps asking, whatever the answer
                await asyncio.sleep(0.05)
        await truth(page, "disconnected", 5)
        await page.unroute("**/api/v1/live/calls*")
        await truth(page, "live", 10)
        await agrees(page, service, service.token())
        await rows(page, 1)


async def test_a_diverged_page_asks_for_a_new_snapshot(desk: Desk, node: Node, page: Page) -> None:
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
        const bar = document.getElementById("status-word");
        new MutationObserver(() => words.push(bar.textContent)).observe(bar, { childList: true });
    }""")
    await node.say("hold", "1.1")
    await until(page, "words.at(-1) === 'live'")
    await expect(page.locator("#count-held")).to_have_text("1")
    assert (await page.evaluate("words"))[0] == "catching up"
    assert (await page.evaluate("livestate.state()"))["divergences"] == 1
    current = await snapshot(desk.service, desk.service.token())
    assert await page.evaluate("livestate.calls()") == current["calls"]


async def test_a_silent_source_greys_the_page(world: World, page: Page) -> None:
    service = world.service(NODE_STALE_SECONDS="2")
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        await world.nats.kill()
        await truth(page, "stale", 10)
        await expect(page.locator("#rows")).to_have_css("opacity", "0.66")
        for scheme in ("dark", "light"):  # paler, and still legible
            await page.emulate_media(color_scheme=scheme)
            assert await axe(page) == [], scheme
        status = page.locator("#status-text")
        await expect(status).to_contain_text(re.compile(r"as they were at .* \d\d:\d\d ago"))
        await expect(status).to_contain_text("live again when heartbeats of the nodes arrive")
        await expect(page).to_have_title("stale · Live calls")
        await world.nats.start()
        await truth(page, "live", 10)
        await rows(page, 1)


@pytest.mark.slow
async def test_the_page_says_that_a_nodes_lists_cannot_be_read(world: World, page: Page) -> None:
    bad = {"call_id": "c", "dialog": "9.1", "state": "answered"}
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        for _ in range(10):
            await node.list(*[bad] * 201)  # a part has 200 calls at most
            await asyncio.sleep(0.8)
        await truth(page, "stale", 20)
        status = page.locator("#status-text")
        await expect(status).to_contain_text("cannot read the list of calls of a SIP node.")
        await expect(status).to_contain_text("/statusz")
        await rows(page, 1)  # no call ends by it
        await node.list({"call_id": f"1.1@{node.name}", "dialog": "1.1", "state": "answered"})
        await truth(page, "live", 10)


@pytest.mark.slow
async def test_the_page_names_a_wrong_clock_and_two_nodes_with_one_name(
    world: World, page: Page
) -> None:
    service = world.service()
    async with (
        service,
        await Node.connect(world.nats.url, "sbc1.example.com") as node,
        await Node.connect(world.nats.url, "sbc1.example.com") as twin,
    ):
        twin.silence()
        await node.call("1.1")
        await log_in(page, service)
        await truth(page, "live")
        envelope = node.envelope
        node.envelope = lambda: envelope() | {"ts": now_ms() + 3_600_000}  # type: ignore[method-assign]
        status = page.locator("#status-text")
        await expect(status).to_contain_text(
            re.compile(r"The clock of sbc1\.example\.com is (1:00:00|59:59) ahead"), timeout=10_000
        )
        await truth(page, "live")
        twin.epoch = node.epoch + 60_000
        twin._silent = False
        twin._beating = asyncio.create_task(twin._beat())
        await truth(page, "stale", 10)
        await expect(status).to_contain_text("Two SIP nodes have the same name. (sbc1.example.com)")
        await expect(status).to_contain_text("LIVESTATE_NODE")
        await rows(page, 1)


@pytest.mark.slow
async def test_a_half_open_connection_is_noticed(world: World, page: Page) -> None:
    service = world.service(HEARTBEAT_SECONDS="1")
    async with service, await Node.connect(world.nats.url):
        await log_in(page, service)
        await truth(page, "live")
        service.pause()
        await truth(page, "disconnected", 10)  # promise S: blind is seen within 10 s
        await expect(page.locator("#status-text")).to_contain_text("ago")
        service.resume()
        await truth(page, "live", 10)
