"""``make screenshots``: the page as people see it, in a real Chromium, with simulated calls.

Light, dark, wall, narrow, one call, and what is shown when there is nothing, when the source is
silent, when the service is gone. For a person to look at; ``--readme`` copies the best of them.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path

import click
from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from api.cli.child_service import Instance
from bench.page import FLAGS
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer, any_redis
from livestate.devtools.simulator import Network, Traffic
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait

DESK: ViewportSize = {"width": 1600, "height": 900}
WALL: ViewportSize = {"width": 1920, "height": 1080}
TELEPHONE: ViewportSize = {"width": 390, "height": 844}
README = {
    "light": "live-calls",
    "call": "live-calls-one-call",
    "wall": "live-calls-wall",
    "stale": "live-calls-stale",
}
COLOURS = 96  # enough for what is text on plain ground, and a third of the bytes
BUSY = Traffic(cps=6, seed=11, nodes=3, companies=9, talk_seconds=40, ring_seconds=7)


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path(".livestate/screenshots"),
    show_default=True,
    help="A directory.",
)
@click.option(
    "--seconds",
    type=float,
    default=75.0,
    show_default=True,
    help="Of calls before the first picture: figures need some.",
)
@click.option("--readme", is_flag=True, help="Copy the README's pictures into docs/.")
def screenshots(into: Path, seconds: float, readme: bool) -> None:
    """Take all pictures of the page."""
    program = shutil.which("chromium")
    if program is None:
        raise click.ClickException("chromium is not here: scripts/system-packages chromium")
    into.mkdir(parents=True, exist_ok=True)
    asyncio.run(_take(program, into, seconds))
    if readme:
        for name, shown in README.items():
            shutil.copy(into / f"{name}.png", Path("docs") / f"{shown}.png")


async def _take(program: str, into: Path, seconds: float) -> None:
    async with NatsServer() as nats, any_redis() as redis:
        with tempfile.TemporaryDirectory() as keys:
            addresses = {
                "NATS_URL": nats.url,
                "REDIS_URL": redis.url,
                "TRACE_URL": "https://homer.example/search?callid={call_id}",
            }
            async with Instance(Path(keys), addresses) as service, async_playwright() as playwright:
                await service.until_ready()
                browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
                try:
                    network = Network(BUSY, now_ms())
                    calls = asyncio.create_task(Publisher(nats.url, network, clock=now_ms).run())
                    try:
                        await asyncio.sleep(seconds)
                        await _busy(browser, service, into)
                    finally:
                        await cancel_and_wait(calls)
                    await _blind(browser, service, into)
                finally:
                    await browser.close()


async def _busy(browser: Browser, service: Instance, into: Path) -> None:
    page = await _page(browser, service, "light", DESK, token=service.token("user", company_id="9"))
    await page.get_by_text("No live calls").wait_for()
    await _shoot(page, into, "empty")
    for theme in ("dark", "light"):
        await _shoot(await _page(browser, service, theme, DESK), into, theme)
    page = await _page(browser, service, "light", DESK)
    await page.locator('.call[data-state="answered"]').last.locator(".state").click()
    await page.locator('#drawer [data-part="timeline"] li').first.wait_for()
    await _shoot(page, into, "call")
    page = await _page(browser, service, "dark", WALL, "?wall=1")
    await _shoot(page, into, "wall")
    await _shoot(await _page(browser, service, "light", TELEPHONE), into, "narrow")
    page = await _page(browser, service, "light", DESK, "?state=answered&longer=60")
    await page.locator("#pause").click()
    await page.locator("#show-settings").click()
    await _shoot(page, into, "settings")


async def _blind(browser: Browser, service: Instance, into: Path) -> None:
    """The calls have stopped, so the nodes are silent; then the service dies."""
    page = await _page(browser, service, "dark", DESK, truth="stale")
    await _shoot(page, into, "stale")
    await service.kill()
    await page.get_by_text("disconnected", exact=True).wait_for()
    await _shoot(page, into, "error")
    await service.start()
    await page.context.clear_cookies()
    await page.locator("#signed-out").wait_for()
    await _shoot(page, into, "signed-out", settle=0.5)


async def _page(
    browser: Browser,
    service: Instance,
    theme: str,
    size: ViewportSize,
    query: str = "",
    truth: str = "live",
    token: str = "",
) -> Page:
    context = await browser.new_context(
        viewport=size, color_scheme="dark" if theme == "dark" else "light"
    )
    page = await context.new_page()
    await page.goto(f"{service.url}/login#{token or service.token()}")
    await page.wait_for_url(f"{service.url}/live-calls")
    if query:
        await page.goto(f"{service.url}/live-calls{query}")
    await page.locator("#status-word").get_by_text(truth, exact=True).wait_for()
    return page


async def _shoot(page: Page, into: Path, name: str, settle: float = 2.5) -> None:
    await asyncio.sleep(settle)
    path = into / f"{name}.png"
    picture = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    click.echo(f"{path}  {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    sys.exit(screenshots())
