"""Rivals: other numberings under a node's name, beside the current one.

Numbers tell a loss from quiet, but only while one node uses a name. A restarted node, a second
bridge with the same name, a virtual machine set back to a snapshot and a forged heartbeat all look
the same at first: a number that does not go on from the last one. Only later messages tell them
apart, so the first one decides nothing:

* Both numberings go on: two nodes have one name, or one is forged. The node is **contested**; the
  calls of both are kept, and a list of one ends no call of the other.
* The old one is silent and the new one sends a list: the node restarted or was set back. Its new
  numbering is adopted with that list.
* The new one is not heard again: it was late, or forged. It is forgotten.

A number or an epoch further ahead than time allows is **quarantined**: before a list of its own
confirms it, its events are rejected (``unproven``) and nothing of the node changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from livestate.state.nodes.sequence import (
    MAX_MISSING,
    NUMBERS_PER_MS,
    further_ahead_than_time_allows,
)

if TYPE_CHECKING:
    from livestate.state.nodes.dialog_list import Listing
    from livestate.state.nodes.node import Node

Kind: TypeAlias = Literal[
    "before",  # it was the current one until a later epoch came
    "later",  # a later epoch that did not send a list while the one before went on
    "lower",  # a lower epoch: the node's clock was set back, or a second node
    "back",  # the same epoch, lower numbers: a snapshot, or a second node
    "ahead",  # the same epoch, a number further ahead than time allows
    "far",  # an epoch further ahead than time allows
]

MOST_RIVALS: Final = 4  # a name; more are forged
FAR_AHEAD_MS: Final = 3_600_000  # an epoch is a time; clocks that are an hour ahead are not right
DAY_MS: Final = 86_400_000
LATE_MS: Final = 1_000  # a message so soon after a new epoch may have been sent before it
# Heartbeats come every 2 s. A numbering that went silent when another one began is over after one
# missing heartbeat; one that was heard beside it, after two.
OVER_AFTER_MS: Final = 3_000
OVER_AFTER_BOTH_MS: Final = 5_000
# Lower numbers are heard, and the believed ones are not: the node may have been set back, and the
# calls that are shown may be of before that. The node is stale until a list decides.
SET_BACK_STALE_MS: Final = 2_500
SET_BACK_OVER_MS: Final = 4_000
FORGOTTEN_AFTER_MS: Final = 10_000
HEARD_WITHIN_MS: Final = 6_000
CONTEST_MS: Final = 1_500  # heartbeats so far apart do not come from one burst of late ones
COLLISIONS_MS: Final = 10_000
SPARED_MS: Final = 60_000  # a list of a contested node spares the calls of those before it
ASKS_AT_ONCE: Final = 5
ASK_SELDOM_MS: Final = 30_000


@dataclass(slots=True)
class Rival:
    """One rival numbering. Times are in ms."""

    kind: Kind
    epoch: int
    highest: int
    since: int
    last_seen_at: int
    beats: int = 0  # heartbeats and lists since then
    listed: int | None = None  # the number at which its last complete list was true
    listing: Listing | None = None
    last_list: tuple[str, int, int, int] | None = None
    before: Node | None = None  # the node as it was, if this numbering was the current one before
    asks: int = 0
    folded: bool = False  # calls in the table have positions of it
    first: int = 0  # the lowest number seen of it

    @property
    def quarantined(self) -> bool:
        return self.kind in ("far", "ahead") and self.listed is None

    def ahead(self, seq: int, now: int) -> bool:
        """Whether ``seq`` is further ahead than the time since its last word allows."""
        return further_ahead_than_time_allows(seq - self.highest, now - self.last_seen_at)

    def list_complete(self, seq: int) -> None:
        """A list of it, true at ``seq``, is complete: of a quarantined rival no more is proven."""
        if self.quarantined:
            self.highest = seq
        self.listed = seq

    def over(self, node: Node, now: int) -> bool:
        """Whether it has been silent long enough beside ``node``."""
        silent = now - self.last_seen_at
        if self.kind != "before":
            return silent >= FORGOTTEN_AFTER_MS
        return silent >= (OVER_AFTER_BOTH_MS if self.beats else OVER_AFTER_MS)

    def takes_over(self, node: Node, now: int) -> bool:
        """Whether a list of it makes it the believed numbering: the one that is has gone silent."""
        if node.restored:
            return True
        silent = now - node.last_seen_at
        if node.last_seen_at > self.since:
            return silent >= OVER_AFTER_BOTH_MS
        return silent >= (SET_BACK_OVER_MS if self.kind in ("lower", "back") else OVER_AFTER_MS)

    def interleaves(self, node: Node, now: int) -> bool:
        """Whether messages of both alternate: two nodes have one name."""
        return (
            self.beats >= 2
            and self.last_seen_at - self.since >= CONTEST_MS
            and node.last_seen_at - self.since >= LATE_MS
            and now - min(self.last_seen_at, node.last_seen_at) < HEARD_WITHIN_MS
        )


def as_ms(epoch: int) -> int:
    """When an epoch began (ms), if it is a time: sources count in s, ms or µs. A number that is too
    small for a time of these years comes out as long ago."""
    if epoch < 10**11:
        return epoch * 1_000
    return epoch if epoch < 10**14 else epoch // 1_000


def too_far(epoch: int, seq: int, known: int, now: int) -> bool:
    """Whether an epoch begins later than a clock that is nearly right allows: ours, or that of the
    node by the epoch that is ``known`` of it (then ours may be wrong). Or whether more numbers were
    given out since it began than any node can."""
    began = as_ms(epoch)
    most = MAX_MISSING + max(0, now - began) * NUMBERS_PER_MS
    return seq > most or began > max(now, as_ms(known) + DAY_MS) + FAR_AHEAD_MS


def contested(node: Node, now: int) -> bool:
    """Whether two numberings use this name now."""
    collided = node.collisions
    if len(collided) == collided.maxlen and now - collided[0] < COLLISIONS_MS:
        return True
    return any(rival.interleaves(node, now) for rival in node.rivals)


def may_be_set_back(node: Node, now: int) -> bool:
    """Whether a node sends only numbers below its current ones."""
    return now - node.last_seen_at >= SET_BACK_STALE_MS and any(
        rival.kind in ("lower", "back") and rival.last_seen_at > node.last_seen_at
        for rival in node.rivals
    )


def of_epoch(node: Node, epoch: int) -> Rival | None:
    return next((rival for rival in node.rivals if rival.epoch == epoch), None)
