"""The charts in a real Chromium: minutes of before the start, their gaps, marks and zone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import nats
import orjson
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from api.cli.child_service import Instance
from livestate.devtools import servers
from livestate.state.kpi.history import MINUTE_MS
from livestate.store.history import HOUR_MINUTES
from livestate.store.keys import UNPREFIXED
from tests.harness import now_ms
from tests.page.test_tabs import axe
from tests.pages import Desk, a_module, browser, in_one_loop, log_in, page, until

__all__ = ["browser", "page"]
pytestmark = in_one_loop
WAIT = 20_000  # ms


async def fill(url: str) -> None:
    """Ten hours of a service that was here before; 20 minutes were stale, half an hour ago."""
    this = now_ms() // MINUTE_MS
    async with Redis.from_url(url) as client:
        for minute in range(this - 600, this - 5):
            if this - 50 <= minute < this - 30:
                continue
            counts = {"": [40, 20, 10, 18], "101": [7, 4, 2, 3]}
            key = f"{UNPREFIXED.history}{minute // HOUR_MINUTES}"
            await client.hset(key, str(minute), orjson.dumps(counts))
        marks = [["stale", (this - 50) * MINUTE_MS, (this - 30) * MINUTE_MS]]
        await client.hset(f"{UNPREFIXED.history}marks", "marks", orjson.dumps(marks))


@a_module
async def desk(tmp_path_factory: object) -> AsyncIterator[Desk]:
    async with servers.NatsServer() as queue, servers.Valkey() as store:
        await fill(store.url)
        addresses = {"NATS_URL": queue.url, "REDIS_URL": store.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1"}  # fmt: skip
        home = tmp_path_factory.mktemp("keys")  # type: ignore[attr-defined]
        async with Instance(home, addresses) as service:
            await service.until_ready()
            desk = Desk(service, await nats.connect(queue.url))
            desk.node()
            yield desk
            await desk.close()


async def test_charts_show_what_was_before_a_restart_with_gaps_and_marks(
    desk: Desk, page: Page
) -> None:
    await log_in(page, desk.service)
    await page.get_by_role("tab", name="Charts").click()
    live = page.get_by_role("img", name="Live calls: last 40, highest 40, lowest 40.")
    await expect(live).to_be_visible(timeout=WAIT)
    await expect(page.locator("#panel canvas")).to_have_count(3)
    quality = page.get_by_role("img", name=re.compile("NER: last 90 %.*ASR: last 50 %"))
    await expect(quality).to_be_visible()
    marks = page.locator("#panel .marks li")
    await expect(marks).to_have_text([re.compile("The service restarted: "),
                                      re.compile("Data was stale: .* to ")])  # fmt: skip
    drawn = "[...document.querySelectorAll('#panel canvas')].every((one) => one.getContext('2d')" \
            ".getImageData(0, 0, one.width, one.height).data.some((byte) => byte > 0))"  # fmt: skip
    await until(page, drawn)
    found = await axe(page)
    assert found == [], "\n".join(found)


async def test_a_day_has_an_address_and_times_follow_the_zone(desk: Desk, page: Page) -> None:
    await log_in(page, desk.service, "user", company_id="101")
    await page.goto(f"{desk.service.url}/live-calls?panel=charts&window=day")
    day = page.get_by_role("button", name="24 hours")
    await expect(day).to_have_attribute("aria-pressed", "true", timeout=WAIT)
    await expect(page.get_by_role("img", name="Live calls: last 7")).to_be_visible(timeout=WAIT)
    assert page.url.endswith("?panel=charts&window=day")
    await page.evaluate("document.getElementById('set-utc').click()")
    await expect(page.locator("#panel .marks li").first).to_contain_text("UTC", timeout=WAIT)
    await page.get_by_role("button", name="Last hour").click()
    await expect(page.locator("#panel-about")).to_contain_text("1:00:00", timeout=WAIT)
    assert page.url.endswith("?panel=charts")
    await expect(page.locator("#panel canvas")).to_have_count(3, timeout=WAIT)


async def test_a_chart_keeps_its_size_of_memory(desk: Desk, page: Page) -> None:
    """Each drawing takes the place of the one before: no canvas and no element stays behind."""
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel=charts")
    await expect(page.locator("#panel canvas")).to_have_count(3, timeout=WAIT)
    count = "document.querySelectorAll('#panel *').length"
    before = await page.evaluate(count)
    for _ in range(3):
        for name in ("24 hours", "Last hour"):
            await page.get_by_role("button", name=name).click()
            await expect(page.locator("#panel canvas")).to_have_count(3, timeout=WAIT)
    await until(page, f"{count} === {before}")
