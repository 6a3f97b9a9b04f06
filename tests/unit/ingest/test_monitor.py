"""The feed monitor: when it expires unconfirmed calls. The test calls its ticks, so that minutes
cost nothing; what it says on NATS comes back at once, as it would."""

from __future__ import annotations

import asyncio

import orjson

from api.stream.encoder import SseEncoder
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.ingest.consumer import LOST_SUBJECT
from livestate.ingest.monitor import FeedMonitor
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import UNCONFIRMED_AFTER_MS, Nodes
from livestate.state.nodes.trouble import troubles
from tests.calls import START, event

REAP_MS = 120_000


class Air:
    """The feed of an instance that receives only its own messages."""

    def __init__(self) -> None:
        self.connected = True
        self.now = 0
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.pipeline = Pipeline(self.table, self.nodes, (), clock=lambda: self.now)
        hub = Hub(self.table, SseEncoder(lambda: self.now), rate=CommitRate(),
                  heartbeat_seconds=5.0, loop=asyncio.get_running_loop())  # fmt: skip
        self.watch = FeedMonitor(
            self.table, self.nodes, hub, self, lambda keys: None, self.pipeline.mark_unconfirmed,
            self.pipeline.settle,
            lambda now: troubles(self.nodes, NodeClocks(), self.pipeline.refusals, now),
            clock=lambda: self.now, ended_ms=300_000, ended_calls=100_000, reap_ms=REAP_MS,
        )  # fmt: skip

    async def request_list(self, node: str) -> None: ...
    async def resubscribe(self) -> None: ...
    def renew(self) -> None: ...

    async def publish_lost(self, call: Call, seq: int, epoch: int, now: int) -> None:
        lost = {"v": 1, "phase": "lost", "node": call.node, "epoch": epoch, "seq": seq,
                "ts": START, "call_id": call.call_id, "dialog": call.dialog}  # fmt: skip
        self.pipeline.handle(LOST_SUBJECT, orjson.dumps(lost))

    def begin(self, calls: int) -> None:
        for seq in range(1, calls + 1):
            self.nodes.observe("n1", 1, seq, self.now, numbered=True)
            self.table.apply(event("answered", seq, dialog=f"{seq}.1", call_id=f"c{seq}"), self.now)

    async def until(self, now: int) -> None:
        while self.now < now:
            self.now += 500
            await self.watch.tick(self.now)


async def test_however_many_calls_a_dead_node_has_they_are_given_up_in_time() -> None:
    air = Air()
    air.begin(8_000)
    await air.until(UNCONFIRMED_AFTER_MS + REAP_MS - 500)
    assert air.table.live == 8_000
    await air.until(UNCONFIRMED_AFTER_MS + REAP_MS + 5_000)
    assert air.table.live == 0


async def test_a_disconnected_service_expires_no_call() -> None:
    air = Air()
    air.begin(1)
    await air.until(20_000)
    (call,) = air.table.calls.values()
    assert call.unconfirmed
    air.connected = False
    await air.until(300_000)
    air.connected = True
    await air.until(300_000 + UNCONFIRMED_AFTER_MS)
    assert air.table.live == 1
    await air.until(300_000 + UNCONFIRMED_AFTER_MS + 1_000)
    assert air.table.live == 0
