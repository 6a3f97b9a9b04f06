"""Decides which numbering of each SIP node is the current one, beside rivals.

The pipeline gives :meth:`NodeEpochs.observe` the epoch and the number of every message, before it
folds the message. The result says whether the number is new, and whether the node has restarted.

A numbering is an epoch and the gap-free numbers that were given out under it. A number that does
not continue the current numbering begins a rival; :mod:`livestate.state.nodes.rival_epochs`
explains how a rival differs from late messages.
:mod:`livestate.state.nodes.registry` adds lists and silence. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from livestate.contract.errors import Rejected
from livestate.state.nodes.node import Node
from livestate.state.nodes.rival_epochs import (
    LATE_MS,
    MOST_RIVALS,
    OVER_AFTER_MS,
    Kind,
    Rival,
    of_epoch,
    too_far,
)
from livestate.state.nodes.sequence import Sequence
from livestate.state.position import NEVER, Position, position_at

MAX_NODES: Final = 10_000  # a network has dozens; more are forged
# Time without a message, or without the list that would mend a loss. Longer than our NATS
# connection needs to notice that it is half-open: otherwise all calls of all nodes would be marked.
UNCONFIRMED_AFTER_MS: Final = 15_000


class Observed(NamedTuple):
    """The place of a message in its node's numbering. ``fresh`` False: the number was seen before.
    ``new_epoch``: the node has begun a new numbering.
    ``set_back``: that one is below the one before, and was first seen at number ``began``.
    ``returned``: the numbering before a new epoch continues, so there was no restart.
    ``unproven``: further ahead than time allows; only a list can confirm it.
    """

    fresh: bool
    new_epoch: bool
    set_back: bool = False
    returned: bool = False
    unproven: bool = False
    began: int = 0


IN_ORDER: Final = Observed(True, False)
_SEEN: Final = Observed(False, False)


class NodeEpochs:
    """All nodes seen, each by its current numbering."""

    def __init__(self) -> None:
        self.by_name: dict[str, Node] = {}
        # Of nodes with rivals: epoch → where its last list was true (NEVER: none yet). The table
        # judges an event by its own numbering's list.
        self.floors: dict[str, dict[int, Position]] = {}

    def restore(self, name: str, epoch: int, seq: int, now: int) -> None:
        """Add a node that was known before the service's restart: what it numbered since is
        lost."""
        node = Node(name, epoch, Sequence(seq, seq), last_seen_at=now, since=now, restored=True)
        node.lose(now)
        self.by_name[name] = node

    def observe(self, name: str, epoch: int, seq: int, now: int, *, numbered: bool) -> Observed:
        """A message of a node. ``numbered``: it used up ``seq``; a heartbeat only repeats it.

        Raises :class:`~livestate.contract.errors.Rejected` if there are too many nodes: one sender
        of forged names could take all memory.
        """
        node = self.by_name.get(name)
        if node is None:
            if len(self.by_name) >= MAX_NODES:
                raise Rejected("too_many_nodes", f"{MAX_NODES} are known")
            self.by_name[name] = _begun(name, epoch, seq, now, numbered=numbered)
            return IN_ORDER
        sequence = node.sequence
        if numbered and seq == sequence.highest + 1 and epoch == node.epoch:
            sequence.highest = seq  # the common case, tens of thousands of times a second
            node.last_seen_at = now
            return IN_ORDER
        if epoch == node.epoch:
            return self._same_epoch(node, seq, now, numbered=numbered)
        rival = of_epoch(node, epoch)
        if rival is not None:
            return self._rival_spoke(node, rival, seq, now, numbered=numbered)
        if epoch > node.epoch:
            if not too_far(epoch, seq, node.epoch, now):
                return self._restarted(node, epoch, seq, now, numbered=numbered)
            rival = self._add_rival("far", node, epoch, seq, now)
        elif numbered:
            # A late event of an earlier epoch: still folded, but not a sign of life.
            return Observed(True, False)
        else:
            rival = self._add_rival("lower", node, epoch, seq, now)
        return self._rival_spoke(node, rival, seq, now, numbered=numbered)

    def collide(self, name: str, epoch: int, seq: int, now: int) -> None:
        """An old number came with a new event: two nodes use the same numbers, or the node was set
        back and no heartbeat has shown it yet. The node's list decides."""
        node = self.by_name[name]
        node.lose(now)
        rival = of_epoch(node, epoch)
        if epoch != node.epoch:
            if rival is None:
                self._add_rival("lower", node, epoch, seq, now)
            return
        node.collisions.append(now)
        if rival is None and seq < node.sequence.floor:
            self._add_rival("back", node, epoch, seq, now)

    # -- the current numbering --------------------------------------------------------------

    def _same_epoch(self, node: Node, seq: int, now: int, *, numbered: bool) -> Observed:
        """A number of the current epoch that is not the next one."""
        rival = of_epoch(node, node.epoch)
        if node.ahead(seq, now):
            rival = rival if rival and rival.kind == "ahead" else None
            rival = rival or self._add_rival("ahead", node, node.epoch, seq, now)
            return self._rival_spoke(node, rival, seq, now, numbered=numbered)
        sequence = node.sequence
        if not numbered and seq < sequence.floor and not node.lists_at(node.epoch, seq):
            rival = rival if rival and rival.kind == "back" else None
            rival = rival or self._add_rival("back", node, node.epoch, seq, now)
            return self._rival_spoke(node, rival, seq, now, numbered=False)
        if not numbered:
            node.reach(seq, now)
            sequence.raise_floor(now)
        elif not node.take(seq, now):
            if rival is not None and rival.kind == "back" and seq > rival.highest:
                rival.highest, rival.last_seen_at = seq, now
            return _SEEN
        # Below the floor, it may be of another numbering of this epoch.
        if seq >= sequence.floor or not numbered:
            node.last_seen_at = now
            node.restored = False
        return Observed(True, False)

    def _restarted(self, node: Node, epoch: int, seq: int, now: int, *, numbered: bool) -> Observed:
        """A later epoch: it becomes the current one at once. The one before stays as its rival for
        a while, in case it continues."""
        new = _begun(node.name, epoch, seq, now, numbered=numbered)
        # A node that restarts again and again without a list must not put off the expiry.
        new.health.inherit(node.health, with_loss=True)
        new.list_trouble = node.list_trouble
        new.lose(now)
        new.rivals = node.rivals
        if now - node.last_seen_at < OVER_AFTER_MS and not node.restored:
            node.rivals = []
            new.rivals.append(
                Rival(
                    "before",
                    node.epoch,
                    node.sequence.highest,
                    now,
                    node.last_seen_at,
                    listed=node.listed_seq,
                    before=node,
                )
            )
        self._believe(new)
        return Observed(True, True)

    def _adopt(self, node: Node, rival: Rival, now: int) -> Node:
        """Make the rival's numbering the current one."""
        highest = rival.highest
        new = rival.before or Node(
            node.name, rival.epoch, Sequence(highest + 1, highest), last_seen_at=now
        )
        new.sequence.highest = max(new.sequence.highest, highest)
        new.sequence.missing.clear()  # a list is asked for
        new.sequence.restart_floor(highest, now)
        new.since = new.last_seen_at = now
        new.listed_seq, new.listed_at, new.listing = rival.listed, None, rival.listing
        new.health.inherit(node.health, with_loss=False)
        new.gaps, new.dialogs, new.list_trouble = node.gaps, node.dialogs, node.list_trouble
        new.lose(now)
        new.rivals = [one for one in node.rivals if one is not rival]
        new.settling = True
        if now - node.last_seen_at < OVER_AFTER_MS and not node.restored:
            new.rivals.append(
                Rival(
                    "later",
                    node.epoch,
                    node.sequence.highest,
                    node.since,
                    node.last_seen_at,
                    beats=1,
                    listed=node.listed_seq,
                )
            )
        self._believe(new)
        return new

    def _believe(self, node: Node) -> None:
        self.by_name[node.name] = node
        node.settling |= len(node.rivals) > MOST_RIVALS
        node.rivals = node.rivals[-MOST_RIVALS:]
        self._set_floors(node)

    # -- the others --------------------------------------------------------------------------

    def _add_rival(self, kind: Kind, node: Node, epoch: int, seq: int, now: int) -> Rival:
        first = min(seq, node.sequence.low_since(now, seq)) if kind == "back" else seq
        rival = Rival(kind, epoch, seq, since=now, last_seen_at=now, first=first)
        node.rivals = [one for one in node.rivals if one.epoch != epoch or one.kind != kind]
        node.rivals = [*node.rivals, rival]
        if len(node.rivals) > MOST_RIVALS:
            node.settling |= node.rivals.pop(0).folded
        self._set_floors(node)
        return rival

    def _rival_spoke(
        self, node: Node, rival: Rival, seq: int, now: int, *, numbered: bool
    ) -> Observed:
        """A message of a rival: the rival may become the current numbering."""
        if not rival.quarantined and rival.ahead(seq, now):
            return Observed(True, False, unproven=numbered)
        rival.highest = max(rival.highest, seq)
        rival.last_seen_at = now
        if numbered:
            return Observed(True, False, unproven=rival.quarantined)
        rival.beats += 1
        if rival.kind == "before" and node.listed_seq is None and now - node.since >= LATE_MS:
            self._adopt(node, rival, now)
            return Observed(True, False, returned=True)
        # Without a list: its node restarted with its clock set back, or was set back as a whole.
        if now - node.last_seen_at >= UNCONFIRMED_AFTER_MS and not rival.quarantined:
            back = (rival.epoch, rival.highest) < (node.epoch, node.sequence.highest)
            self._adopt(node, rival, now)
            began = rival.first if rival.kind == "back" else 0
            return Observed(True, True, set_back=back, began=began)
        return Observed(True, False)

    def _set_floors(self, node: Node) -> None:
        """Say by which list each numbering's events are judged, if there is more than one."""
        lists = [(node.epoch, node.listed_seq)]
        lists += [(one.epoch, one.listed) for one in node.rivals if not one.quarantined]
        if node.contested_since is None and len(lists) == 1:
            self.floors.pop(node.name, None)
            return
        if node.contested_since is not None and of_epoch(node, node.epoch) is None:
            lists[0] = (node.epoch, None)  # two count alike: neither's list counts
        floors = self.floors[node.name] = {}
        for epoch, seq in lists:
            position = NEVER if seq is None else position_at(epoch, seq, from_sync=True)
            floors[epoch] = min(position, floors.get(epoch, position))


def _begun(name: str, epoch: int, seq: int, now: int, *, numbered: bool) -> Node:
    # A heartbeat may overtake the event whose number it repeats.
    first = seq if numbered else seq + 1
    sequence = Sequence(first, highest=seq, next_floor=seq, floor_at=now)
    return Node(name, epoch, sequence, last_seen_at=now, since=now)
