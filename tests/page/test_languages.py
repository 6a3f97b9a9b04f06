"""The page in the language of its reader, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, Route, expect

from api import bundle
from api.assets import ASSETS
from api.texts import LANGUAGES
from tests.harness import Node
from tests.page.test_tabs import axe
from tests.pages import (
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
    settled,
    some_calls,
    truth,
    until,
)

__all__ = ["browser", "desk", "node", "office", "page"]
pytestmark = in_one_loop
# The service writes texts too, before any button works.
STARTED = "window.livestate !== undefined"
LIVE = {code: texts["status.word.live"] for code, texts in LANGUAGES.items()}


@a_test
async def italian(browser: Browser) -> AsyncIterator[Page]:
    """A page of a browser that prefers Italian."""
    context = await browser.new_context(locale="it-IT", viewport={"width": 1366, "height": 768})
    yield await context.new_page()
    await context.close()


async def open_settings(page: Page) -> None:
    await until(page, STARTED)
    await page.locator("#show-settings").click()


async def test_the_page_speaks_the_browsers_language(desk: Desk, node: Node, italian: Page) -> None:
    await some_calls(node)
    await log_in(italian, desk.service)
    await rows(italian, 3)
    await truth(italian, LIVE["it"])
    await expect(italian.locator("html")).to_have_attribute("lang", "it")
    await expect(italian).to_have_title("Chiamate in corso")
    await expect(italian.locator("#shown")).to_have_text("3 elencate")
    await expect(italian.locator('.tile[data-kpi="held"] dt')).to_have_text("In attesa")
    texts = await italian.evaluate("""async () => {
        const { whole, tenths } = await import("/static/text/text.js");
        return [whole(12345), tenths(0.5)];
    }""")
    assert texts == ["12.345", "0,5"]
    await italian.keyboard.press("p")
    await truth(italian, "in pausa")
    await expect(italian.locator("#status-remedy")).to_contain_text("premi p per riprendere")


async def test_a_language_chosen_in_the_settings_is_kept(desk: Desk, italian: Page) -> None:
    await log_in(italian, desk.service)
    await expect(italian.locator("#show-settings")).to_have_text("Impostazioni")
    await open_settings(italian)
    await expect(italian.locator("#set-language option")).to_have_text(
        ["del browser", "English", "Italiano"]
    )
    await italian.locator("#set-language").select_option("en")
    await expect(italian.locator("#show-settings")).to_have_text("Settings")
    await italian.goto(f"{desk.service.url}/live-calls?lang=it")
    await expect(italian.locator("#show-settings")).to_have_text("Impostazioni")
    await until(italian, STARTED)
    assert "lang=it" in italian.url  # a wall that reloads stays Italian
    await open_settings(italian)
    await italian.locator("#set-language").select_option("en")
    await expect(italian.locator("#show-settings")).to_have_text("Settings")
    await until(italian, STARTED)
    assert "lang" not in italian.url
    await italian.goto(f"{desk.service.url}/static/definitions.html")
    await expect(italian.locator("h1")).to_have_text("How the figures are defined")


async def test_the_login_page_speaks_it_too(desk: Desk, italian: Page) -> None:
    await italian.goto(f"{desk.service.url}/login")
    await expect(italian.locator("#form label")).to_have_text("Token di accesso")
    await expect(italian).to_have_title(LANGUAGES["it"]["login.page_title"])


async def test_nothing_shuts_an_italian_out(desk: Desk, node: Node, italian: Page) -> None:
    await some_calls(node)
    await log_in(italian, desk.service)
    await rows(italian, 3)
    await italian.locator(".call").first.locator(".state").click()
    await italian.locator("#drawer li").first.wait_for()
    await open_settings(italian)
    assert await axe(italian) == []


@pytest.mark.parametrize("width", [1366, 1920])
async def test_no_column_is_cut_in_italian(
    desk: Desk, node: Node, italian: Page, width: int
) -> None:
    await node.call("1.1", company_id="101", from_="+393474281623", to="+393474281623",
                    trunk="rom-sbc-1", attempt=2, direction="internal", sip_code=200)  # fmt: skip
    await italian.set_viewport_size({"width": width, "height": 900})
    await log_in(italian, desk.service)
    await rows(italian, 1)
    cut = await settled(
        italian,
        """() => {
        const cells = ".call td, #heading th button, .tile :is(dt, dd)";
        const found = [...document.querySelectorAll(cells)]
            .filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => `${one.className} ${one.textContent}`);
        const scroller = document.getElementById("scroller");
        return [found, scroller.scrollWidth - scroller.clientWidth];
    }""",
    )
    assert cut == [[], 0]


async def test_another_language_is_one_file(desk: Desk, page: Page) -> None:
    """And an import with its name in the catalogue, as CONTRIBUTING says."""
    texts = {**LANGUAGES["en"], "tools.settings": "Definições", "status.word.live": "ao vivo"}
    catalogue = ASSETS["text/catalogue.js"].read_text()
    catalogue = catalogue.replace("LANGUAGES = { en,", "LANGUAGES = { pt, en,")
    assert "{ pt, en," in catalogue

    changed = {
        "text/languages/pt.js": f"export default {json.dumps(texts, indent=1)};",
        "text/catalogue.js": f'import pt from "./languages/pt.js";\n{catalogue}',
    }

    def read(name: str) -> str:
        return changed.get(name) or ASSETS[name].read_text()

    async def give(route: Route) -> None:
        body = bundle.script("main.js", read).code
        await route.fulfill(body=body, content_type="text/javascript")

    await page.route("**/static/main.bundle.js*", give)
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?lang=pt-BR")
    await expect(page.locator("html")).to_have_attribute("lang", "pt")
    await expect(page.locator("#show-settings")).to_have_text("Definições")
    await open_settings(page)
    await expect(page.locator('#set-language [value="pt"]')).to_have_text("Português")
