"""Alarms: what the service raises, who sees and acknowledges them, and the page in Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import nats
import orjson
import pytest
from playwright.async_api import Page, expect

from api.cli.child_service import Instance
from livestate.client.paths import ALARMS_PATH
from livestate.devtools import servers
from tests.harness import Node, bearer, metrics, until
from tests.page.test_tabs import axe
from tests.page.test_vectors import modules
from tests.pages import Desk, a_module, a_test, browser, in_one_loop, log_in, page
from tests.unit.panels.test_alarm_webhook import SECRET, Receiver

__all__ = ["browser", "modules", "page"]
pytestmark = in_one_loop
WAIT = 20_000  # ms
RULES = (
    "[live_calls]\nwarning = 3\nraise_after_seconds = 0\nclear_after_seconds = 0\n"
    "companies = true\n[cps]\nalarm = 'many'\n"
)


@a_module
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as webhook:
        yield webhook


@a_module
async def office(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> AsyncIterator[Desk]:
    file = tmp_path_factory.mktemp("files") / "alarms.toml"
    file.write_text(RULES)
    async with servers.NatsServer() as queue, servers.Valkey() as store:
        addresses = {"NATS_URL": queue.url, "REDIS_URL": store.url, "READY_SECONDS": "1",
                     "HEARTBEAT_SECONDS": "1", "ALARMS": str(file),
                     "ALARM_WEBHOOK": receiver.url, "ALARM_WEBHOOK_SECRET": SECRET}  # fmt: skip
        async with Instance(tmp_path_factory.mktemp("keys"), addresses) as service:
            await service.until_ready()
            desk = Desk(service, await nats.connect(queue.url))
            yield desk
            await desk.close()


@a_test
async def desk(office: Desk) -> AsyncIterator[Desk]:
    yield office
    await office.clear()


@a_test
async def node(desk: Desk) -> Node:
    return desk.node()


async def three_calls(node: Node, company: str) -> None:
    for number in range(3):
        await node.call(f"{number}.{company}", company_id=company)


async def document(desk: Desk, token: str, **query: str) -> dict[str, Any]:
    async with httpx.AsyncClient(headers=bearer(token)) as client:
        found: dict[str, Any] = (
            await client.get(f"{desk.service.url}{ALARMS_PATH}", params=query)
        ).json()
        return found


async def raised(desk: Desk, token: str, **query: str) -> dict[str, Any]:
    """The first alarm of a document, once there is one."""
    async with asyncio.timeout(30):
        while not (alarms := (await document(desk, token, **query))["alarms"]):
            await asyncio.sleep(0.2)
    return dict(alarms[0])


async def test_an_alarm_is_acknowledged_with_the_name_of_the_login(desk: Desk, node: Node) -> None:
    await three_calls(node, "acme")
    theirs = desk.service.token("user", company_id="acme", subject="carla")
    alarm = await raised(desk, theirs)
    assert (alarm["rule"], alarm["level"], alarm["value"], alarm["limit"]) == (
        "live_calls", "warning", 3, 3
    )  # fmt: skip
    async with httpx.AsyncClient(headers=bearer(theirs)) as client:
        where = f"{desk.service.url}{ALARMS_PATH}/{alarm['id']}"
        assert (await client.post(where)).status_code == 204
    of_all = await document(desk, desk.service.token(), company_id="acme")
    assert of_all["alarms"][0]["acknowledged_by"] == "carla"
    assert of_all["company_id"] == "acme"
    assert "file" not in of_all
    everything = await document(desk, desk.service.token())
    assert everything["file"]["bad"] == [
        "[cps] alarm is neither a number from 0 on nor false, which is no limit"
    ]


async def test_the_webhook_and_the_metrics_say_what_is_raised(
    desk: Desk, node: Node, receiver: Receiver
) -> None:
    await three_calls(node, "hooked")
    theirs = desk.service.token("user", company_id="hooked", subject="dora")
    alarm = await raised(desk, theirs)
    found = await metrics(desk.service)
    assert found['livestate_alarms{level="warning",rule="live_calls"}'] >= 1
    async with httpx.AsyncClient(headers=bearer(theirs)) as client:
        await client.post(f"{desk.service.url}{ALARMS_PATH}/{alarm['id']}")

    def told() -> list[tuple[str, str | None]]:
        bodies = [orjson.loads(body) for _, body in receiver.got]
        return [
            (one["event"], one["alarm"]["acknowledged_by"])
            for one in bodies
            if one["alarm"]["id"] == alarm["id"]
        ]

    await until(lambda: len(told()) == 2, 30, told)
    assert told() == [("raised", None), ("acknowledged", "dora")]


async def test_alarms_of_others_can_be_neither_seen_nor_acknowledged(
    desk: Desk, node: Node
) -> None:
    await three_calls(node, "secret")
    alarm = await raised(desk, desk.service.token(), company_id="secret")
    other = desk.service.token("user", company_id="other")
    found = await document(desk, other, company_id="secret")
    assert (found["company_id"], found["alarms"]) == ("other", [])
    where = f"{desk.service.url}{ALARMS_PATH}/{alarm['id']}"
    async with httpx.AsyncClient() as client:
        assert (await client.post(where)).status_code == 401
        assert (await client.post(where, headers=bearer(other))).status_code == 404
        strange = bearer(desk.service.token()) | {"Sec-Fetch-Site": "cross-site"}
        assert (await client.post(where, headers=strange)).status_code == 403
        unknown = f"{desk.service.url}{ALARMS_PATH}/nothing"
        mine = bearer(desk.service.token())
        assert (await client.post(unknown, headers=mine)).status_code == 404
    again = await raised(desk, desk.service.token(), company_id="secret")
    assert "acknowledged_by" not in again


@pytest.mark.slow
async def test_an_alarm_is_on_every_page_and_who_acknowledged_it_too(
    desk: Desk, node: Node, page: Page
) -> None:
    company = {"company_id": "<i>one"}
    await log_in(page, desk.service, "user", subject="anna <b>", **company)
    badge = page.locator("#alarm-badge")
    await expect(page.get_by_role("tab", name="Alarms")).to_be_visible()
    await expect(badge).to_be_hidden()
    await three_calls(node, "<i>one")
    await expect(badge).to_have_text("Alarms: 1, not acknowledged: 1", timeout=WAIT)
    tile = page.locator('.tile[data-kpi="concurrent"]')
    await expect(tile).to_have_attribute("data-level", "warning")
    await expect(tile.locator("small")).to_have_text("warning ≥ 3")
    await expect(page).to_have_title("(1!) Live calls")
    await expect(page.locator("#announce")).to_have_text("warning: Live calls 3")
    await expect(page.locator("#icon")).to_have_attribute("href", "static/icon-warning.svg")
    await badge.click()
    row = page.locator("#panel .alarms tbody tr")
    await expect(row).to_have_attribute("data-level", "warning", timeout=WAIT)
    await expect(row.locator("th")).to_contain_text("warning: Live calls")
    await expect(row.locator("th small")).to_have_text("3, limit 3")
    await expect(page.locator("#panel ul.rules li").first).to_have_text(
        "Live calls: warning from 3 on; raised after 00:00, over after 00:00"
    )
    found = await axe(page)
    assert found == [], "\n".join(found)
    await row.get_by_role("button", name="Acknowledge: Live calls").click()
    await expect(row.locator("td").last).to_contain_text("anna <b>", timeout=WAIT)
    await expect(badge).to_have_text("Alarms: 1", timeout=WAIT)
    for number in range(3):
        await node.say("ended", f"{number}.<i>one", **company)
    await expect(row.locator("td").nth(2)).to_contain_text("over since", timeout=WAIT)
    await expect(badge).to_be_hidden(timeout=WAIT)
    await expect(tile).to_have_attribute("data-level", "")
    await expect(page).to_have_title("Live calls")


@pytest.mark.slow
async def test_an_acknowledgement_that_fails_says_why_and_can_be_tried_again(
    desk: Desk, node: Node, page: Page
) -> None:
    await log_in(page, desk.service, "user", company_id="two")
    await three_calls(node, "two")
    await page.goto(f"{desk.service.url}/live-calls?panel=alarms")
    button = page.get_by_role("button", name="Acknowledge: Live calls")
    await expect(button).to_be_visible(timeout=WAIT)
    await page.route("**/api/v1/live/alarms/*", lambda route: route.abort())
    await button.click()
    problem = page.locator("#panel [role=alert]")
    await expect(problem).to_contain_text("The alarm is not acknowledged: the service does not")
    await page.unroute("**/api/v1/live/alarms/*")
    await button.click()
    await expect(button).to_have_count(0, timeout=WAIT)
    await expect(problem).to_have_text("")


async def test_the_page_names_what_is_wrong_in_the_file(desk: Desk, page: Page) -> None:
    await log_in(page, desk.service)
    await page.goto(f"{desk.service.url}/live-calls?panel=alarms")
    wrong = page.locator("#panel .notes")
    await expect(wrong).to_contain_text("[cps] alarm is neither a number", timeout=WAIT)
    await expect(page.locator("#panel")).to_contain_text(
        "NER: warning below 85 %, alarm below 70 %"
    )


async def test_the_worst_alarm_of_a_figure_colours_its_tile(modules: Page) -> None:
    """And a count of one is in the singular, in both languages."""
    levels, counts = await modules.evaluate(
        """async () => {
            const { raisedOf } = await import("/static/figures/tiles.js");
            const { counted } = await import("/static/text/text.js");
            const { choose } = await import("/static/text/catalogue.js");
            const raised = { asr: ["warning", 40], asr_drop: ["alarm", 62], cps: ["alarm", 9] };
            const levels = ["asr", "ner", "cps", "held"].map((name) => raisedOf(name, raised));
            const counts = ["it", "en"].map((code) => {
                choose([code]);
                return [1, 2].map((count) => counted("ended.all", count));
            });
            return [levels.concat(raisedOf("asr")).map(({ level, rule }) => [level, rule]), counts];
        }"""
    )
    none = ["", ""]
    assert levels == [["alarm", "asr_drop"], none, ["alarm", "cps"], none, none]
    assert counts == [
        ["1 chiamata terminata.", "2 chiamate terminate."],
        ["1 call ended.", "2 calls ended."],
    ]
