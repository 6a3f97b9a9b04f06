"""The SIP nodes with their health, the worst first: what the panel of nodes shows.

:mod:`api.panels.nodes` makes it while a user looks. A node of which only rejected messages came
has a row too, without numbers. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from livestate.state.nodes.node import Node
from livestate.state.nodes.trouble import Trouble

MOST_SHOWN: Final = 500
# Faults that make what is shown of a node doubtful; a wrong clock is corrected.
ALARMS: Final = frozenset({"contested", "refused", "silent", "lists"})
LEVELS: Final = ("alarm", "warning", "")


class NodeReport:
    """The rows of all nodes. ``clocks``: node → ms ahead of ours; ``calls(node)``: how many of its
    calls are up."""

    def __init__(
        self,
        nodes: Iterable[Node],
        troubles: Iterable[Trouble],
        clocks: Mapping[str, int],
        calls: Callable[[str], int],
        now: int,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.more = 0  # nodes without a row
        self._nodes = tuple(nodes)
        self._troubles: dict[str, list[Trouble]] = {}
        for one in troubles:
            self._troubles.setdefault(one.node, []).append(one)
        self._clocks = clocks
        self._calls = calls
        self._now = now

    def steps(self) -> Iterator[None]:
        """Fill ``rows``, one a step, and sort them, the worst first."""
        rows = []
        for node in self._nodes:
            rows.append(self._row(node))
            yield
        known = {node.name for node in self._nodes}
        rows += [self._refused(name) for name in self._troubles if name not in known]
        rows.sort(key=lambda one: (LEVELS.index(one["level"]), -one["calls"], one["node"]))
        self.rows, self.more = rows[:MOST_SHOWN], max(0, len(rows) - MOST_SHOWN)

    def _row(self, node: Node) -> dict[str, Any]:
        found, now = self._troubles.get(node.name, []), self._now
        calm = not found and node.health.state == "current" and not node.wants_list
        return {
            "node": node.name,
            "level": _level(found) or ("" if calm else "warning"),
            "health": node.health.state,
            "troubles": [self._trouble(one) for one in found],
            "calls": self._calls(node.name),
            "dialogs": node.dialogs,
            "silent_ms": max(0, now - node.last_seen_at),
            "heard": not node.restored,
            "epoch": node.epoch,
            "epoch_ms": None if node.restored else max(0, now - node.since),
            "seq": node.sequence.highest,
            "missing": len(node.sequence.missing),
            "gaps": node.gaps,
            "waits_for_list": node.wants_list,
            "listed_ms": None if node.listed_at is None else max(0, now - node.listed_at),
            "unlisted_dialogs": node.unlisted,
            "unconfirmed_ms": node.health.unconfirmed_ms(now),
            "clock_ahead_ms": self._clocks.get(node.name, 0),
        }

    def _refused(self, name: str) -> dict[str, Any]:
        """A name under which only rejected messages have come."""
        found = self._troubles[name]
        unknown = dict.fromkeys(
            ("dialogs", "silent_ms", "epoch", "epoch_ms", "seq", "listed_ms", "unconfirmed_ms")
        )
        return {
            "node": name,
            "level": _level(found),
            "health": "unknown",
            "troubles": [self._trouble(one) for one in found],
            "calls": self._calls(name),
            "heard": False,
            "missing": 0,
            "gaps": 0,
            "waits_for_list": False,
            "unlisted_dialogs": 0,
            "clock_ahead_ms": self._clocks.get(name, 0),
            **unknown,
        }

    def _trouble(self, one: Trouble) -> dict[str, Any]:
        since = None if one.since is None else max(0, self._now - one.since)
        return {
            "what": one.what,
            "reason": one.reason,
            "since_ms": since,
            "ahead_ms": one.ahead_ms,
        }


def _level(troubles: list[Trouble]) -> str:
    if any(one.what in ALARMS for one in troubles):
        return "alarm"
    return "warning" if troubles else ""
