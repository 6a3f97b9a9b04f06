"""Records of each call as a stream and the page showed it, by the caller's number."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Page, async_playwright

from api.cli.child_service import Instance
from livestate.client import Fold, ServerEvent
from tests.page.test_page import FLAGS

# Notes each text that a row's state had, with whose row it was.
_RECORD: Final = """() => {
  const seen = (window.seen = {});
  const note = () => {
    for (const row of document.querySelectorAll("#rows .call")) {
      const text = (name) => row.querySelector("." + name)?.textContent ?? "";
      const steps = (seen[text("from")] ??= []);
      const step = { state: text("state"),
                     over: row.dataset.state === "ended", to: text("to"),
                     company: text("company"), trunk: text("trunk"),
                     direction: text("direction") };
      if (JSON.stringify(steps.at(-1)) !== JSON.stringify(step)) steps.push(step);
    }
  };
  new MutationObserver(note).observe(document.querySelector("#rows"),
    { subtree: true, childList: true, characterData: true, attributes: true });
  note();
}"""
WORDS: Final = {"early media": "early", "on hold": "held"}


@dataclass(slots=True)
class Seen:
    """One call as a client saw it."""

    passes: list[str] = field(default_factory=list)  # the states, one after the other
    trunks: list[str] = field(default_factory=list)
    outcome: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def step(self, state: str, trunk: str) -> None:
        if self.passes[-1:] != [state]:
            self.passes.append(state)
        if self.trunks[-1:] != [trunk]:
            self.trunks.append(trunk)


def on_stream(events: Iterable[ServerEvent]) -> dict[str, Seen]:
    """The calls as a client of the stream saw them."""
    dashboard, seen, known = Fold(), {}, {}
    for event in events:
        data = dashboard.fold(event)
        for key, record in dashboard.calls.items():
            known[key] = record
            one = seen.setdefault(record.get("from", ""), Seen())
            one.facts = record
            one.step(record["state"], record.get("trunk", ""))
        for key, over in (data.get("ended") or {}).items():
            if key in known:
                seen[known[key].get("from", "")].outcome = over["outcome"]
    return seen


class Screen:
    """A page that records every change it shows."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def word(self) -> str:
        return (await self._page.locator("#status-word").inner_text()).lower()

    async def seen(self) -> dict[str, Seen]:
        result: dict[str, list[dict[str, Any]]] = await self._page.evaluate("window.seen")
        seen = {}
        for number, steps in result.items():
            one = seen[number] = Seen()
            for step in steps:
                if step["over"]:
                    ended = step["state"].startswith("ended")  # and how long it was answered
                    one.outcome = "answered" if ended else step["state"].replace(" ", "_")
                else:
                    one.step(WORDS.get(step["state"], step["state"]), step["trunk"])
                    one.facts = step
        return seen

    async def calls(self) -> dict[str, dict[str, Any]]:
        """The records that the page holds, by caller."""
        held = await self._page.evaluate("livestate.calls()")
        assert (await self._page.evaluate("livestate.state()"))["divergences"] == 0
        return {record.get("from", ""): record for record in held.values()}


@contextlib.asynccontextmanager
async def screen(program: str, service: Instance) -> AsyncIterator[Screen]:
    """The page in Chromium, live, with every row in sight."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            page = await browser.new_page(viewport={"width": 1800, "height": 1600})
            await page.goto(f"{service.url}/login#{service.token()}")
            await page.wait_for_url(f"{service.url}/live-calls")
            await page.evaluate(_RECORD)
            shown = Screen(page)
            async with asyncio.timeout(20):
                while await shown.word() != "live":
                    await asyncio.sleep(0.05)
            yield shown
        finally:
            await browser.close()
