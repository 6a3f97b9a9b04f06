"""The running service and a node whose lists are refused: the page is not *live*, no call ends,
and the reason is where an engineer looks."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.conftest import World
from tests.harness import Node, Stream, agrees, metrics

REFUSED = [{"call_id": "c", "dialog": f"{n}.1", "state": "answered"} for n in range(201)]


@pytest.mark.slow
async def test_a_node_whose_lists_are_all_refused_is_not_live(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            await node.call("1.1")
            await node.list({"call_id": f"1.1@{node.name}", "dialog": "1.1", "state": "answered"})
            await stream.until(lambda s: s.named("heartbeat")[-1:] and s.states)
            for _ in range(10):  # what a bridge does that was asked again
                await node.list(*REFUSED)
                await asyncio.sleep(0.8)
            await stream.until(lambda s: s.named("heartbeat")[-1]["source"] == "stale")
            assert stream.named("heartbeat")[-1]["stale_reason"] == "lists"
            async with httpx.AsyncClient() as client:
                status = (await client.get(f"{service.admin_url}/statusz")).json()
            trouble = status["nodes"][node.name]["list_trouble"]
            assert "at most 200" in trouble["reason"]
            assert (trouble["times"], status["source_stale_reason"]) == (10, "lists")
            figures = await metrics(service)
            assert figures["livestate_nodes_without_list"] == 1
            assert figures["livestate_node_lists_failed_total"] == 10
            assert figures['livestate_events_rejected_total{reason="too_long"}'] == 10
            assert list(stream.states.values()) == ["answered"]

            await node.list({"call_id": f"1.1@{node.name}", "dialog": "1.1", "state": "answered"})
            await stream.until(lambda s: s.named("heartbeat")[-1]["source"] == "live", 10)
            assert list(stream.states.values()) == ["answered"]


async def test_one_bad_item_leaves_the_page_live_and_is_counted(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            for dialog in ("1.1", "2.2", "3.3"):
                await node.call(dialog)
            good = {"call_id": f"1.1@{node.name}", "dialog": "1.1", "state": "answered"}
            await node.list(good, good | {"dialog": "2.2", "call_id": "x" * 600})
            await stream.until(lambda s: len(s.states) == 2)
            assert f"3.3@{node.name}" not in stream.states
            await agrees(service, stream, service.token())
            figures = await metrics(service)
            assert figures['livestate_listed_calls_rejected_total{reason="too_long"}'] == 1
            assert figures["livestate_calls_lost_total"] == 1
            await stream.until(lambda s: s.named("heartbeat")[-1]["source"] == "live", 10)
