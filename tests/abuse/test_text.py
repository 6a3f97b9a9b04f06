"""A caller's text on the page in a real Chromium is shown as text, and never runs."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from playwright.async_api import async_playwright

from api.cli.child_service import Instance
from tests.abuse.raw import ask, get
from tests.abuse.test_events import HOSTILE, kept, message
from tests.harness import Node
from tests.pages import FLAGS

SHOWN = """expected => {
    const rows = [...document.querySelectorAll(".call")];
    const strange = ".call script, .call img, .call b, .call svg, .from a, .to a"
        + ", script:not([src])";
    const links = [...document.querySelectorAll(".call a[href]")];  // of company, trunk, node
    return rows.length === Object.keys(expected).length
        && rows.every(row => expected[row.querySelector(".from").textContent]
            === row.querySelector(".to").textContent)
        && links.every(one => one.origin === location.origin && one.pathname === "/live-calls")
        && document.querySelector(strange) === null;
}"""


def seen(text: str) -> str:
    """As the page shows it: what cannot be seen, or turns round what stands beside it, is a sign.
    tests/vectors/text.json has more of them."""
    signs = []
    for sign in text:
        code = ord(sign)
        if code < 0x20 or code == 0x7F:
            signs.append("␡" if code == 0x7F else chr(0x2400 + code))
        elif unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co"):
            signs.append(f"⟨U+{code:04X}⟩")
        else:
            signs.append(sign)
    return "".join(signs)


async def test_the_page_shows_the_literal_text(
    service: Instance, node: Node, program: Callable[[str], str]
) -> None:
    company = f"page-{node.name}"
    for text in HOSTILE.values():
        data = message(node, company_id=company, **{"from": text, "to": f"to {text}"})
        await node.client.publish("call.events.setup", data)
    await node.client.flush()
    token = service.token("user", company_id=company)
    expected = {seen(kept(text)): seen(kept(f"to {text}")) for text in HOSTILE.values()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
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
    for path in ("/live-calls", "/login", "/static/main.js", "/static/styles/base.css"):
        answer = await ask(service.port, get(path))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
