"""What a caller writes, on the page in a real Chromium: the text, and nothing but text."""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import async_playwright

from api.instance import Instance
from tests.abuse.raw import ask, get
from tests.abuse.test_events import HOSTILE, kept, message
from tests.harness import Node

SHOWN = """expected => {
    const rows = [...document.querySelectorAll(".call")];
    const strange = ".call script, .call img, .call b, .call svg, .call a, script:not([src])";
    return rows.length === Object.keys(expected).length
        && rows.every(row => expected[row.querySelector(".from").textContent]
            === row.querySelector(".to").textContent)
        && document.querySelector(strange) === null;
}"""


async def test_the_page_shows_the_literal_text(
    service: Instance, node: Node, program: Callable[[str], str]
) -> None:
    company = f"page-{node.name}"
    for text in HOSTILE.values():
        told = message(node, company_id=company, **{"from": text, "to": f"to {text}"})
        await node.client.publish("call.events.setup", told)
    await node.client.flush()
    token = service.token("user", company_id=company)
    expected = {kept(text): kept(f"to {text}") for text in HOSTILE.values()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await browser.new_page(viewport={"width": 1600, "height": 1600})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda asked: wrong.append(asked.url)
                if not asked.url.startswith(service.url) else None)  # fmt: skip
        await page.goto(f"{service.url}/login#{token}")
        await page.wait_for_function(SHOWN, arg=expected, timeout=15_000)
        assert wrong == []
        await browser.close()


async def test_the_page_and_all_it_loads_are_served_strictly(service: Instance) -> None:
    for path in ("/live-calls", "/login", "/static/main.js", "/static/live.css"):
        answer = await ask(service.port, get(path))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
