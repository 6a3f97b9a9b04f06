"""A seeded network whose truth is known at every moment, and which can be held still, robbed of
messages, and lose nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from livestate.contract.events import SUBJECT_PREFIX
from livestate.contract.messages import Outgoing
from livestate.devtools.simulator import HEARTBEAT_MS, Network, SimulatedNode, Traffic

Shown: TypeAlias = tuple[str, str, str, str | None]  # node, Call-ID, state, company


class Load:
    """What a :class:`~livestate.devtools.publisher.Publisher` plays. While it is held, no call
    changes, but the nodes beat and answer, so that the truth can be compared."""

    def __init__(self, traffic: Traffic, start: int) -> None:
        self.network = Network(traffic, start)
        self.dead: set[str] = set()
        self.mute: set[str] = set()  # nodes whose lists never arrive
        self.clocks: dict[str, tuple[int, int]] = {}  # node → since when it is wrong, by how much
        self.dropped = 0
        self.done = False
        self._held_at: int | None = None
        self._behind = 0  # ms that were spent held still
        self._drop: list[Callable[[dict[str, Any]], bool]] = []
        self._beaten = start
        self._now = start

    @property
    def nodes(self) -> dict[str, SimulatedNode]:
        return self.network.nodes

    @property
    def live(self) -> int:
        return self.network.live

    def hold(self) -> None:
        if self._held_at is None:
            self._held_at = self._now

    def go_on(self) -> None:
        if self._held_at is not None:
            self._behind += self._now - self._held_at
            self._held_at = None

    def drop(self, phase: str, company: str | None = None, node: str | None = None) -> None:
        """Lose the next event of this phase that is of a call with a dialog."""
        self._drop.append(
            lambda message: message.get("phase") == phase and "dialog" in message
            and company in (None, message.get("company_id")) and node in (None, message["node"])
        )  # fmt: skip

    def die(self, node: str) -> None:
        """A node that never speaks again; its calls are no part of the truth any more."""
        self.dead.add(node)

    def restart(self, node: str, epoch: int) -> None:
        """A node that was killed and is back: its calls are gone, its numbers start again."""
        self.dead.discard(node)
        self.network.restart(node, epoch)

    def truth(self, company: str | None = None) -> Counter[Shown]:
        """The calls that a dashboard of this company (None: all) must show."""
        return Counter(
            (node.name, call.attributes["call_id"], call.state, call.attributes.get("company_id"))
            for node in self.nodes.values() if node.name not in self.dead
            for call in node.live.values()
            if company is None or call.attributes.get("company_id") == company
        )  # fmt: skip

    def set_clock(self, node: str, seconds: int) -> None:
        """From now on, times of this node are so far ahead; earlier ones stay what they were."""
        self.clocks[node] = (self._now - self._behind, seconds * 1000)

    def _as_its_clock(self, outgoing: Outgoing) -> Outgoing:
        since, ahead = self.clocks.get(outgoing.message["node"], (0, 0))
        if not ahead:
            return outgoing
        times = {
            name: value + ahead
            for name, value in outgoing.message.items()
            if (name == "ts" or name.endswith("_at")) and value >= since
        }
        return outgoing._replace(message=outgoing.message | times)

    # -- what a publisher asks for -----------------------------------------------------------

    def next_at(self) -> int:
        if self._held_at is not None:
            return self._beaten + HEARTBEAT_MS
        return self.network.next_at() + self._behind

    def due(self, now: int) -> Iterator[Outgoing]:
        self._now = now
        if self._held_at is not None:
            yield from self._beats(now)
            return
        self._beaten = now
        for outgoing in self.network.due(now - self._behind):
            if outgoing.message["node"] not in self.dead and not self._lost(outgoing.message):
                yield self._as_its_clock(outgoing)

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        if node not in self.dead | self.mute:
            yield from self.network.listing(node, now)

    def _beats(self, now: int) -> Iterator[Outgoing]:
        if now - self._beaten >= HEARTBEAT_MS:
            self._beaten = now
            for node in self.nodes.values():
                if node.name not in self.dead:
                    beat = node.envelope(now) | {"phase": "heartbeat", "dialogs": len(node.live)}
                    yield Outgoing(SUBJECT_PREFIX + "heartbeat", beat)

    def _lost(self, message: dict[str, Any]) -> bool:
        if message["phase"] == "sync" and message["node"] in self.mute:
            return True
        for wanted in self._drop:
            if wanted(message):
                self._drop.remove(wanted)
                self.dropped += 1
                return True
        return False
