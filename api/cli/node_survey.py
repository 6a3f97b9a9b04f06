"""Draws conclusions from a few seconds of node messages, for ``livestate doctor``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from livestate.contract.errors import Rejected
from livestate.state.nodes.clock_offset import TOLERANCE_MS
from livestate.state.nodes.rival_epochs import too_far


class Remark(NamedTuple):
    """A problem and its remedy. ``bad``: no call of the node is shown until then."""

    what: str
    mend: str
    bad: bool = False


_OF_NUMBERING: Final = re.compile(r"(^|\.)(epoch|seq): ")
OWN_NAME: Final = "give each node a name of its own: LIVESTATE_NODE in its livestate.cfg"


@dataclass(slots=True)
class Hearsay:
    """Heartbeats of a few seconds: the numberings under each name, and the clock offsets."""

    beats: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # node → epoch, seq
    ahead: dict[str, int] = field(default_factory=dict)  # node → ms, the least that it was off
    unusable: dict[str, str] = field(default_factory=dict)  # node → why its numbers are refused
    too_far: dict[str, tuple[int, int]] = field(default_factory=dict)  # node → epoch, seq

    def beat(self, node: str, epoch: int, seq: int, ts: int, now: int) -> None:
        """Record a heartbeat that a node sent at ``ts``."""
        self.beats.setdefault(node, []).append((epoch, seq))
        self.ahead[node] = min(self.ahead.get(node, ts - now), ts - now, key=abs)
        if too_far(epoch, seq, 0, max(now, ts)):
            self.too_far[node] = epoch, seq

    def refuse(self, node: str, rejected: Rejected) -> bool:
        """Record a rejected message; returns whether its numbering was the reason."""
        found = _OF_NUMBERING.search(rejected.detail) is not None
        if found:
            self.unusable[node] = rejected.detail
        return found

    def remarks(self) -> Iterator[Remark]:
        for node, why in sorted(self.unusable.items()):
            yield Remark(
                f"the numbering of {node} is unusable, so its messages are rejected: {why}",
                "its counter overflowed, or another program writes its numbers: "
                "install the current deploy/kamailio/livestate.cfg there and restart that "
                "node, which begins a new epoch",
                bad=node not in self.beats,
            )
        for node, (epoch, seq) in sorted(self.too_far.items()):
            yield Remark(
                f"the numbering of {node} is further ahead than time allows (epoch "
                f"{epoch}, number {seq}): its events wait for a list of it",
                "if its clock is right, its heartbeats are forged: see deploy/nats-vouched.conf",
            )
        for node, beats in sorted(self.beats.items()):
            if any(later < earlier for earlier, later in pairwise(beats)):
                yield Remark(f"two nodes are called {node}, or its numbers go back", OWN_NAME)
            elif len({epoch for epoch, _ in beats}) > 1:
                yield Remark(f"two nodes are called {node}, or it has just restarted", OWN_NAME)
        names: dict[str, str] = {}
        for node in sorted(self.beats):
            other = names.setdefault(node.lower(), node)
            if other != node:
                yield Remark(
                    f"{other} and {node} are two nodes here: names differ by case", OWN_NAME
                )
        for node, ahead in sorted(self.ahead.items()):
            if abs(ahead) > TOLERANCE_MS:
                way = "ahead of" if ahead > 0 else "behind"
                yield Remark(
                    f"the clock of {node} is {abs(ahead) / 1000:,.0f} s {way} ours",
                    "let NTP set it (chrony, systemd-timesyncd): times of its calls "
                    "are corrected where possible",
                )
