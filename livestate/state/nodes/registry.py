"""All SIP nodes: their lists of dialogs, their silence, and which must send a list.

The pipeline gives :meth:`Nodes.collect` each part of a list; the monitor asks twice a second which
nodes to ask for a list, which calls to mark, and which calls to expire. Heartbeats tell a quiet
node from a dead one; a complete list (``sync``) mends what was lost. Which numbering of a node is
believed is :mod:`livestate.state.nodes.epochs`; how far its calls are believed is
:mod:`livestate.state.nodes.health`. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final, Literal, NamedTuple, TypeAlias

from livestate.contract.events import Sync
from livestate.state.nodes.dialog_list import ASK_AGAIN_MS, PART_LATE_MS, Listing
from livestate.state.nodes.epochs import MAX_NODES, UNCONFIRMED_AFTER_MS, NodeEpochs
from livestate.state.nodes.health import Unconfirmed
from livestate.state.nodes.node import Held, Node
from livestate.state.nodes.rival_epochs import (
    ASK_SELDOM_MS,
    ASKS_AT_ONCE,
    LATE_MS,
    OVER_AFTER_MS,
    SPARED_MS,
    Rival,
    contested,
    may_be_set_back,
    of_epoch,
)
from livestate.state.position import Position, position_at

__all__ = ["MAX_NODES", "UNCONFIRMED_AFTER_MS", "Complete", "Nodes"]

LIST_OVERDUE_MS: Final = 90_000  # nodes send their list every 30 to 60 s

# Which calls a complete list may end: all that it lacks; those of its own epoch; none; or all that
# it lacks whatever positions they have, for it is the first list of a numbering that took over.
Ends: TypeAlias = Literal["all", "epoch", "none", "over"]


class Complete(NamedTuple):
    """A whole list, the calls that are up by it (and, of a contested node, by the lists of the
    other numbering), and which calls it may end, up to a position."""

    listing: Listing
    keys: Set[str]
    ends: Ends
    up_to: Position


class Nodes(NodeEpochs):
    """All nodes seen. After ``stale_after`` ms without a message a node is stale."""

    def __init__(self, *, stale_after: int) -> None:
        super().__init__()
        self.stale_after = stale_after

    # -- lists -----------------------------------------------------------------------------

    def collect(self, part: Sync, keys: set[str], now: int) -> Complete | None:
        """Note one part of a list that names the calls ``keys``; the list once its last part is
        here. The parts of two lists are never mixed: a part of another list starts anew."""
        node = self.by_name[part.node]
        source = self.source_of(part, now)
        if source is None:
            return None
        if isinstance(source, Rival):
            source.folded = True
        listing = _listing_for(source, part, now)
        if listing is None:
            return None
        listing.add(part, keys, now)
        if not listing.complete:
            return None
        source.listing, source.last_list = None, listing.name
        if isinstance(source, Rival):
            source.list_complete(part.seq)
            if not source.takes_over(node, now):
                self._set_floors(node)
                return self._limited(node, part, listing, now)
            node = self._adopt(node, source, now)
        node.list_complete(part.seq, listing.began, now, listing.unnamed)
        node.write_off(part.seq)
        self._set_floors(node)
        if node.rivals or node.contested_since is not None:
            return self._limited(node, part, listing, now)
        ends: Ends = "all"
        if node.settling and not listing.unnamed:  # else a call that it lacks may be up
            node.settling, ends = False, "over"
        position = position_at(part.epoch, part.seq, from_sync=True)
        return Complete(listing, listing.keys, ends, position)

    def list_refused(self, name: str, reason: str, now: int) -> None:
        """A message that claims to be a part of this node's list was rejected as a whole."""
        node = self.by_name.get(name)
        if node is not None:
            node.list_failed(reason, now)

    def source_of(self, part: Sync, now: int) -> Node | Rival | None:
        """The numbering that sent this list: the current one, a rival, or none (its epoch is
        over)."""
        node = self.by_name[part.node]
        if part.epoch != node.epoch:
            rival = of_epoch(node, part.epoch)
            on_its_way = rival is not None and rival.kind == "before"
            return None if on_its_way and now - node.since < LATE_MS else rival
        if node.lists_at(part.epoch, part.seq):
            return node
        for rival in node.rivals:
            if rival.epoch == part.epoch and (
                (rival.kind == "back" and part.seq < node.sequence.floor)
                or (rival.kind == "ahead" and part.seq > node.sequence.highest)
            ):
                return rival
        return node

    def _limited(self, node: Node, part: Sync, listing: Listing, now: int) -> Complete:
        """A list of a node that has rivals ends no call that another list of it may have."""
        position = position_at(part.epoch, part.seq, from_sync=True)
        if listing.unnamed:
            return Complete(listing, listing.keys, "none", position)
        node.lists.append(Held(now, part.seq, listing))
        if part.epoch == node.epoch and part.seq == node.listed_seq:
            node.held = Held(now, part.seq, listing)
        same = [one for one in node.rivals if one.epoch == part.epoch]
        beside = node.epoch == part.epoch and (same or node.contested_since is not None)
        if not beside:
            return Complete(listing, listing.keys, "epoch", position)
        if len(node.lists) < 2 or any(one.listed is None for one in same):
            return Complete(listing, listing.keys, "none", position)
        listed = [one for one in node.lists if now - one.at < SPARED_MS]
        least = position_at(part.epoch, min(one.seq for one in listed), from_sync=True)
        keys = set().union(*(one.listing.keys for one in listed))
        return Complete(listing, keys, "epoch", least)

    def review(self, now: int) -> Iterator[tuple[Node, Held]]:
        """Look again at nodes with rivals, twice a second. For a node whose rivals are silent now:
        the node, and its last list, which decides on all its calls."""
        for node in self.by_name.values():
            if not (node.rivals or node.settling or node.collisions):
                continue
            here = [rival for rival in node.rivals if not rival.over(node, now)]
            if len(here) != len(node.rivals):
                gone = [rival for rival in node.rivals if rival not in here]
                node.settling |= any(rival.folded or not rival.quarantined for rival in gone)
                node.rivals = here
            _review_contest(node, now)
            self._set_floors(node)
            if node.rivals or node.contested_since is not None or not node.settling:
                continue
            held, node.held = node.held, None
            node.lists.clear()
            if held is None:
                node.wants_list = True  # it settles what the rivals left
                continue
            node.settling = False
            yield node, held

    def to_ask(self, now: int) -> Iterator[str]:
        """Nodes that must send their list: new to us, restarted, or with a loss."""
        for node in self.by_name.values():
            if node.listing and now - node.listing.last >= PART_LATE_MS:
                node.list_failed(f"{node.listing.missing} did not come", now)
            node.mature_gap(now)
            if node.listed_at is not None and now - node.listed_at >= LIST_OVERDUE_MS:
                node.wants_list = True
            wanted = node.wants_list or (bool(node.rivals) and _ask_rivals(node, now))
            pause = node.list_trouble.ask_again_ms if node.list_trouble else ASK_AGAIN_MS
            if wanted and now - node.asked_at >= pause:
                node.asked_at = now
                for rival in node.rivals:
                    rival.asks += 1
                yield node.name

    # -- silence ---------------------------------------------------------------------------

    def stale(self, now: int) -> list[Node]:
        """Nodes that have been silent for too long, or that send only numbers below earlier ones:
        they may have been set back."""
        return [
            node
            for node in self.by_name.values()
            if now - node.last_seen_at >= self.stale_after
            or (node.rivals and may_be_set_back(node, now))
        ]

    def without_list(self, now: int) -> list[Node]:
        """Nodes that send messages, but whose lists have all failed for too long."""
        return [
            node
            for node in self.by_name.values()
            if node.list_trouble and now - node.list_trouble.since >= self.stale_after
        ]

    def contested(self) -> list[Node]:
        """Nodes whose name two numberings use."""
        return [n for n in self.by_name.values() if n.contested_since is not None]

    def forget(self, name: str) -> None:
        """A node that was taken out of service."""
        del self.by_name[name]
        self.floors.pop(name, None)

    def due_unconfirmed(self, now: int, since: int) -> Iterator[tuple[Node, int | None]]:
        """Nodes whose calls must be marked, though we have been connected ``since`` (ms): of a
        silent one all of them (None); of one that does not send the list that would mend a loss,
        those last heard of up to a number."""
        for node in self.by_name.values():
            health, highest = node.health, node.sequence.highest
            if now - max(node.last_seen_at, since) >= UNCONFIRMED_AFTER_MS:
                if health.fall_silent(now, node.epoch, highest, node.last_seen_at):
                    node.wants_list = True
                    yield node, None
            elif health.loss and now - max(health.loss.since, since) >= UNCONFIRMED_AFTER_MS:
                yield node, node.mark_unconfirmed(now).highest

    def due_expiry(self, now: int, since: int, after: int) -> Iterator[tuple[Node, Unconfirmed]]:
        """Nodes with calls that were marked ``after`` ms ago, and that no list has confirmed: those
        still marked, and last heard of up to there, are over. None when we have been connected
        ``since`` a moment only: while we were not, no list could reach us."""
        if now - since < UNCONFIRMED_AFTER_MS:
            return
        for node in self.by_name.values():
            due = node.health.due_expiry(now, after)
            if due is not None:
                yield node, due


