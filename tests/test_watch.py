"""The watch: when it gives up what nobody vouches for. Its turns are taken by hand, so that minutes
cost nothing; what it says on NATS comes back at once, as it would."""

from __future__ import annotations

import asyncio

import orjson

from api.wire import SseWire
from livestate.active_calls import ActiveCalls
from livestate.call import Call
from livestate.nodes import DOUBT_AFTER_MS, Nodes
from livestate.runtime.channel import Pace
from livestate.runtime.consumer import LOST_SUBJECT
from livestate.runtime.hub import Hub
from livestate.runtime.pipeline import Pipeline
from livestate.runtime.watch import Watch
from tests.calls import START, event

REAP_MS = 120_000


class Air:
    """The feed of an instance that hears nobody but itself."""

    def __init__(self) -> None:
        self.connected = True
        self.now = 0
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.pipeline = Pipeline(self.table, self.nodes, (), clock=lambda: self.now)
        hub = Hub(self.table, SseWire(lambda: self.now), pace=Pace(), heartbeat_seconds=5.0,
                  loop=asyncio.get_running_loop())  # fmt: skip
        self.watch = Watch(
            self.table, self.nodes, hub, self, lambda keys: None, self.pipeline.doubt,
            clock=lambda: self.now, ended_ms=300_000, ended_calls=100_000, reap_ms=REAP_MS,
        )  # fmt: skip

    async def ask_for_list(self, node: str) -> None: ...
    async def listen_again(self) -> None: ...
    def renew(self) -> None: ...

    async def give_up(self, call: Call, seq: int, epoch: int, now: int) -> None:
        told = {"v": 1, "phase": "lost", "node": call.node, "epoch": epoch, "seq": seq,
                "ts": START, "call_id": call.call_id, "dialog": call.dialog}  # fmt: skip
        self.pipeline.take(LOST_SUBJECT, orjson.dumps(told))

    def begin(self, calls: int) -> None:
        for seq in range(1, calls + 1):
            self.nodes.hear("n1", 1, seq, self.now, numbered=True)
            self.table.apply(event("answered", seq, dialog=f"{seq}.1", call_id=f"c{seq}"), self.now)

    async def until(self, now: int) -> None:
        while self.now < now:
            self.now += 500
            await self.watch.turn(self.now)


async def test_however_many_calls_a_dead_node_has_they_are_given_up_in_time() -> None:
    air = Air()
    air.begin(8_000)
    await air.until(DOUBT_AFTER_MS + REAP_MS - 500)
    assert air.table.live == 8_000
    await air.until(DOUBT_AFTER_MS + REAP_MS + 5_000)
    assert air.table.live == 0


async def test_who_is_cut_off_gives_nothing_up_nor_in_the_moment_of_being_back() -> None:
    air = Air()
    air.begin(1)
    await air.until(20_000)
    (call,) = air.table.calls.values()
    assert call.unconfirmed
    air.connected = False
    await air.until(300_000)
    air.connected = True
    await air.until(300_000 + DOUBT_AFTER_MS)
    assert air.table.live == 1
    await air.until(300_000 + DOUBT_AFTER_MS + 1_000)
    assert air.table.live == 0
