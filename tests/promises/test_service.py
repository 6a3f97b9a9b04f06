"""The whole service between real servers that are killed, and what its dashboards see of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from importlib.resources import files
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis as RedisClient

from api.cli.child_service import Instance
from livestate.devtools.disturbance import Disturbance
from livestate.devtools.publisher import Publisher
from livestate.devtools.replay import Replay, read
from livestate.devtools.simulator import Network, Traffic
from livestate.nats.jetstream import create_at
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, agrees, bearer, metrics, now_ms, snapshot

CAPTURES = files("livestate.devtools") / "captures"


async def all_quiet(publisher: Publisher, stream: Stream, calls: int = 0) -> None:
    await publisher.run()
    await stream.until(lambda s: len(s.dashboard.calls) == calls, 10)


async def test_the_real_capture_ends_as_its_truth_says(world: World) -> None:
    truth = json.loads((CAPTURES / "capture-small.truth.json").read_text())
    frames = read((CAPTURES / "capture-small.jsonl").read_text().splitlines())
    await create_at(world.nats.url)
    service = world.service()
    ends: dict[str, str] = {}
    expected = expected_ends(truth)
    async with service, await Stream.open(service.url, service.token()) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        replay = Replay(frames, now_ms(), speed=20)
        await all_quiet(Publisher(world.nats.url, replay, clock=now_ms), stream)
        await stream.until(lambda s: len(ended_keys(s)) >= len(expected), 30)
        await agrees(service, stream, service.token())
        # A call that came and went between two frames has an end on the stream and nothing else.
        for event in stream.named("diff"):
            for key, over in event.get("ended", {}).items():
                ends[(await one_call(service, key))["call_id"]] = over["outcome"]
        counted = await metrics(service)
    assert ends == expected
    assert counted["livestate_active_calls"] == 0
    assert counted["livestate_calls_refused_by_proxy_total"] == 2
    promise_c(counted)


def ended_keys(stream: Stream) -> set[str]:
    return {key for diff in stream.named("diff") for key in diff.get("ended", {})}


async def one_call(service: Instance, key: str) -> dict[str, Any]:
    async with httpx.AsyncClient(headers=bearer(service.token())) as client:
        answer = await client.get(f"{service.url}{STREAM}/{key}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


OUTCOME_OF_PLAN = {
    "answered_after_reroute": "answered", "not_found": "invalid_number", "ghost": "expired",
    "gw_503": "congestion",
}  # fmt: skip


def expected_ends(truth: Any) -> dict[str, str]:
    """Call-ID → outcome, of the calls that had a dialog, by what SIPp did."""
    return {
        call["call_id"]: OUTCOME_OF_PLAN.get(call["planned"], call["planned"])
        for call in truth["truth"] if call["planned"] != "rejected_by_proxy"
    }  # fmt: skip


def promise_c(counted: dict[str, float]) -> None:
    """received = applied + duplicate + stale + rejected + dropped."""
    received = sum(n for name, n in counted.items() if "events_received_total" in name)
    became = sum(n for name, n in counted.items() if name.startswith("livestate_events_total"))
    assert received == became


async def test_a_disturbed_network_ends_as_an_undisturbed_one(world: World) -> None:
    await create_at(world.nats.url)
    service = world.service()
    async with service, await Stream.open(service.url, service.token()) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        network = Network(
            Traffic(cps=300, calls=600, talk_seconds=0.5, ring_seconds=0.2, measured=0.5), now_ms()
        )
        publisher = Publisher(
            world.nats.url, network, clock=now_ms,
            disturbance=Disturbance(duplicates=0.1, reorder=0.1, losses=0.02),
        )  # fmt: skip
        await publisher.run()
        assert publisher.disturber.lost > 0
        await stream.until(lambda s: not s.dashboard.calls, 10)
        await agrees(service, stream, service.token())
        counted = await metrics(service)
    assert counted['livestate_events_total{result="duplicate"}'] > 0
    assert counted["livestate_node_gaps_total"] > 0
    promise_c(counted)


async def test_a_killed_service_comes_back_where_it_was(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.list()
        for number in range(20):
            await node.call(f"{number}.{number}", company_id=str(number % 3))
        token = service.token("user", company_id="1")
        async with await Stream.open(service.url, token) as before:
            await before.until(lambda s: [*s.states.values()] == ["answered"] * 7)
            await until_flushed(world, service, 20)
            await service.kill()
            await before.over.wait()
        asked = asyncio.create_task(answer_lists(node))
        await service.start()
        await service.until_ready()
        asked.cancel()
        async with await Stream.open(
            service.url, token, headers={"Last-Event-ID": before.dashboard.last_id},
            dashboard=before.dashboard,
        ) as after:  # fmt: skip
            await after.until(lambda s: s.named("heartbeat"))
            assert not after.named("snapshot"), "the old position was good: nothing was lost"
            assert not any(diff["calls"] for diff in after.named("diff")), "and nothing changed"
            await agrees(service, after, token)
            assert len(after.dashboard.calls) == 7
            await node.say("ended", "1.1", company_id="1", outcome="answered")
            await after.until(lambda s: len(s.dashboard.calls) == 6)
            await agrees(service, after, token)


async def test_restored_calls_are_listed_or_marked_before_they_show(
    world: World,
) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.list()
        await node.call("1.1")
        await node.call("2.2")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: [*s.states.values()] == ["answered"] * 2)
        await until_flushed(world, service, 2)
        await service.kill()
        service.environment = {**(service.environment or {}), "LIVESTATE_READY_SECONDS": "3"}
        await service.start()
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await snapshot(service, service.token())
        await node.say("hold", "2.2")  # this one lives, though no list tells it
        await service.until_ready()
        shown = (await snapshot(service, service.token()))["calls"].values()
        assert {call["call_id"]: call.get("unconfirmed") for call in shown} == {
            f"1.1@{node.name}": True, f"2.2@{node.name}": None,
        }  # fmt: skip


async def answer_lists(node: Node) -> None:
    """Answer for the 20 calls of the test above, all up."""
    calls = [{"call_id": f"{n}.{n}@{node.name}", "dialog": f"{n}.{n}", "state": "answered",
              "company_id": str(n % 3)} for n in range(20)]  # fmt: skip

    async def on_asked(_: Any) -> None:
        await node.list(*calls)

    await node.client.subscribe(f"call.resync.{node.name}", cb=on_asked)
    await asyncio.Event().wait()


async def until_flushed(world: World, service: Instance, calls: int) -> None:
    """Until Redis has so many live calls, and the last change of each that the service knows."""
    async with asyncio.timeout(30), RedisClient.from_url(world.redis.url) as redis:
        while await redis.zcard("active_calls") != calls:
            await asyncio.sleep(0.02)
        while (await metrics(service))["livestate_redis_dirty_calls"]:
            await asyncio.sleep(0.02)


async def test_streams_do_not_notice_that_redis_dies_and_comes_back_empty(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        token = service.token()
        await node.list()
        await node.call("1.1")
        async with await Stream.open(service.url, token) as stream:
            await stream.until(lambda s: len(s.dashboard.calls) == 1)
            await world.redis.kill()
            await node.call("2.2")
            await stream.until(lambda s: len(s.dashboard.calls) == 2, 3)
            await world.redis.restart(empty=True)
            await node.call("3.3")
            await stream.until(lambda s: len(s.dashboard.calls) == 3, 3)
            await until_flushed(world, service, 3)
            assert len([e for e in stream.events if e.name == "snapshot"]) == 1


async def test_a_dead_nats_is_seen_as_stale_and_what_was_lost_comes_back(world: World) -> None:
    await create_at(world.nats.url)
    service = world.service(NODE_STALE_SECONDS="4")
    async with service:
        token = service.token()
        network = Network(Traffic(cps=20, talk_seconds=4, measured=0.5), now_ms())
        publisher = Publisher(world.nats.url, network, clock=now_ms)
        publishing = asyncio.create_task(publisher.run())
        async with await Stream.open(service.url, token) as stream:
            await stream.until(lambda s: len(s.dashboard.calls) > 10, 10)
            await stream.until(lambda s: s.dashboard.source == "live", 10)
            await world.nats.kill()
            await stream.until(lambda s: s.dashboard.source == "stale", 10)
            await world.nats.start()
            await stream.until(lambda s: s.dashboard.source == "live", 10)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            # The nodes' own lists: what is shown is what is up, whatever was lost meanwhile.
            rest = Publisher(world.nats.url, _Lists(network), clock=now_ms)
            await rest.run()
            await asyncio.sleep(0.5)
            await agrees(service, stream, token)
            shown = Counter(one["node"] for one in stream.dashboard.calls.values())
            up = Counter(node for node, _ in network.truth())
            assert shown == up


class _Lists:
    """Nodes that only tell their lists."""

    done = True

    def __init__(self, network: Network) -> None:
        self.nodes = network.nodes
        self.live = network.live
        self.listing = network.listing

    def next_at(self) -> int:
        return 0

    def due(self, now: int) -> Any:
        return iter(())


async def test_a_node_that_falls_silent_is_not_shown_as_live(world: World) -> None:
    service = world.service(NODE_STALE_SECONDS="2")
    async with service, await Node.connect(world.nats.url) as node:
        await node.call("1.1")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: s.dashboard.source == "live")
            node.silence()
            await stream.until(lambda s: s.dashboard.source == "stale", 5)
            assert stream.named("heartbeat")[-1]["stale_since"] <= now_ms() - 2000
            assert len(stream.dashboard.calls) == 1
            async with httpx.AsyncClient() as client:
                status = (await client.get(f"{service.admin_url}/statusz")).json()
            assert status["nodes"][node.name]["stale"] is True


async def test_no_event_at_all_is_stale_not_quiet(world: World) -> None:
    service = world.service()
    async with service, await Stream.open(service.url, service.token()) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        await stream.until(lambda s: s.dashboard.source == "stale", 3)


async def test_a_change_is_encoded_once_a_scope_however_many_watch(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1", company_id="101")
        streams = []
        for number in range(60):
            role = {"role": "user", "company_id": "101"} if number % 2 else {"role": "noc"}
            login = service.token(**role, subject=f"wall-{number}")
            streams.append(await Stream.open(service.url, login))
        for stream in streams:
            await stream.until(lambda s: "answered" in s.states.values() and s.named("heartbeat"))
        before = await metrics(service)
        for phase in ("hold", "resume") * 5:
            await node.say(phase, "1.1", company_id="101")
            state = "held" if phase == "hold" else "answered"
            for stream in streams:
                await stream.until(lambda s, state=state: state in s.states.values())
        after = await metrics(service)
        frames = "livestate_sse_frames_encoded_total"
        assert after[frames] - before[frames] == 20  # ten changes, two scopes
        snapshots = "livestate_sse_snapshots_built_total"
        assert before[snapshots] <= 10
        for stream in streams:
            await stream.close()
