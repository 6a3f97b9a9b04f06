"""The running service and nodes that lie, or seem to: what the page shows, and where an engineer
looks."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from api.cli.child_service import Instance
from tests.conftest import World
from tests.harness import Node, Stream, agrees, metrics, now_ms


async def status(service: Instance) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{service.admin_url}/statusz")).json()
        return found


async def answer(node: Node) -> None:
    """As a bridge does: a list when it is asked for one."""
    up: dict[str, dict[str, Any]] = {}
    say = node.say

    async def say_and_remember(phase: str, dialog: str, /, **facts: Any) -> None:
        await say(phase, dialog, **facts)
        state = {"setup": "trying", "hold": "held"}.get(phase, phase)
        up[dialog] = {"call_id": f"{dialog}@{node.name}", "dialog": dialog, "state": state}
        if phase in ("ended", "failed"):
            del up[dialog]

    async def asked(_: object) -> None:
        if not node._silent:
            await node.list(*up.values())

    node.say = say_and_remember  # type: ignore[method-assign]
    await node.client.subscribe(f"call.resync.{node.name}", cb=asked)
    await node.client.flush()


def last_beat(stream: Stream) -> dict[str, Any]:
    beats = stream.named("heartbeat")
    return beats[-1] if beats else {}


@pytest.mark.slow
async def test_two_nodes_with_one_name_show_and_hide_no_call(
    world: World,
) -> None:
    service = world.service()
    name = "sbc1.example.com"
    async with (
        service,
        await Node.connect(world.nats.url, name) as one,
        await Node.connect(world.nats.url, name) as two,
    ):
        two.epoch = one.epoch + 60_000
        two.silence()
        for node in (one, two):
            await answer(node)
        await service.until_ready()
        async with (
            await Stream.open(service.url, service.token()) as stream,
            await Stream.open(service.url, service.token("user", company_id="101")) as tenant,
        ):
            await one.call("1.1", company_id="101")
            await stream.until(lambda s: len(s.states) == 1)
            two._silent = False
            two._beating = asyncio.create_task(two._beat())
            await two.call("2.2")
            await stream.until(lambda s: last_beat(s).get("stale_reason") == "contested", 10)
            assert last_beat(stream)["nodes"] == [{"node": name, "what": "contested"}]
            await one.call("3.3", company_id="101")
            await two.call("4.4")
            await stream.until(lambda s: list(s.states.values()) == ["answered"] * 4)
            await tenant.until(lambda s: last_beat(s).get("stale_reason") == "contested", 10)
            assert "nodes" not in last_beat(tenant)
            await agrees(service, stream, service.token())
            report = await status(service)
            assert report["nodes"][name]["contested"]
            assert report["troubles"][0] | {"reason": ""} == {
                "node": name, "what": "contested", "reason": "", "ahead_ms": 0
            }  # fmt: skip
            assert (await metrics(service))["livestate_nodes_contested"] == 1
            two.silence()
            await stream.until(lambda s: last_beat(s)["source"] == "live", 25)
            await stream.until(lambda s: len(s.states) == 2, 10)
            assert "nodes" not in last_beat(stream)


@pytest.mark.slow
async def test_a_forged_heartbeat_leaves_the_page_live_with_its_calls(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url, "kam-1") as node:
        await answer(node)
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            for number in range(10):
                await node.call(f"{number}.1")
            await stream.until(lambda s: list(s.states.values()) == ["answered"] * 10)
            for lie in ({"epoch": 2**53 - 1}, {"seq": 2**53 - 1}, {"epoch": now_ms() + 1}):
                await node.publish("heartbeat", node.envelope() | lie)
            await node.call("11.1")
            await node.say("ended", "1.1")
            await asyncio.sleep(8)
            assert last_beat(stream)["source"] == "live"
            assert list(stream.states.values()) == ["answered"] * 10
            assert not any(call.get("unconfirmed") for call in stream.dashboard.calls.values())
            assert f"11.1@{node.name}" in stream.states


@pytest.mark.slow
async def test_a_node_with_overflowed_numbers_is_refused_not_missing(world: World) -> None:
    service = world.service()
    async with (
        service,
        await Node.connect(world.nats.url) as good,
        await Node.connect(world.nats.url) as over,
    ):
        await service.until_ready()
        over.seq = -(2**31)
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: last_beat(s).get("stale_reason") == "refused", 15)
            assert {"node": over.name, "what": "refused"} in last_beat(stream)["nodes"]
            (trouble,) = (await status(service))["troubles"]
            assert "seq" in trouble["reason"]
            assert (await metrics(service))["livestate_nodes_refused"] == 1
            await good.call("1.1")
            await stream.until(lambda s: list(s.states.values()) == ["answered"])
            over.seq = 1
            await stream.until(lambda s: last_beat(s)["source"] == "live", 10)


async def test_a_clock_an_hour_ahead_is_named_and_makes_no_hour_of_a_call(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            envelope = node.envelope
            at = now_ms()
            await node.say("setup", "1.1", setup_at=at)
            await node.say("answered", "1.1", setup_at=at, answered_at=at)
            await stream.until(lambda s: list(s.states.values()) == ["answered"])
            node.envelope = lambda: envelope() | {"ts": now_ms() + 3_600_000}  # type: ignore[method-assign]
            await stream.until(lambda s: last_beat(s).get("nodes"), 10)
            (trouble,) = last_beat(stream)["nodes"]
            assert (trouble["node"], trouble["what"]) == (node.name, "clock")
            assert abs(trouble["ahead_ms"] - 3_600_000) < 1_000
            assert last_beat(stream)["source"] == "live"
            await node.say("ended", "1.1", setup_at=at, answered_at=at, outcome="answered",
                           ended_at=now_ms() + 3_600_000)  # fmt: skip
            await stream.until(lambda s: not s.states)
            (over,) = stream.named("diff")[-1]["ended"].values()
            assert abs(over["ended_at"] - now_ms()) < 5_000
            await stream.until(lambda s: s.named("kpi")[-1]["completed"] == 1, 6)
            assert stream.named("kpi")[-1]["acd_seconds"] < 30
            assert (await metrics(service))["livestate_nodes_clock_off"] == 1
            # In 1970 it is still a node, with its calls.
            node.envelope = lambda: envelope() | {"ts": 5_000}  # type: ignore[method-assign]
            await node.say("setup", "2.2", setup_at=4_000)
            await node.say("answered", "2.2", setup_at=4_000, answered_at=5_000)
            await stream.until(lambda s: list(s.states.values()) == ["answered"])
            sent = orjson.loads(orjson.dumps(stream.dashboard.calls))
            assert all(call.get("answered_at", now_ms()) > at - 5_000 for call in sent.values())
            figures = await metrics(service)
            assert not [name for name, value in figures.items()
                        if name.startswith("livestate_events_rejected") and value]  # fmt: skip
