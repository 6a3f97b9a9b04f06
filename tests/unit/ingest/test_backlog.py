"""Messages that wait: each node gets its turn, and a node that floods loses its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from api.cli.child_service import Instance
from livestate.ingest.backlog import Backlog, claimed_node
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from tests.calls import START
from tests.conftest import World
from tests.harness import Node, Stream, metrics
from tests.speakers import Speaker


def message(node: str, number: int, size: int = 0) -> bytes:
    return json.dumps({"node": node, "n": number, "x": "x" * size}).encode()


class Turns:
    """A backlog whose clock says that each message took a millisecond."""

    def __init__(self, **bounds: int) -> None:
        self.taken: list[tuple[str, int]] = []
        self.dropped: list[str | None] = []
        self.waited: list[int] = []  # ms
        self._now = 0.0
        self.backlog = Backlog(
            self._take, lambda subject, data: claimed_node(data),
            lambda messages, node: self.dropped.append(node), clock=lambda: self._now, **bounds,
        )  # fmt: skip

    def _take(self, subject: str, data: bytes, waited_ms: int) -> None:
        self.waited.append(waited_ms)
        self._now += 0.001
        message = json.loads(data)
        self.taken.append((message["node"], message["n"]))

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not wanted():
                await asyncio.sleep(0)


async def test_a_node_does_not_wait_behind_another_nodes_flood() -> None:
    turns = Turns()
    turns.backlog.begin()
    for number in range(1_000):
        turns.backlog.add("", message("loud", number))
    for number in range(3):
        turns.backlog.add("", message("quiet", number))
    await turns.until(lambda: not turns.backlog.active)
    where = [turns.taken.index(("quiet", number)) for number in range(3)]
    assert where == [1, 3, 5]
    assert [n for node, n in turns.taken if node == "loud"] == list(range(1_000))
    assert (turns.backlog.messages, turns.backlog.bytes) == (0, 0)


async def test_a_message_that_comes_meanwhile_keeps_its_place_behind_its_nodes() -> None:
    turns = Turns()
    turns.backlog.begin()
    for number in range(20):
        turns.backlog.add("", message("n1", number))
    await asyncio.sleep(0)
    turns.backlog.add("", message("n1", 20))
    await turns.until(lambda: not turns.backlog.active)
    assert [n for _, n in turns.taken] == list(range(21))


async def test_a_message_says_how_long_it_has_waited() -> None:
    turns = Turns()
    turns.backlog.begin()
    for number in range(3):
        turns.backlog.add("", message("n1", number))
    await turns.until(lambda: not turns.backlog.active)
    assert turns.waited == [0, 1, 2]  # each one for as long as those before it took


async def test_a_wait_makes_no_clock_wrong_and_loses_no_time_of_a_call() -> None:
    now = START / 1_000
    clocks, table = NodeClocks(), ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(
        table, Nodes(stale_after=6_000), (), clock=lambda: int(now * 1_000), clocks=clocks
    )
    backlog = Backlog(pipeline.handle, pipeline.node_of, pipeline.on_dropped, clock=lambda: now)
    node = Speaker(START // 1_000)
    backlog.hold()
    for seconds in range(40):  # a start, a list of 300,000 dialogs, a process that was stopped
        now += 1
        node.seq += 1
        at = int(now * 1_000)
        call = {"phase": "setup", "dialog": f"{seconds}.1", "call_id": f"{seconds}", "setup_at": at}
        beat = node.envelope(at) | {"phase": "heartbeat"}
        backlog.add("call.events.setup", json.dumps(node.envelope(at) | call).encode())
        backlog.add("call.events.heartbeat", json.dumps(beat).encode())
    backlog.release()
    async with asyncio.timeout(10):
        while backlog.active:
            await asyncio.sleep(0)
    assert (len(table.calls), clocks.off) == (40, {})
    assert all(call.setup_at is not None for call in table.calls.values())


async def test_a_full_backlog_drops_what_the_flood_sends() -> None:
    turns = Turns(max_bytes=100_000)
    turns.backlog.begin()
    for number in range(1_000):
        turns.backlog.add("", message("loud", number, 1_000))
    assert 0 < turns.backlog.bytes <= 100_000
    assert set(turns.dropped) == {"loud"}
    before = len(turns.dropped)
    turns.backlog.add("", message("quiet", 1, 1_000))
    assert len(turns.dropped) == before
    await turns.until(lambda: not turns.backlog.active)
    assert ("quiet", 1) in turns.taken


async def test_a_full_backlog_of_many_names_is_bounded() -> None:
    turns = Turns(max_bytes=100_000, max_messages=300)
    turns.backlog.begin()
    for number in range(5_000):
        turns.backlog.add("", message(f"made-up-{number}", 1))
    assert turns.backlog.messages <= 2 * 300
    assert turns.backlog.bytes <= 2 * 100_000
    turns.backlog.clear()
    assert turns.backlog.messages == 0


async def test_a_message_that_fails_does_not_stop_the_others() -> None:
    taken: list[bytes] = []
    failed: list[Any] = []

    def take(subject: str, data: bytes, waited_ms: int) -> None:
        if data == b"bad":
            raise ValueError("a defect")
        taken.append(data)

    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    backlog = Backlog(take, lambda subject, data: "", lambda messages, node: None)
    backlog.begin()
    for data in (b"one", b"bad", b"two"):
        backlog.add("", data)
    async with asyncio.timeout(10):
        while backlog.active:
            await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert taken == [b"one", b"two"]
    assert len(failed) == 1


FLOOD = """
import asyncio, json, sys
from nats import connect
from livestate.process.clock import now_ms

