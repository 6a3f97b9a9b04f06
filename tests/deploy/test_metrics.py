"""``/metrics`` of a running service: what a NOC alerts on, with bounded labels."""

from __future__ import annotations

import asyncio
from typing import Any

from api.cli.child_service import Instance
from tests.harness import Node, metrics, now_ms


async def until(service: Instance, wanted: dict[str, float]) -> dict[str, float]:
    """The metrics, once they have these values."""
    async with asyncio.timeout(10):
        while True:
            found = await metrics(service)
            if all(found.get(name) == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.05)


async def test_trunks_and_nodes_are_measured(service: Instance, node: Node) -> None:
    gw: dict[str, Any] = {"trunk": "gw-metrics", "attempt": 1}
    await node.call("up", **gw)
    await node.say("setup", "down", setup_at=now_ms(), **gw)
    await node.say("failed", "down", sip_code=503, outcome="congestion", **gw)
    await node.say("setup", "moved", setup_at=now_ms(), **gw)
    await node.say("reroute", "moved", trunk='gw "2"\n', attempt=2, sip_code=500)
    label = '{trunk="gw-metrics"}'
    other = '{trunk="gw \\"2\\"\\n"}'
    found = await until(service, {
        f"livestate_trunk_live_calls{label}": 1, f"livestate_trunk_seizures_total{label}": 3,
        f"livestate_trunk_live_calls{other}": 1, f"livestate_trunk_seizures_total{other}": 1,
        'livestate_trunk_failures_total{class="5xx",trunk="gw-metrics"}': 2,
    })  # fmt: skip
    assert found[f'livestate_sip_node_up{{node="{node.name}"}}'] == 1
    assert found[f'livestate_sip_node_live_calls{{node="{node.name}"}}'] == 2
    assert found[f'livestate_sip_node_clock_offset_seconds{{node="{node.name}"}}'] == 0
    assert found["livestate_active_calls_limit"] == 200_000
    assert found["livestate_sse_subscribers_limit"] == 20_000
    assert found["livestate_login_keys_unreadable"] == 0
    assert found["livestate_start_time_seconds"] * 1000 <= now_ms()


async def test_a_flood_of_trunk_names_makes_no_flood_of_series(
    service: Instance, node: Node
) -> None:
    node.hurried = True
    for number in range(300):
        await node.say("setup", f"t{number}", trunk=f"made-up-{number}")
        await node.say("failed", f"t{number}", trunk=f"made-up-{number}", sip_code=404)
    await node.client.flush()
    name = f'livestate_sip_node_live_calls{{node="{node.name}"}}'
    async with asyncio.timeout(10):
        while True:
            found = await metrics(service)
            seized = [v for n, v in found.items() if n.startswith("livestate_trunk_seizures_total")]
            if sum(seized) >= 300 and found.get(name) == 0:
                break
            await asyncio.sleep(0.05)
    assert len(seized) <= 51
    assert found['livestate_trunk_seizures_total{trunk="other"}'] >= 249
