"""What a user of Firefox does by hand, and what the page writes in Italian there: columns, links in
rows, numbers and dates, paper and the wall."""

from __future__ import annotations

from collections.abc import Callable

from api.texts import LANGUAGES
from tests.conftest import World
from tests.firefox.browser import Firefox, Tab
from tests.firefox.test_page import shows
from tests.harness import Node, now_ms

TITLES = "[...document.querySelectorAll('#heading th')].map((one) => one.classList[0])"
WIDTH = "document.querySelector('#heading .company').getBoundingClientRect().width"
ENTER, TAB = "\ue007", "\ue004"
DAY_MS = 86_400_000


async def test_firefox_moves_columns_follows_links_and_speaks_italian(
    world: World, program: Callable[[str], str]
) -> None:
    service = world.service()
    async with (
        Firefox(program("firefox-esr")) as firefox,
        service,
        await Node.connect(world.nats.url) as node,
    ):
        await service.until_ready()
        for number in range(3):
            await node.call(f"{number}.1", company_id="101", trunk="gw-b")
        await node.call("9.1", company_id="102", trunk="Rossi, Sons")
        tab = await firefox.open(f"{service.url}/login#{service.token()}")
        await tab.until("location.pathname", "/live-calls")
        await shows(tab, 4)
        await columns(tab)
        await links(tab)
        italian = await firefox.open(f"{service.url}/live-calls?lang=it&wall=1")
        await italian_texts(italian)
        assert (await italian.printed()).startswith(b"%PDF-")
        await italian.until("document.getElementById('not-printed').hidden", True)


async def columns(tab: Tab) -> None:
    """Moved by dragging the button of a title, resized by an edge, moved by keyboard."""
    assert (await tab.find(TITLES))[:3] == ["state", "from", "to"]
    x, y = await tab.middle("#heading .trunk button")
    to = await tab.middle("#heading .from button")
    await tab.drag((x, y), (x - 9, y), (x - 40, y), to, to)
    await tab.until(f"{TITLES}.slice(0, 3)", ["state", "trunk", "from"])
    sorted_by = "document.querySelector('#heading .trunk').getAttribute('aria-sort')"
    assert await tab.find(sorted_by) == "none", "a drag is no click"
    before = await tab.find(WIDTH)
    x, y = await tab.middle("#heading .company .edge")
    await tab.drag((x, y), (x + 30, y), (x + 60, y))
    await tab.until(f"Math.abs({WIDTH} - {before + 60}) < 4", True)
    await tab.click("#show-settings")
    await tab.find("document.getElementById('up-trunk').focus()")
    await tab.press(ENTER)
    await tab.until(f"{TITLES}.slice(0, 2)", ["trunk", "state"])
    await tab.find("document.getElementById('settings').close()")


async def links(tab: Tab) -> None:
    """A link of a row narrows the view; elsewhere in the row a click opens the call."""
    await tab.click(".call .trunk a")
    await tab.until("new URLSearchParams(location.search).get('trunk')", "Rossi\\, Sons")
    await shows(tab, 1)
    assert await tab.find("document.getElementById('drawer').hidden")
    await tab.find("history.back()")
    await shows(tab, 4)
    await tab.click(".call .state")
    await tab.until("document.getElementById('drawer').hidden", False)


async def italian_texts(tab: Tab) -> None:
    await tab.until(
        "document.getElementById('status-word')?.textContent", LANGUAGES["it"]["status.word.live"]
    )
    assert await tab.find("document.documentElement.lang") == "it"
    found = await tab.find(f"""import("/static/text/text.js").then((text) => [
        text.whole(1234567), text.tenths(0.5), text.percent(61.25), text.countryName("GB"),
        /^\\d{{4}}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d /
            .test(text.timeOfDay({now_ms() - 3 * DAY_MS})),
        /^\\d\\d:\\d\\d:\\d\\d /.test(text.timeOfDay(Date.now())),
    ])""")
    assert found == ["1.234.567", "0,5", "61,3 %", "Regno Unito", True, True]
    refused = await tab.find("""fetch("api/v1/live/ended?code=X", {
        headers: { "Accept-Language": "it" },
    }).then((answer) => answer.json())""")
    assert refused["title"] == "Richiesta non valida"
