"""``make bench-page MINUTES=30``: whether the page's memory stays flat with 10,000 calls at 60 cps.

The real service feeds the real page. Each round opens and closes what an operator does: every
panel, a call's drawer, a search, the wall, pause. Then Chromium collects its garbage and says how
large the JavaScript heap is, and how many DOM nodes and event listeners it holds. A trend through
all rounds is judged, not a maximum: the number of live calls goes up and down by itself.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import click
from playwright.async_api import CDPSession, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from api.cli.child_service import Instance
from bench.page import FLAGS
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer, any_redis
from livestate.devtools.simulator import Network, Traffic
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait

CALLS: Final = 10_000
CPS: Final = 60.0
ANSWERED: Final = 0.66  # of the simulator's calls
STEADY: Final = Traffic(cps=CPS, seed=1, talk_seconds=CALLS / CPS / ANSWERED, prefix="steady")
# What is up at the beginning, so that the run does not measure how the table fills.
FIRST: Final = Traffic(
    cps=500,
    calls=round(0.8 * CALLS / ANSWERED),
    seed=2,
    talk_seconds=STEADY.talk_seconds,
    prefix="first",
)
SETTLED: Final = 5  # rounds before those that are judged: code is compiled, charts fill
CLICKS: Final = 5  # tries to open a call
LIVE_CALLS: Final = "globalThis.livestate?.state().calls ?? 0"
MOST_GROWTH: Final = 0.05  # of the whole, through the judged rounds


class Sample(NamedTuple):
    """What the page holds after a garbage collection."""

    minute: float
    calls: int
    heap: int  # bytes
    nodes: int
    listeners: int

    def __str__(self) -> str:
        return (
            f"minute {self.minute:5.1f}: {self.calls:6,} calls, heap {self.heap / 2**20:6.2f} MiB, "
            f"{self.nodes:6,} nodes, {self.listeners:4} listeners"
        )


def growth(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """How much a value grew through the samples, as a share of its median: the median of the
    slopes between any two samples (Theil and Sen), which single outliers do not move."""
    slopes = [
        (value(b) - value(a)) / (b.minute - a.minute) for a, b in combinations(samples, 2)
    ]  # fmt: skip
    passed = samples[-1].minute - samples[0].minute
    return statistics.median(slopes) * passed / statistics.median(map(value, samples))


async def open_a_call(page: Page) -> None:
    """Click the fifth row. By its place in the table: rows are recycled, so the document has them
    in any order, and one may be elsewhere by the time that the click is there."""
    for tries_left in reversed(range(CLICKS)):
        try:
            await page.locator('.call[aria-rowindex="5"] .state').click(force=True, timeout=5_000)
            return
        except PlaywrightError:
            if not tries_left:
                raise
            await asyncio.sleep(0.5)


async def exercise(page: Page) -> None:
    """Open and close each thing of the page once."""
    tabs = page.locator("#tabs [role=tab]:visible")
    for number in range(await tabs.count()):
        await tabs.nth(number).click()
        await asyncio.sleep(0.7)  # its document comes and is drawn
    await tabs.first.click()
    for _ in range(3):
        await open_a_call(page)
        await page.locator('#drawer [data-part="timeline"] li').first.wait_for(timeout=20_000)
        await page.keyboard.press("Escape")
    await page.locator("#filter").fill("-state:answered >10s")
    await asyncio.sleep(0.5)
    await page.locator("#filter").fill("")
    await page.locator("#table").focus()
    for key in ("p", "p", "w", "Escape"):  # pause and go on, the wall and back
        await page.keyboard.press(key)
        await asyncio.sleep(0.5)
    await page.mouse.move(5, 5)
    await asyncio.sleep(1)


async def sample(page: Page, devtools: CDPSession, began: float) -> Sample:
    """Collect garbage, and read what is left."""
    for _ in range(2):  # what finalizers let go in the first is free in the second
        await devtools.send("HeapProfiler.collectGarbage")
    used = (await devtools.send("Runtime.getHeapUsage"))["usedSize"]
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    by_name = {one["name"]: int(one["value"]) for one in metrics}
    state = await page.evaluate("livestate.state()")
    if state["divergences"] or state["connection"] not in ("live", "stale", "disconnected"):
        raise click.ClickException(f"the page was not right: {state}")
    minute = (time.monotonic() - began) / 60
    return Sample(
        minute, state["calls"], int(used), by_name["Nodes"], by_name["JSEventListeners"]
    )  # fmt: skip


async def watch(page: Page, minutes: float, every: float) -> list[Sample]:
    """A sample every so many seconds, each after a round of use; each is printed at once."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    await devtools.send("HeapProfiler.enable")
    began = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() - began < 60 * minutes or len(samples) < SETTLED + 3:
        due = time.monotonic() + every
        await exercise(page)
        samples.append(await sample(page, devtools, began))
        click.echo(samples[-1])
        await asyncio.sleep(max(0, due - time.monotonic()))
    return samples


async def measure(program: str, minutes: float, every: float) -> list[Sample]:
    """Samples of a page that shows ``CALLS`` calls."""
    async with NatsServer() as nats, any_redis() as redis:
        with tempfile.TemporaryDirectory() as keys:
            addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
            async with Instance(Path(keys), addresses) as service, async_playwright() as playwright:
                await service.until_ready(60)
                publishers = [
                    asyncio.create_task(
                        Publisher(nats.url, Network(one, now_ms()), clock=now_ms, cdrs=False).run()
                    )
                    for one in (FIRST, STEADY)
                ]
                browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
                try:
                    page = await browser.new_page(viewport={"width": 1600, "height": 900})
                    await page.goto(f"{service.url}/login#{service.token('admin')}")
                    await page.wait_for_url(f"{service.url}/live-calls")
                    async with asyncio.timeout(240):
                        while await page.evaluate(LIVE_CALLS) < 0.95 * CALLS:
                            await asyncio.sleep(1)
                    return await watch(page, minutes, every)
                finally:
                    await browser.close()
                    for publisher in publishers:
                        await cancel_and_wait(publisher)


@click.command()
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--every", default=60.0, show_default=True, help="Seconds between two samples.")
def bench_page_heap(minutes: float, every: float) -> None:
    """Measure the page's memory; fail if it grows."""
    program = shutil.which("chromium")
    if program is None:
        raise click.ClickException("chromium is not here: scripts/system-packages chromium")
    judged = asyncio.run(measure(program, minutes, every))[SETTLED:]
    grown = {
        "heap": growth(judged, lambda one: one.heap),
        "nodes": growth(judged, lambda one: one.nodes),
        "listeners": growth(judged, lambda one: one.listeners),
    }
    figures = ", ".join(f"{name} {share:+.1%}" for name, share in grown.items())
    click.echo(f"growth through {len(judged)} samples: {figures} (at most {MOST_GROWTH:.0%})")
    if max(grown.values()) > MOST_GROWTH:
        raise click.ClickException("the page's memory grows")


if __name__ == "__main__":
    sys.exit(bench_page_heap())