def _listing_for(source: Node | Rival, part: Sync, now: int) -> Listing | None:
    """The list that this part belongs to: the one that comes in, or a new one. None for a part of
    a list that was complete before: it came twice."""
    listing = source.listing
    if listing is not None and listing.takes(part):
        return listing
    fresh = Listing.of(part, now)
    if part.parts > 1 and source.last_list == fresh.name:
        return None
    if listing is not None and isinstance(source, Node):
        source.list_failed(f"{listing.missing} did not come before another list", now)
    source.listing = fresh
    return fresh


def _review_contest(node: Node, now: int) -> None:
    """Note since when two numberings use the name, or that one is left."""
    if contested(node, now):
        if node.contested_since is None:
            node.contested_since = now
        return
    node.contested_since = None
    if node.collisions and now - node.collisions[-1] > SPARED_MS:
        node.collisions.clear()


def _ask_rivals(node: Node, now: int) -> bool:
    """Whether a rival must still send a list, or send it again to take over."""
    for rival in node.rivals:
        heard = now - rival.last_seen_at < OVER_AFTER_MS
        heard = heard and (rival.kind != "before" or rival.beats > 1)
        wanted = rival.listed is None or rival.takes_over(node, now)
        seldom = rival.asks >= ASKS_AT_ONCE and now - node.asked_at < ASK_SELDOM_MS
        if heard and wanted and not seldom:
            return True
    return False
