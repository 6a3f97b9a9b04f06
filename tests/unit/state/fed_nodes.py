"""Nodes as the pipeline feeds them, one message a call; time is the test's."""

from __future__ import annotations

from typing import Any

from livestate.contract.events import Sync
from livestate.state.nodes.epochs import Observed
from livestate.state.nodes.node import Node
from livestate.state.nodes.registry import Complete, Nodes
from tests.calls import START


class FedNodes:
    """The node "n", seen first at 0 ms under epoch 5 with number 100, and again at 2 s."""

    def __init__(self, *, listed: bool = True) -> None:
        self.nodes = Nodes(stale_after=6_000)
        self.beat(5, 100, 0)
        if listed:
            self.list(5, 100, 0)
        self.beat(5, 100, 2_000)

    @property
    def node(self) -> Node:
        return self.nodes.by_name["n"]

    @property
    def rivals(self) -> list[tuple[str, int]]:
        return [(one.kind, one.epoch) for one in self.node.rivals]

    def beat(self, epoch: int, seq: int, now: int) -> Observed:
        return self.nodes.observe("n", epoch, seq, now, numbered=False)

    def event(self, epoch: int, seq: int, now: int) -> Observed:
        return self.nodes.observe("n", epoch, seq, now, numbered=True)

    def list(
        self, epoch: int, seq: int, now: int, *keys: str, unlisted: int = 0, **facts: Any
    ) -> Complete | None:
        facts = {"sync_id": f"{epoch}-{seq}-{now}", "part": 1, "parts": 1} | facts
        part = Sync(v=1, phase="sync", node="n", epoch=epoch, seq=seq, ts=START, calls=(),
                    unlisted=unlisted or None, **facts)  # fmt: skip
        return self.nodes.collect(part, set(keys), now)

    def review(self, now: int) -> list[int]:
        """The numbers at which the lists were true that now decide on all calls."""
        return [held.seq for _, held in list(self.nodes.review(now))]

    def asked(self, now: int) -> bool:
        return list(self.nodes.to_ask(now)) == ["n"]
