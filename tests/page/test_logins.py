"""Logins by a link replace the login before, and leave nothing of it. In a real
Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.harness import Node
from tests.pages import (
    FLAGS,
    Desk,
    a_test,
    browser,
    desk,
    in_one_loop,
    log_in,
    node,
    office,
    page,
    rows,
    truth,
)

__all__ = ["FLAGS", "browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop


class Site:
    """Another site: whatever it is asked for, it answers with its one page."""

    def __init__(self) -> None:
        self.html = ""
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = self.html.encode()
        head = [b"HTTP/1.1 200 OK", b"Content-Type: text/html", b"Referrer-Policy: no-referrer",
                b"Connection: close", b"Content-Length: %d" % len(body), b"", body]  # fmt: skip
        writer.write(b"\r\n".join(head))
        await writer.drain()
        writer.close()


@a_test
async def site() -> AsyncIterator[Site]:
    site = Site()
    async with await asyncio.start_server(site.answer, "127.0.0.1", 0) as server:
        site.port = server.sockets[0].getsockname()[1]
        yield site


async def who(page: Page, service: Any) -> dict[str, Any] | None:
    """The session of the browser's cookie, or None."""
    result: dict[str, Any] = await page.evaluate(
        "fetch('/api/v1/session').then(async a => ({ ok: a.ok, said: await a.json() }))"
    )
    return result["said"] if result["ok"] else None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])  # another site; the same one
@pytest.mark.parametrize("logged_in", [True, False])
@pytest.mark.parametrize("way", ["click", "redirect"])
async def test_a_link_of_another_site_only_asks(
    desk: Desk, node: Node, browser: Browser, site: Site, host: str, logged_in: bool, way: str
) -> None:
    service = desk.service
    await node.call("1.1", company_id="101")
    context = await browser.new_context()
    page = await context.new_page()
    if logged_in:
        await log_in(page, service, subject="colleague")
        await rows(page, 1)
    theirs = service.token("user", company_id="66\u202e6", subject="eve")
    link = f"{service.url}/login#{theirs}"
    site.html = (f"<a href='{link}'>look</a>" if way == "click"
                 else f"<script>location.replace('{link}')</script>")  # fmt: skip
    other = await context.new_page()
    await other.goto(f"http://{host}:{site.port}/")
    if way == "click":
        await other.locator("a").click()
    await expect(other.locator("#confirm")).to_have_text("Log in as eve (company 66⟨U+202E⟩6)?")
    assert theirs not in other.url
    if logged_in:
        await expect(other.locator("#current")).to_contain_text("colleague (noc, all calls)")
        assert (await who(other, service) or {})["subject"] == "colleague"
        await other.locator("#decline").click()
        await other.wait_for_url("**/live-calls")
        await rows(other, 1)
        await rows(page, 1)
    else:
        assert await who(other, service) is None
        await other.locator("#confirm").click()
        await other.wait_for_url("**/live-calls")
        await expect(other.locator("#who")).to_have_text("company 66⟨U+202E⟩6")
    await context.close()


async def test_another_identity_takes_a_click_and_the_same_one_does_not(
    desk: Desk, node: Node, page: Page
) -> None:
    service = desk.service
    await node.call("1.1", company_id="101")
    await log_in(page, service, subject="ann")
    await rows(page, 1)
    for role, changes in (("noc", {"subject": "bob"}), ("admin", {"subject": "ann"}),
                          ("user", {"subject": "ann", "company_id": "101"})):  # fmt: skip
        await page.goto("about:blank")
        await page.goto(f"{service.url}/login#{service.token(role, **changes)}")
        await expect(page.locator("#confirm")).to_contain_text(f"Log in as {changes['subject']}")
        assert (await who(page, service) or {})["role"] == "noc"
    await page.goto("about:blank")
    await page.goto(f"{service.url}/login#{service.token(subject='ann')}")  # renewed
    await page.wait_for_url("**/live-calls")
    await page.goto(f"{service.url}/login#not.a.token")
    await expect(page.locator("#message")).not_to_be_empty()
    assert (await who(page, service) or {})["subject"] == "ann"


SECRET = "acme7431"


async def look_closely(page: Page, node: Node) -> None:
    """Everything that a page may keep: a filter, a search, a chosen row, a drawer opened and
    closed, a still picture, an alarm, a selection, a menu."""
    await node.call("1.1", company_id=SECRET, from_=f"from{SECRET}", to=f"to{SECRET}",
                    trunk=f"gw-{SECRET}", call_id=f"{SECRET}@x")  # fmt: skip
    await node.call("2.2", "ringing", company_id=SECRET, from_=f"second{SECRET}",
                    call_id=f"{SECRET}@y")  # fmt: skip
    await truth(page, "live")
    await rows(page, 2)
    await page.locator(".call").first.locator(".state").click()
    await expect(page.locator('#drawer [data-part="call-id"]')).to_contain_text(SECRET)
    await page.locator('#drawer [data-part="title"]').evaluate(
        "one => getSelection().selectAllChildren(one)"
    )
    await page.keyboard.press("Escape")
    await page.get_by_label("Filter by trunk").select_option(f"gw-{SECRET}")
    await page.locator("#filter").fill(SECRET)
    await rows(page, 1)
    await page.keyboard.press("Escape")
    await page.keyboard.press("p")
    assert SECRET in page.url


