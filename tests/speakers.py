"""Nodes that tell the truth, under one name or several, and a service that hears them; time is the
test's. What each message says is built by hand: nothing of the code under test is used for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from livestate.ingest.pipeline import Pipeline
from livestate.ingest.sinks import Sink
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from tests.calls import START

TURN_MS = 500


@dataclass
class Speaker:
    """A SIP node and its bridge: numbers its events, beats every 2 s, lists when it is asked."""

    epoch: int
    name: str = "n1"
    seq: int = 0
    mark: str = "a"  # in its dialogs' names
    lists_when_asked: bool = True
    silent: bool = False
    clock_off: int = 0
    beat_in: int = 0  # ms until its next heartbeat
    up: dict[str, str] = field(default_factory=dict)  # dialog → state
    lists: int = 0

    def envelope(self, now: int) -> dict[str, Any]:
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": self.seq,
                "ts": now + self.clock_off}  # fmt: skip

    def sync(self, now: int) -> dict[str, Any]:
        self.lists += 1
        calls = [{"dialog": dialog, "call_id": f"{dialog}@{self.mark}", "state": state}
                 for dialog, state in self.up.items()]  # fmt: skip
        return self.envelope(now) | {"phase": "sync", "sync_id": f"{self.mark}{self.lists}",
                                     "part": 1, "parts": 1, "calls": calls}  # fmt: skip


class World:
    """The service's fold, fed by speakers; ``run`` lets time pass."""

    def __init__(self, *speakers: Speaker, clocks: NodeClocks | None = None,
                 sinks: Iterable[Sink] = ()) -> None:  # fmt: skip
        self.now = START
        self.speakers = list(speakers)
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.nodes = Nodes(stale_after=6_000)
        self.pipeline = Pipeline(self.table, self.nodes, sinks, clock=lambda: self.now,
                                 clocks=clocks)  # fmt: skip
        self.hidden: list[tuple[int, str]] = []  # when a call that was up was not shown
        self.asked = 0

    @property
    def shown(self) -> dict[str, str]:
        return {call.dialog: call.state for call in self.table.calls.values() if call.live}

    @property
    def sure(self) -> set[str]:
        return {call.dialog for call in self.table.calls.values()
                if call.live and not call.unconfirmed}  # fmt: skip

    @property
    def truth(self) -> dict[str, str]:
        return {dialog: state for one in self.speakers if not one.silent
                for dialog, state in one.up.items()}  # fmt: skip

    def send(self, message: dict[str, Any]) -> None:
        self.pipeline.handle(f"call.events.{message['phase']}", orjson.dumps(message))
        assert self.pipeline.counters.balanced

    def say(self, one: Speaker, phase: str, dialog: str, **facts: Any) -> None:
        one.seq += 1
        after = {"setup": "trying", "ringing": "ringing", "answered": "answered", "hold": "held"}
        if phase in ("ended", "failed"):
            one.up.pop(dialog, None)
        else:
            one.up[dialog] = after[phase]
        self.send(one.envelope(self.now) | {"phase": phase, "dialog": dialog,
                                            "call_id": f"{dialog}@{one.mark}"} | facts)  # fmt: skip

    def call(self, one: Speaker, *dialogs: str) -> None:
        for dialog in dialogs:
            self.say(one, "setup", dialog)
            self.say(one, "answered", dialog)

    def beat(self, one: Speaker, **changes: Any) -> None:
        self.send(one.envelope(self.now) | {"phase": "heartbeat"} | changes)

    def turn(self) -> None:
        """One tick of the feed monitor."""
        for node, held in list(self.nodes.review(self.now)):
            self.pipeline.settle(node, held)
        for name in list(self.nodes.to_ask(self.now)):
            self.asked += 1
            for one in self.speakers:
                if one.name == name and one.lists_when_asked and not one.silent:
                    self.send(one.sync(self.now))

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 1000) // TURN_MS):
            self.now += TURN_MS
            for one in self.speakers:
                one.beat_in -= TURN_MS
                if one.beat_in <= 0:
                    one.beat_in = 2_000
                    if not one.silent:
                        self.beat(one)
            self.turn()
            shown = self.shown
            self.hidden += [(self.now, dialog) for dialog in self.truth if dialog not in shown]


EPOCH: Final = START // 1000 - 86_400  # the node has run for a day; seconds, as Kamailio counts


def settled(seq: int = 5_000) -> tuple[World, Speaker]:
    """One node with three calls, heard for ten seconds."""
    node = Speaker(EPOCH, seq=seq)
    world = World(node)
    world.beat(node)
    world.call(node, "1.1", "2.2", "3.3")
    world.run(10)
    assert world.sure == {"1.1", "2.2", "3.3"}
    assert not world.hidden
    return world, node


def contested(world: World) -> bool:
    return [node.name for node in world.nodes.contested()] == ["n1"]
