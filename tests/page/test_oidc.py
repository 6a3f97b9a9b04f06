"""A login at an identity provider, in a real Chromium that keeps cookies as browsers do."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.conftest import World
from tests.harness import Node
from tests.oidc import MockProvider
from tests.pages import browser, in_one_loop, rows

__all__ = ["browser"]
pytestmark = in_one_loop


async def test_a_browser_logs_in_and_comes_back_to_its_view(
    browser: Browser, tmp_path: Path
) -> None:
    """The provider is another site, so a Strict cookie alone would not come back from it."""
    page = await (await browser.new_context()).new_page()
    await page.route("https://**", lambda route: route.abort())  # the mock's page wants a style
    world = World(tmp_path / "keys")
    async with MockProvider() as provider, world.nats, world.redis:
        await provider.user("ann", role="noc")
        service = world.service()
        for name, value in provider.settings(service.url).items():
            service.environment[f"LIVESTATE_{name}"] = value
        async with service, await Node.connect(world.nats.url) as node:
            await service.until_ready()
            await node.call("1.1", trunk="gw-a")
            await node.call("2.2", trunk="gw-b")
            view = f"{service.url}/live-calls?trunk=gw-b"
            await page.goto(view)
            await page.locator("#signed-out-login").click()
            await page.locator("[name=sub]").first.fill("ann")
            await page.locator("[name=sub]").first.press("Enter")
            await page.wait_for_url(view)
            await rows(page, 1)
            await expect(page.locator("#who")).to_have_text("noc")
            await page.reload()
            await rows(page, 1)
            await page.locator("#logout").click()
            await page.wait_for_url(re.compile(f"^{re.escape(provider.url)}/oauth2/end_session"))
            await page.goto(view)
            await expect(page.locator("#signed-out")).to_be_visible()
