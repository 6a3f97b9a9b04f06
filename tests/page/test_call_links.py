"""A call has an address: it opens the call while it is up, and after its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import nats
import pytest
from playwright.async_api import Page, expect

from api.cli.child_service import Instance
from livestate.devtools import servers
from tests.harness import Node, now_ms
from tests.pages import (
    Desk,
    a_module,
    a_test,
    browser,
    in_one_loop,
    log_in,
    page,
    rows,
    truth,
)

__all__ = ["browser", "page"]
pytestmark = in_one_loop
CDR_URL = "https://cdr.example/?id={call_id}&from={begin}&to={end}"


@a_module
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with servers.NatsServer() as queue, servers.Valkey() as store:
        addresses = {"NATS_URL": queue.url, "REDIS_URL": store.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1", "CDR_URL": CDR_URL}  # fmt: skip
        async with Instance(tmp_path_factory.mktemp("keys"), addresses) as service:
            await service.until_ready()
            client = await nats.connect(queue.url)
            desk = Desk(service, client)
            yield desk
            await desk.close()


@a_test
async def desk(office: Desk) -> AsyncIterator[Desk]:
    yield office
    await office.clear()


@a_test
async def node(desk: Desk) -> Node:
    return desk.node()


async def test_a_link_opens_the_call_while_it_is_up_and_after_its_end(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", "ringing", company_id="101", from_="+39 02 111", trunk="gw-a")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await log_in(page, desk.service)
    await page.locator(".call").locator(".state").click()
    drawer = page.locator("#drawer")
    state = drawer.locator('[data-part="state"]')
    await expect(drawer.locator("li .phase").nth(1)).to_have_text("ringing")
    await drawer.locator('[data-part="copy-link"]').click()
    await expect(drawer.locator('[data-part="copied"]')).to_have_text("Copied")
    link = await page.evaluate("navigator.clipboard.readText()")
    assert parse_qs(urlsplit(link).query).keys() == {"call", "call_id", "since"}
    assert page.url == link
    await page.goto(f"{link}&trunk=another")  # a filter that leaves the call out of the stream
    await expect(state).to_have_text("ringing")
    await node.say("failed", "1.1", outcome="busy", sip_code=486, ended_at=now_ms())
    await expect(state).to_have_text("ended: busy")
    await page.goto(link)
    await expect(state).to_have_text("ended: busy")
    await expect(drawer.locator("li .phase").last).to_have_text("failed")
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    assert page.url == f"{desk.service.url}/live-calls"


async def test_a_link_to_a_forgotten_call_says_since_when_and_leads_to_its_cdr(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1")
    await log_in(page, desk.service)
    since = now_ms() - 7_200_000
    known = {"call": "A" * 16, "call_id": "a&b@host", "since": since}
    await page.goto(f"{desk.service.url}/live-calls?{urlencode(known)}")
    drawer = page.locator("#drawer")
    await expect(drawer.locator('[data-part="title"]')).to_have_text("This call is not known")
    await expect(drawer.locator('[data-part="state"]')).to_contain_text("kept for 05:00")
    await expect(drawer.locator('[data-part="state"]')).to_contain_text("which was set up at ")
    await expect(drawer.locator('[data-part="call-id"]')).to_have_text("a&b@host")
    cdr = await drawer.locator('[data-part="cdr-link"]').get_attribute("href")
    found = parse_qs(urlsplit(cdr or "").query)
    assert (found["id"], found["from"]) == (["a&b@host"], [str(since - 60_000)])
    assert int(found["to"][0]) > since
    for wrong in ("?call=A", "?call=A&call_id=x&since=yesterday", "?call=A&since=1"):
        await page.goto(f"{desk.service.url}/live-calls{wrong}")
        await expect(drawer.locator('[data-part="state"]')).to_contain_text("does not know")
        await expect(drawer.locator('[data-part="cdr-link"]')).to_be_hidden()
    await page.goto(f"{desk.service.url}/live-calls?call=%3Cb%3E")  # no key
    await rows(page, 1)
    await expect(drawer).to_be_hidden()


async def test_a_link_leads_a_user_to_the_own_calls_only(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="102", from_="theirs", call_id="secret-id")
    await log_in(page, desk.service)
    await rows(page, 1)
    await page.locator(".call").locator(".state").click()
    await expect(page.locator('#drawer [data-part="call-id"]')).to_have_text("secret-id")
    key = await page.locator(".call").get_attribute("data-key")
    await page.locator("#logout").click()
    await truth(page, "signed out")
    assert urlsplit(page.url).query == ""
    await log_in(page, desk.service, "user", company_id="101")
    await page.goto(f"{desk.service.url}/live-calls?call={key}&call_id=x&since=1")
    state = page.locator('#drawer [data-part="state"]')
    await expect(state).to_contain_text("or belongs to another company")
    await expect(page.locator('#drawer [data-part="cdr-link"]')).to_be_hidden()
    assert "theirs" not in await page.content()
