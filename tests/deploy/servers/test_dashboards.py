"""Each query of the committed dashboards, run by a real Prometheus that scrapes a real service with
calls on it: it is PromQL, and it finds something."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from docs import dashboards, release
from livestate.devtools.servers import NatsServer, Valkey
from livestate.nats.jetstream import create_at
from tests.deploy.servers.prometheus import Prometheus
from tests.harness import Node, Stream, cdr, now_ms, publish_cdrs

FOLDER: Final = Path(__file__).parents[3] / "deploy/grafana/dashboards"


def panels() -> list[tuple[str, str, str]]:
    """(dashboard, panel, query) of every target."""
    return [
        (path.stem, panel["title"], target["expr"])
        for path in sorted(FOLDER.glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def resolved(query: str) -> str:
    """As Grafana sends it: with its variables filled in."""
    return query.replace("$instance", ".*")


def test_the_dashboards_are_those_of_the_table_and_overlap_nowhere() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == dashboards.DASHBOARDS.keys()
    for path in FOLDER.glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
            assert not cells & taken, panel["title"]
            taken |= cells


async def test_every_query_finds_something(tmp_path: Path) -> None:
    from api.cli.child_service import Instance

    async with contextlib.AsyncExitStack() as stack:
        nats = await stack.enter_async_context(NatsServer())
        redis = await stack.enter_async_context(Valkey())
        await create_at(nats.url)
        own = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1"}
        service = await stack.enter_async_context(Instance(tmp_path, own))
        prometheus = await stack.enter_async_context(
            Prometheus({"livestate": [service.admin_port]})
        )
        node = await stack.enter_async_context(await Node.connect(nats.url))
        await stack.enter_async_context(await Stream.open(service.url, service.token()))
        silent: dict[str, str] = {}
        async with asyncio.timeout(60):
            while True:
                await traffic(node)
                silent = {
                    f"{where}: {title}": query for where, title, query in panels()
                    if not await prometheus.query(resolved(query))
                }  # fmt: skip
                if not silent:
                    break
                await asyncio.sleep(1)
        for broken in ('sum(livestate_calls{job="livestate"', "rate(livestate_calls)"):
            with pytest.raises(AssertionError):
                await prometheus.query(broken)
        assert await prometheus.query("livestate_no_such_metric") == []


async def traffic(node: Node) -> None:
    """A call of each kind that a panel shows."""
    for number in range(3):
        dialog = f"d{number}-{now_ms()}"
        up: dict[str, Any] = {"trunk": "gw-a", "setup_at": now_ms() - 900, "answered_at": now_ms()}
        await node.say("setup", dialog, trunk="gw-a", setup_at=now_ms() - 900)
        await node.say("ringing", dialog, trunk="gw-a", progress_at=now_ms() - 500)
        await node.say("answered", dialog, **up)
        if number:
            await node.say("ended", dialog, ended_at=now_ms() + 100, **up)
    bad = f"bad-{now_ms()}"
    await node.say("setup", bad, trunk="gw-b", setup_at=now_ms())
    await node.say("failed", bad, trunk="gw-b", sip_code=503, ended_at=now_ms())
    await node.client.publish("call.events.setup", b"{")  # one that is rejected
    written = cdr(node, bad, outcome="congestion", sip_code=503) | {"phase": "failed"}
    await publish_cdrs(node.client, json.dumps(written).encode())


async def test_no_query_names_a_metric_that_the_service_does_not_have() -> None:
    known = release.metrics(await release.scrape())
    for where, title, query in panels():
        for name in re.findall(r"livestate_\w+", query):
            assert name in known, f"{where}: {title} asks for {name}"
