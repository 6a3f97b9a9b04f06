"""What stands between the page and the service: named on the page, with the way out."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, Page, Route, async_playwright, expect

from tests.harness import STREAM
from tests.pages import FLAGS, Desk, a_test, browser, desk, in_one_loop, log_in, office, page, truth

__all__ = ["browser", "desk", "office", "page"]
pytestmark = in_one_loop
API = "**/api/v1/**"
HTML, JSON = {"Content-Type": "text/html"}, {"Content-Type": "application/json"}
OWN_PAGE = "A proxy answers with a page of its own instead of the service."
PAGE = "<!doctype html><title>Proxy</title><h1>Log in</h1>"


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason", "reloads"),
    [
        (403, HTML, PAGE, "A proxy answers instead of the service (403).", True),
        (401, HTML, PAGE, "A proxy answers instead of the service (401).", True),
        (401, JSON, "{}", "A proxy answers instead of the service (401).", True),
        (200, HTML, PAGE, OWN_PAGE, True),
        (200, JSON, '{"error":"login"}', OWN_PAGE, True),
        (302, {"Location": "/sso/start"}, "", "A proxy asks for its own login.", True),
        (502, HTML, PAGE, "The proxy does not reach the service (502).", False),
        (504, HTML, PAGE, "The proxy does not reach the service (504).", False),
    ],
)
async def test_only_the_service_signs_out(
    desk: Desk, page: Page, status: int, headers: dict[str, str], body: str, reason: str,
    reloads: bool,
) -> None:  # fmt: skip
    await log_in(page, desk.service)
    desk.node()
    await truth(page, "live")

    async def answer(route: Route) -> None:
        await route.fulfill(status=status, headers=headers, body=body)

    await page.route(API, answer)
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await expect(page.locator("#status-reason")).to_have_text(reason)
    await expect(page.locator("#signed-out")).to_be_hidden()
    await expect(page.locator("#reload")).to_be_visible(visible=reloads)
    await page.unroute(API)
    if reloads:
        await page.locator("#reload").click()
    await truth(page, "live")
    await expect(page.locator("#reload")).to_be_hidden()


@pytest.mark.slow  # a restart takes less than the 10 s after which the page asks
async def test_a_502_is_named_where_the_proxy_answers_the_stream_itself(
    desk: Desk, page: Page
) -> None:
    """As nginx does in docs/proxies.md, because a 502 ends a native EventSource for good."""
    await log_in(page, desk.service)
    desk.node()
    await truth(page, "live")

    async def answer(route: Route) -> None:
        if route.request.url.partition("?")[0].endswith(STREAM):
            goodbye = 'retry: 1500\nevent: goodbye\ndata: {"reason":"drain"}\n\n'
            await route.fulfill(headers={"Content-Type": "text/event-stream"}, body=goodbye)
        else:
            await route.fulfill(status=502, headers=HTML, body=PAGE)

    await page.route(API, answer)
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    reason = page.locator("#status-reason")
    await expect(reason).to_have_text("The proxy does not reach the service (502).", timeout=60_000)
    await page.unroute(API)
    await truth(page, "live")
    await expect(reason).not_to_contain_text("502")


@a_test
async def elsewhere(program, desk: Desk):  # type: ignore[no-untyped-def]
    """A browser for which the service is not on localhost."""
    rules = [*FLAGS, "--host-resolver-rules=MAP noc.lan 127.0.0.1"]
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program("chromium"), args=rules)
        yield await started.new_context()
        await started.close()


async def test_a_login_over_plain_http_says_why_it_fails(
    desk: Desk, elsewhere: BrowserContext
) -> None:
    page = await elsewhere.new_page()
    await page.goto(f"http://noc.lan:{desk.service.port}/login")
    await expect(page.locator(".plain-http")).to_contain_text("HTTPS or on localhost")
    await page.locator("#token").fill(desk.service.token())
    await page.locator("#form button").click()
    await truth(page, "signed out")
    await expect(page.locator("#signed-out .plain-http")).to_contain_text("plain HTTP")
    own = await elsewhere.new_page()
    await own.goto(f"{desk.service.url}/login")
    await expect(own.locator("#form")).to_be_visible()
    await expect(own.locator(".plain-http")).to_be_hidden()
