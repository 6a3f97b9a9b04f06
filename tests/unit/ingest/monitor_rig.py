"""A feed monitor on a loop whose clock the test moves, with what it asked, marked and published."""

from __future__ import annotations

from livestate.ingest.monitor import FeedMonitor
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble
from livestate.state.position import Position
from livestate.state.source import Source
from tests.calls import event

STARTED = 1_000_000
REAP_MS = 100_000


class Rig:
    """A monitor with a feed and a fan-out that write down what they are asked for."""

    def __init__(self) -> None:
        self.connected = True
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.source = Source()
        self.found: tuple[Trouble, ...] = ()
        self.listed: list[str] = []
        self.lost: list[tuple[str, int, int, int]] = []
        self.marked: list[tuple[str, Position | None]] = []
        self.settled: list[tuple[str, int]] = []
        self.forgotten: list[list[str]] = []
        self.evicted: list[list[str]] = []
        self.resubscribed = self.renewed = self.unused = 0
        self.monitor = FeedMonitor(
            self.table, self.nodes, self, self, self.forgotten.append,
            lambda node, up_to: self.marked.append((node, up_to)),
            lambda node, held: self.settled.append((node.name, held.seq)),
            lambda now: self.found, clock=lambda: STARTED, ended_ms=300_000, ended_calls=100_000,
            reap_ms=REAP_MS, on_evicted=self.evicted.append,
        )  # fmt: skip

    # -- Feed and Fanout -----------------------------------------------------------------------

    async def request_list(self, node: str) -> None:
        self.listed.append(node)

    async def publish_lost(self, call: Call, seq: int, epoch: int, now: int) -> None:
        self.lost.append((call.dialog, seq, epoch, now))

    async def resubscribe(self) -> None:
        self.resubscribed += 1

    def renew(self) -> None:
        self.renewed += 1

    def update_source(self, source: Source, now: int) -> None:
        self.source, self.updated_at = source, now

    def evict_unused(self) -> None:
        self.unused += 1

    # -- steps ---------------------------------------------------------------------------------

    def hear(self, *names: str, at: int = 0, seq: int = 1) -> None:
        for name in names or ("n1",):
            self.nodes.observe(name, 1, seq, STARTED + at, numbered=False)

    def call(self, number: int, phase: str = "answered", at: int = 0) -> None:
        one = event(phase, number, dialog=f"{number}.1", call_id=f"c{number}")
        self.table.apply(one, STARTED + at)

    async def tick(self, at: int) -> None:
        await self.monitor.tick(STARTED + at)
