"""The page in Firefox ESR, where it may differ: it gives up a stream when a connection is refused,
unpacks gzip by its own code, and has its own mind about Secure cookies without TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.cli.child_service import Instance
from tests.conftest import World
from tests.firefox.browser import Firefox, Tab
from tests.harness import STREAM, Node, metrics, snapshot

WORD = "document.getElementById('status-word').textContent"
ROWS = "document.querySelectorAll('.call:not([data-state=ended])').length"
ROLE = "livestate.state().tab"


async def test_firefox_folds_what_is_packed_and_comes_back_after_a_kill(
    world: World, program: Callable[[str], str]
) -> None:
    service = world.service()
    async with (
        Firefox(program("firefox-esr")) as firefox,
        service,
        await Node.connect(world.nats.url) as node,
    ):
        await service.until_ready()
        for number in range(5):
            await node.call(f"{number}.1", company_id="101", from_="<b>x</b>")
        tab = await firefox.open(f"{service.url}/login#{service.token()}")
        await tab.until("location.pathname", "/live-calls")
        await shows(tab, 5)
        assert await tab.find("document.querySelectorAll('.call b').length") == 0
        packed = await tab.find(f"""fetch("{STREAM}").then((answer) => {{
            answer.body.cancel();
            return answer.headers.get("content-encoding");
        }})""")
        assert packed == "gzip"  # so is what its EventSource gets: that page is live

        other = await firefox.open(f"{service.url}/live-calls")
        await shows(other, 5)
        assert [await one.find(ROLE) for one in (tab, other)] == ["leads", "follows"]
        await tab.close()
        await other.until(ROLE, "leads")

        for turn in range(2):
            await service.kill()
            await other.until(WORD, "disconnected")
            await service.start()
            await shows(other, 5 + turn, 15)
            await node.call(f"9{turn}.1", company_id="101")
            await shows(other, 6 + turn)
            await written(service)
        current = await snapshot(service, service.token())
        await other.until("livestate.state().id", current["id"])
        assert await other.find("livestate.calls()") == current["calls"]
        assert await other.find("livestate.state().divergences") == 0


async def written(service: Instance) -> None:
    """Redis has it. After a kill the lease of the one before ends first: docs/promises.md."""
    async with asyncio.timeout(15):
        while True:
            values = await metrics(service)
            if values["livestate_redis_writer"] and not values["livestate_redis_dirty_calls"]:
                return
            await asyncio.sleep(0.1)


async def shows(tab: Tab, rows: int, seconds: float = 30) -> None:
    await tab.until(WORD, "live", seconds)
    await tab.until(ROWS, rows)