async def main():
    url, number = sys.argv[1], int(sys.argv[2])
    client = await connect(url)
    now = now_ms()
    parts = -(-number // 200)
    messages = []
    for part in range(parts):
        calls = [{"dialog": f"{n}.1", "call_id": f"c{n}@big", "state": "answered",
                  "company_id": f"co-{n % 40}", "trunk": "gw-1", "from": f"+39021234{n}",
                  "to": "+3902999", "setup_at": now, "answered_at": now}
                 for n in range(part * 200, part * 200 + 200)]
        messages.append(json.dumps({"v": 1, "phase": "sync", "node": "flood", "epoch": 1, "seq": 0,
                                    "ts": now, "sync_id": "1", "part": part + 1, "parts": parts,
                                    "calls": calls}).encode())
    print("ready", flush=True)
    sys.stdin.readline()
    for one in messages:
        await client.publish("call.events.sync", one)
    await client.flush()
    await client.close()

asyncio.run(main())
"""


async def test_a_nodes_event_does_not_wait_for_another_nodes_long_list(world: World) -> None:
    """Delays of others are a small part of the time that the list takes: a ratio in one run."""
    loop = asyncio.get_running_loop()
    async with world.service() as service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        token = service.token("user", company_id="victim", subject="victim")
        async with await Stream.open(service.url, token) as stream:
            await node.call("1.1", company_id="victim")
            await stream.until(lambda s: "answered" in s.states.values(), 20)
            flood = await asyncio.create_subprocess_exec(
                sys.executable, "-c", FLOOD, world.nats.url, "60000",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert flood.stdin
            assert flood.stdout
            await flood.stdout.readline()
            began = loop.time()
            flood.stdin.write(b"\n")
            done = asyncio.ensure_future(until_listed(service, 60_000))
            delays = []
            while not done.done():
                phase, state = (("hold", "held"), ("resume", "answered"))[len(delays) % 2]
                asked = loop.time()
                await node.say(phase, "1.1", company_id="victim")
                await stream.until(lambda s, state=state: state in s.states.values(), 60)  # type: ignore[misc]
                delays.append(loop.time() - asked)
            took = await done - began
            await flood.wait()
    assert max(delays) < took / 3, (max(delays), took)


async def until_listed(service: Instance, number: int) -> float:
    """When the flood's list is folded."""
    async with asyncio.timeout(90):
        while (await metrics(service))["livestate_active_calls"] < number:
            await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time()
