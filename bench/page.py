"""``make bench-page``: what 10,000 calls cost the page, in a real headless Chromium, with a gate;
and how soon 7,500 calls show their first row.

A server of frames that nothing else slows down sends 20 diffs a second that change 50 calls each;
Chromium says how long its main thread worked (``TaskDuration`` of the DevTools protocol's
Performance domain, in thread time: waiting for a busy machine's core is no work of the page), and
an animation frame callback counts the pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import sys
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final

import click
import orjson
from hypercorn.asyncio import serve
from hypercorn.config import Config
from playwright.async_api import Browser, async_playwright
from quart import Quart, Response

from api.http.site import Site
from api.pages import page_routes
from api.stream import sse
from bench.machine import waited_seconds
from livestate.devtools.child_process import free_port
from livestate.fanout.patch import LINE_BYTES, numbered

FLAGS: Final = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip
STATES: Final = ("trying", "ringing", "early", "answered", "held")
MOST_SHARE: Final = 0.10
LEAST_FPS: Final = 55.0
FIRST_ROW_CALLS: Final = 7_500
MOST_FIRST_ROW_MS: Final = 1_000.0
MOST_WAITING: Final = 0.20  # of a load, for a core; beyond it, times say how busy the machine is
TAG: Final = "0123456789abcdef"


class Calls:
    """Invented calls, as the frames of a stream."""

    def __init__(self, count: int, rows: int, seed: int = 1) -> None:
        self._random = Random(seed)
        self._rows = rows
        self._numbers = itertools.count()
        self._version = 0
        self.calls = dict(self._new() for _ in range(count))

    def _new(self) -> tuple[str, dict[str, Any]]:
        number, chance = next(self._numbers), self._random
        self._version += 1
        began = _now() - chance.randrange(300_000)
        record = {
            "state": chance.choice(STATES), "node": f"sim-{number % 3}", "call_id": f"{number}@x",
            "company_id": str(100 + number % 40), "direction": "outbound", "v": self._version,
            "from": f"+3902{number:08}", "to": f"+4420{number:08}", "trunk": f"gw-{number % 6}",
            "setup_at": began, "progress_at": began + 400, "answered_at": began + 4_000,
        }  # fmt: skip
        return f"call-{number:08}", record

    def snapshot(self) -> bytes:
        """In parts, as the service sends it: the page shows nothing before the last one."""
        pieces = [b'"%b":%b' % (key.encode(), orjson.dumps(one)) for key, one in self.calls.items()]
        size = LINE_BYTES // max(map(len, pieces))
        bodies = [b",".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
        *parts, last = numbered(bodies, _now())
        whole = b"".join(sse.event("snapshot", part) for part in parts)
        return whole + sse.event("snapshot", last, sse.EventId(TAG, self._version))

    def diff(self) -> bytes:
        """A tenth of the rows are calls that end, as many begin; the others change."""
        patch: dict[str, Any] = {}
        ended: dict[str, Any] = {}
        turn = self._rows // 10
        for key in self._random.sample(list(self.calls), self._rows - turn):
            self._version += 1
            if len(ended) < turn:
                del self.calls[key]
                patch[key] = None
                ended[key] = {"outcome": "answered", "ended_at": _now()}
                continue
            patch[key] = {"state": self._random.choice(STATES), "v": self._version}
            self.calls[key] |= patch[key]
        for key, record in (self._new() for _ in range(turn)):
            patch[key] = self.calls[key] = record
        return self._event("diff", {"as_of": _now(), "calls": patch, "ended": ended})

    def heartbeat(self) -> bytes:
        digest = sum(record["v"] for record in self.calls.values()) % 2**53
        payload = {
            "as_of": _now(),
            "source": "live",
            "version": self._version,
            "calls": len(self.calls),
            "digest": digest,
        }
        return sse.event("heartbeat", orjson.dumps(payload))

    def _event(self, name: str, payload: dict[str, Any]) -> bytes:
        return sse.event(name, orjson.dumps(payload), sse.EventId(TAG, self._version))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _app(calls: Calls, hertz: float) -> Quart:
    app = Quart(__name__, static_folder=None)

    async def frames() -> AsyncIterator[bytes]:
        yield calls.snapshot() + calls.heartbeat()
        due = time.monotonic()
        for number in itertools.count(1):
            due += 1 / hertz
            await asyncio.sleep(max(0, due - time.monotonic()))
            frame = calls.diff()
            yield frame + calls.heartbeat() if number % int(4 * hertz) == 0 else frame

    @app.get("/api/v1/live/calls")
    async def stream() -> Response:
        response = Response(frames(), content_type=sse.MEDIA_TYPE)
        response.timeout = None
        return response

    @app.get("/api/v1/session")
    async def session() -> dict[str, Any]:
        return {"role": "noc", "expires_at": _now() + 3_600_000}

    # The page and its files as the service sends them.
    app.register_blueprint(page_routes(Site(), token_login=True, is_demo=lambda: False))
    return app


COUNT_FRAMES: Final = """() => {
    window.frames_seen = 0;
    const count = () => { window.frames_seen += 1; requestAnimationFrame(count); };
    requestAnimationFrame(count);
}"""


# Behind the picture that has the first row: ms since the navigation began.
FIRST_ROW: Final = """
    const seen = new MutationObserver(() => {
        if (document.querySelector(".call") === null) return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(() => { window.first_row = performance.now(); }));
    });
    seen.observe(document, { childList: true, subtree: true });
