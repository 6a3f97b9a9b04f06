"""Faults of whole nodes: which node, which fault, since when.

``/statusz``, the page's status bar, the log and the metrics show them; nothing here changes a call.
A node all of whose messages are rejected (its numbers ran over, its name or its version is not of
the contract) never becomes a node here, and would be missing unnoticed. So :class:`Refusals`
remembers names under which messages were rejected. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes

What: TypeAlias = Literal["contested", "refused", "silent", "lists", "clock"]
KINDS: Final[tuple[What, ...]] = ("contested", "refused", "silent", "lists", "clock")

MOST_REFUSED: Final = 100  # names; more are made up
REFUSED_MS: Final = 3_000  # a single bad message does not mean a broken node
FORGET_MS: Final = 30_000


class Trouble(NamedTuple):
    """A fault of one node. ``ahead_ms``: how far its clock is ahead of ours, if it is off."""

    node: str
    what: What
    since: int | None = None
    reason: str = ""
    ahead_ms: int = 0


class Refusal(NamedTuple):
    """Rejected messages under one name: the first time, the last time (ms), why, how many."""

    since: int
    last: int
    reason: str
    times: int


class Refusals:
    """Names under which messages were rejected. Bounded: a sender can make up any number."""

    def __init__(self) -> None:
        self.by_name: dict[str, Refusal] = {}

    def note(self, name: str, reason: str, now: int) -> None:
        """A message that claims to be of this node was rejected."""
        before = self.by_name.pop(name, None)
        if before is None or now - before.last > FORGET_MS:
            before = Refusal(now, now, reason, 0)
        self.by_name[name] = Refusal(before.since, now, reason, before.times + 1)
        if len(self.by_name) > MOST_REFUSED:
            del self.by_name[next(iter(self.by_name))]  # the one that was rejected longest ago

    def of_nothing_else(self, nodes: Nodes, now: int) -> Iterator[tuple[str, Refusal]]:
        """Names under which only rejected messages have come for a while."""
        for name, refusal in list(self.by_name.items()):
            if now - refusal.last > FORGET_MS:
                del self.by_name[name]
                continue
            node = nodes.by_name.get(name)
            since = refusal.since if node is None else max(refusal.since, node.last_seen_at)
            if refusal.last - since >= REFUSED_MS:
                yield name, refusal


def troubles(nodes: Nodes, clocks: NodeClocks, refusals: Refusals, now: int) -> tuple[Trouble, ...]:
    """All faults of all nodes, the worst first."""
    found = [Trouble(node.name, "contested", node.contested_since) for node in nodes.contested()]
    refused = dict(refusals.of_nothing_else(nodes, now))
    found += [
        Trouble(name, "refused", refusal.since, refusal.reason) for name, refusal in refused.items()
    ]
    found += [
        Trouble(node.name, "silent", node.last_seen_at)
        for node in nodes.stale(now)
        if node.name not in refused
    ]
    found += [
        Trouble(node.name, "lists", node.list_trouble.since, node.list_trouble.reason)
        for node in nodes.without_list(now)
        if node.list_trouble
    ]
    for name, ahead in clocks.off.items():
        if name in nodes.by_name:
            found.append(Trouble(name, "clock", ahead_ms=ahead))
        else:
            clocks.forget(name)
    return tuple(found)