LEFT = f"""() => {{
    const found = [];
    const look = (where, text) => {{ if (String(text).includes("{SECRET}")) found.push(where); }};
    look("document", document.documentElement.outerHTML);
    look("title", document.title);
    look("address", location.href);
    look("selection", getSelection());
    look("calls", JSON.stringify(livestate.calls()));
    look("figures", JSON.stringify(livestate.figures()));
    look("storage", JSON.stringify([{{ ...localStorage }}, {{ ...sessionStorage }}]));
    look("history", JSON.stringify(history.state));
    const fields = document.querySelectorAll("input, select, textarea");
    for (const field of fields) look("field", field.value);
    return found;
}}"""


async def nothing_is_left(page: Page) -> None:
    async with asyncio.timeout(8):
        while await page.evaluate(LEFT) != []:
            await asyncio.sleep(0.1)
    assert await page.evaluate(LEFT) == []


async def test_after_another_login_nothing_of_the_one_before_is_left(
    desk: Desk, node: Node, page: Page
) -> None:
    await log_in(page, desk.service, "noc", subject="ann")
    await look_closely(page, node)
    assert len(await page.evaluate(LEFT)) >= 4
    other = await page.context.new_page()
    await log_in(other, desk.service, "user", company_id="202", subject="eve")
    await expect(page.locator("#who")).to_have_text("company 202")
    await nothing_is_left(page)
    await rows(page, 0)


async def test_another_login_is_noticed_without_other_tabs(
    desk: Desk, node: Node, page: Page
) -> None:
    """No message comes: it was made by a program, or while this tab was frozen."""
    await log_in(page, desk.service, "noc", subject="ann")
    await look_closely(page, node)
    token = desk.service.token("user", company_id="202", subject="eve")
    await page.evaluate(
        """token => fetch("/api/v1/session", { method: "POST",
        headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) })""",
        token,
    )
    await page.context.set_offline(True)
    await asyncio.sleep(0.2)
    await page.context.set_offline(False)
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await expect(page.locator("#who")).to_have_text("company 202")
    await nothing_is_left(page)


async def test_after_a_logout_nothing_is_left_in_any_tab(
    desk: Desk, node: Node, page: Page
) -> None:
    await log_in(page, desk.service, "noc", subject="ann")
    await look_closely(page, node)
    other = await page.context.new_page()
    await other.goto(f"{desk.service.url}/live-calls")
    await rows(other, 2)
    cookie = next(one for one in await page.context.cookies() if "livestate" in one["name"])
    await other.locator("#logout").click()
    for tab in (page, other):
        await expect(tab.locator("#signed-out")).to_be_visible()
        await nothing_is_left(tab)
    async with httpx.AsyncClient(base_url=desk.service.url) as client:
        copy = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        assert (await client.get("/api/v1/session", headers=copy)).status_code == 401


async def test_a_logout_that_the_service_did_not_hear_says_so(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1")
    await log_in(page, desk.service)
    await rows(page, 1)

    async def bad_gateway(route: Route) -> None:
        if route.request.method == "DELETE":
            await route.fulfill(status=502, body="<h1>502</h1>", content_type="text/html")
        else:
            await route.continue_()

    for how in (bad_gateway, lambda route: route.abort()):
        await page.route("**/api/v1/session", how)
        await page.locator("#logout").click()
        await expect(page.locator("#logout-failed")).to_have_text(
            "You are still logged in: the service cannot be reached. Try again."
        )
        await page.unroute("**/api/v1/session")
        await rows(page, 1)
    await page.locator("#logout").click()
    await expect(page.locator("#signed-out")).to_be_visible()
    await expect(page.locator("#logout-failed")).to_be_empty()


async def test_a_login_that_is_renewed_keeps_its_filters(
    desk: Desk, node: Node, page: Page
) -> None:
    await node.call("1.1", company_id="101", trunk="gw-a")
    await node.call("2.2", company_id="101", trunk="gw-b")
    await log_in(page, desk.service, subject="ann")
    await page.get_by_label("Filter by trunk").select_option("gw-b")
    await rows(page, 1)
    other = await page.context.new_page()
    await log_in(other, desk.service, subject="ann")
    await rows(other, 2)
    await rows(page, 1)
    assert page.url.endswith("?trunk=gw-b")