"""


@contextlib.asynccontextmanager
async def chromium_with(calls: int, rows: int, hertz: float) -> AsyncIterator[tuple[Browser, str]]:
    """A Chromium, and the address of a page with so many calls."""
    program = shutil.which("chromium")
    if program is None:
        raise click.ClickException("chromium is not here: scripts/system-packages chromium")
    config = Config()
    config.bind = [f"127.0.0.1:{free_port()}"]
    config.accesslog = config.errorlog = None
    ended = asyncio.Event()
    serving = asyncio.create_task(
        serve(_app(Calls(calls, rows), hertz), config, shutdown_trigger=ended.wait)
    )
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
            yield browser, f"http://{config.bind[0]}/live-calls"
            await browser.close()
    finally:
        ended.set()
        await serving


async def first_row(calls: int) -> tuple[float, float]:
    """Ms from the navigation, with a session and nothing in the browser's cache, to the picture
    with the first row: the fastest of three loads. Beside it, for which share of that load the
    server here waited for a core."""
    shown: list[tuple[float, float]] = []
    async with chromium_with(calls, rows=1, hertz=1) as (browser, url):
        for _ in range(3):
            context = await browser.new_context(viewport={"width": 1600, "height": 900})
            page = await context.new_page()
            await page.add_init_script(FIRST_ROW)
            waited, began = waited_seconds(), time.monotonic()
            await page.goto(url)
            await page.wait_for_function("window.first_row > 0")
            waiting = (waited_seconds() - waited) / (time.monotonic() - began)
            if await page.evaluate("livestate.state().calls") != calls:
                raise click.ClickException("a row was shown before all calls were there")
            shown.append((await page.evaluate("window.first_row"), waiting))
            await context.close()
    return min(shown)


async def measure(calls: int, rows: int, hertz: float, seconds: float) -> dict[str, float]:
    """Share of the main thread's time, and pictures a second."""
    async with chromium_with(calls, rows, hertz) as (browser, url):
        context = await browser.new_context(viewport={"width": 1600, "height": 900})
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_function(f"livestate.state().calls === {calls}")
        await asyncio.sleep(3)  # compiled, and past the first paint
        devtools = await context.new_cdp_session(page)
        await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        await page.evaluate(COUNT_FRAMES)

        async def worked() -> tuple[float, float, float]:
            samples = (await devtools.send("Performance.getMetrics"))["metrics"]
            by_name = {one["name"]: one["value"] for one in samples}
            seen = await page.evaluate("window.frames_seen")
            return by_name["TaskDuration"], by_name["Timestamp"], seen

        before = await worked()
        await asyncio.sleep(seconds)
        after = await worked()
        state = await page.evaluate("livestate.state()")
    if state["divergences"] or state["connection"] != "live":
        raise click.ClickException(f"the page was not right: {state}")
    passed = after[1] - before[1]
    return {"share": (after[0] - before[0]) / passed, "fps": (after[2] - before[2]) / passed}


@click.command()
@click.option("--calls", default=10_000, show_default=True)
@click.option("--rows", default=50, show_default=True, help="That each diff changes.")
@click.option("--hertz", default=20.0, show_default=True, help="Diffs a second.")
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--gate/--no-gate", default=True, show_default=True)
def bench_page(calls: int, rows: int, hertz: float, seconds: float, gate: bool) -> None:
    """Measure the page; fail if it is too slow."""
    # The machine may be busy with something else, which only ever makes a figure worse.
    best: dict[str, float] = {"share": 1.0, "fps": 0.0}
    for _ in range(3):
        found = asyncio.run(measure(calls, rows, hertz, seconds))
        best = min(best, found, key=lambda one: one["share"])
        if best["share"] <= MOST_SHARE and best["fps"] >= LEAST_FPS:
            break
    click.echo(
        f"{calls:,} calls, {hertz:g} diffs/s of {rows} rows: main thread "
        f"{best['share']:.1%} (at most {MOST_SHARE:.0%}), {best['fps']:.0f} fps "
        f"(at least {LEAST_FPS:.0f})"
    )
    soonest, waiting = asyncio.run(first_row(FIRST_ROW_CALLS))
    click.echo(
        f"{FIRST_ROW_CALLS:,} calls: first row {soonest:,.0f} ms after the navigation "
        f"(at most {MOST_FIRST_ROW_MS:,.0f}); the server waited for a core {waiting:.0%} of it"
    )
    late = best["fps"] < LEAST_FPS or soonest > MOST_FIRST_ROW_MS
    if late and waiting > MOST_WAITING:
        click.echo(f"busy machine (more than {MOST_WAITING:.0%}): only the main thread is judged")
        late = False
    if gate and (late or best["share"] > MOST_SHARE):
        raise click.ClickException("the page is too slow")


if __name__ == "__main__":
    sys.exit(bench_page())
