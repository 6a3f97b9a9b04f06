"""The page in a real Chromium, among the walls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Protocol

from playwright.async_api import Page, async_playwright

from api.cli.child_service import Instance
from tests.faults.caddy import Caddy
from tests.faults.load import Load, Shown
from tests.page.test_page import FLAGS


class Behind(Protocol):
    """What a page is behind: a :class:`~tests.faults.rig.Rig`, or engines and edges."""

    @property
    def caddy(self) -> Caddy: ...
    @property
    def service(self) -> Instance: ...
    @property
    def load(self) -> Load: ...


class Screen:
    """One page, logged in through Caddy, and left alone from then on."""

    def __init__(self, page: Page, rig: Behind) -> None:
        self._page = page
        self._rig = rig

    async def word(self) -> str:
        """The connection state that its bar shows."""
        return await self._page.locator("#status-word").inner_text()

    async def shows(self) -> Counter[Shown]:
        calls = await self._page.evaluate("livestate.calls()")
        return Counter(
            (call["node"], call["call_id"], call["state"], call.get("company_id"))
            for call in calls.values()
        )

    async def begin_to_note(self) -> None:
        """Note from now on each word that the bar shows, and when: a look from here comes late."""
        await self._page.evaluate("""() => {
            const word = document.getElementById("status-word");
            const now = () => [performance.now(), word.textContent.trim().toLowerCase()];
            window.said = [now()];
            new MutationObserver(() => window.said.push(now()))
                .observe(word, {childList: true, characterData: true, subtree: true});
        }""")

    async def longest_without_live(self) -> tuple[float, list[str]]:
        """For how many seconds at most the bar has shown other words, and which words it showed."""
        until = await self._page.evaluate("performance.now()")
        said = [*(await self._page.evaluate("window.said")), (until, "live")]
        longest, since = 0.0, None
        for at, word in said:
            if word != "live":
                since = at if since is None else since
            elif since is not None:
                longest, since = max(longest, at - since), None
        return longest / 1000, sorted({word for _, word in said})

    async def seen_blind(self, seconds: float = 10.0) -> None:
        """Promise S on the page."""
        deadline = time.monotonic() + seconds
        while (await self.word()).lower() == "live":
            assert time.monotonic() < deadline, "the page still says live"
            await asyncio.sleep(0.1)

    async def right(self, seconds: float = 10.0) -> None:
        """Promise E: live again by itself, and it shows the truth, which stands still."""
        self._rig.load.hold()
        deadline = time.monotonic() + seconds
        while True:
            word, shown = (await self.word()).lower(), await self.shows()
            truth = self._rig.load.truth()
            if word == "live" and shown == truth:
                break
            assert time.monotonic() < deadline, (word, shown - truth, truth - shown)
            await asyncio.sleep(0.1)
        assert (await self._page.evaluate("livestate.state()"))["divergences"] == 0
        self._rig.load.go_on()


@contextlib.asynccontextmanager
async def screen(program: str, rig: Behind) -> AsyncIterator[Screen]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            page = await browser.new_page()
            await page.goto(f"{rig.caddy.url}/login#{rig.service.token(subject='screen')}")
            await page.wait_for_url(f"{rig.caddy.url}/live-calls")
            shown = Screen(page, rig)
            await shown.right(30)
            yield shown
        finally:
            await browser.close()
