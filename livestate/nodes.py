"""What we know of each SIP node: its numbering, what is missing of it, when it last spoke.

The numbers (``epoch``, gap-free ``seq``) tell a loss from quiet; heartbeats tell quiet from dead;
a complete list of dialogs (``sync``) mends what was lost. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from livestate.errors import Rejected
from livestate.events import Sync

GAP_MATURES_MS: Final = 1_000  # arrivals swap by a few numbers; a gap is a loss only after that
GAP_MATURES_NUMBERS: Final = 64
MAX_MISSING: Final = 10_000  # more is not a gap but a node we have not heard for long
MAX_NODES: Final = 10_000  # a network has dozens: the others are made up
ASK_AGAIN_MS: Final = 2_000
# A list that begins to come in so soon after a loss may have been taken before it. After that it is
# the node's last word, also where somebody told a number that the node has never reached.
ON_ITS_WAY_MS: Final = 5_000
LIST_OVERDUE_MS: Final = 90_000  # nodes send their list every 30 to 60 s
# Without a word, or without the list that would mend a loss: longer than our own NATS connection
# needs to notice that it is half-open, or all calls of all nodes would be marked for a moment.
DOUBT_AFTER_MS: Final = 15_000


class Loss(NamedTuple):
    """Something of a node was lost: since when we know (ms), when we last learned of more, and up
    to which number."""

    since: int
    again: int
    highest: int


class Doubt(NamedTuple):
    """Since when (ms) nobody vouches for a node's calls that were last heard of up to a number.

    Each has its own time: a call is given up a stated time after it was marked, neither earlier
    for a doubt that was there before its own, nor never for one that came after."""

    at: int
    epoch: int
    highest: int


class Heard(NamedTuple):
    """``fresh`` False: this number was here before. ``new_epoch``: the node has restarted."""

    fresh: bool
    new_epoch: bool


IN_ORDER: Final = Heard(True, False)


@dataclass(slots=True)
class Listing:
    """Parts of one list of dialogs as they come in."""

    sync_id: str
    began: int  # when its first part came (ms)
    parts: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Node:
    """One SIP node as we hear it."""

    name: str
    epoch: int
    first: int  # numbers before it were given out before we listened: news if they come
    highest: int
    heard_at: int
    missing: dict[int, int] = field(default_factory=dict)  # number → since when (ms)
    given_up: set[int] = field(default_factory=set)  # numbers that are not waited for any more
    wants_list: bool = True
    loss: Loss | None = None  # which only a list can mend, and which has put no call in doubt yet
    doubts: deque[Doubt] = field(default_factory=deque)  # which only a list can end; oldest first
    silent_since: int | None = None  # its last word when all calls were marked for its silence
    asked_at: int = 0
    listed_at: int | None = None
    dialogs: int | None = None
    gaps: int = 0
    listing: Listing | None = None

    def take(self, seq: int, now: int) -> bool:
        """Note a number; False if it was here before."""
        if seq > self.highest:
            self._miss(seq - 1, now)
            self.highest = seq
            return True
        if self.missing.pop(seq, None) is not None or seq < self.first:
            return True
        if seq in self.given_up:
            self.given_up.discard(seq)
            return True
        return False

    def told(self, seq: int, now: int) -> None:
        """The node says that it has given out numbers up to ``seq``."""
        if seq > self.highest:
            self._miss(seq, now)
            self.highest = seq

    def _miss(self, last: int, now: int) -> None:
        if last - self.highest > MAX_MISSING:
            self.missing.clear()
            self.first = last + 1
            self.lose(now, last)
        else:
            for number in range(self.highest + 1, last + 1):
                self.missing[number] = now
            if len(self.missing) > MAX_MISSING:
                self.give_up(last)
                self.lose(now, last)

    def lose(self, now: int, last: int = 0) -> None:
        """Something up to ``last``, or up to now, is lost for good: only a list can tell what is
        live."""
        self.wants_list = True
        since = self.loss.since if self.loss else now
        self.loss = Loss(since, now, max(self.highest, last))

    def doubt(self, now: int) -> None:
        """What was heard of up to the loss, or without one up to now, is in doubt from now on."""
        self.doubts.append(Doubt(now, self.epoch, self.loss.highest if self.loss else self.highest))
        self.loss = None

    def listed(self, seq: int, began: int, now: int) -> None:
        """A list of this epoch, true at ``seq``, is complete. It ends all doubt, but one that was
        taken before a loss has not mended that: what is left then is known since that loss."""
        self.listed_at = now
        self.doubts.clear()
        loss = self.loss
        if loss and (seq >= loss.highest or began - loss.again >= ON_ITS_WAY_MS):
            self.loss = None
        elif loss:
            self.loss = loss._replace(since=loss.again)
        self.wants_list = self.loss is not None

    def give_up(self, up_to: int) -> None:
        """Stop waiting for numbers up to ``up_to``. One that comes all the same is no duplicate:
        it may tell how a call ended."""
        late = {number for number in self.missing if number <= up_to}
        self.missing = {n: since for n, since in self.missing.items() if n not in late}
        self.given_up |= late
        if len(self.given_up) > MAX_MISSING:
            self.given_up.clear()
            self.first = up_to + 1

    def gap_matured(self, now: int) -> bool:
        """Whether a missing number is lost, not late."""
        if not self.missing:
            return False
        oldest = next(iter(self.missing))
        return (
            now - self.missing[oldest] >= GAP_MATURES_MS
            or self.highest - oldest >= GAP_MATURES_NUMBERS
        )


class Nodes:
    """All nodes heard of. ``stale_after`` ms without a word, a node's calls cannot be believed."""

    def __init__(self, *, stale_after: int) -> None:
        self.stale_after = stale_after
        self.by_name: dict[str, Node] = {}

    def expect(self, name: str, epoch: int, seq: int, now: int) -> None:
        """A node we knew before our restart: what it numbered meanwhile is missing."""
        node = self.by_name[name] = Node(name, epoch, first=seq, highest=seq, heard_at=now)
        node.lose(now)

    def hear(self, name: str, epoch: int, seq: int, now: int, *, numbered: bool) -> Heard:
        """A message of a node. ``numbered``: it used up ``seq``; a heartbeat only repeats it.

        Raises :class:`~livestate.errors.Rejected` for a node more than there ever are: one bad
        sender of names could take all memory.
        """
        node = self.by_name.get(name)
        if node is not None and numbered and seq == node.highest + 1 and epoch == node.epoch:
            node.highest = seq  # the common case, tens of thousands of times a second
            node.heard_at = now
            return IN_ORDER
        if node is None or epoch > node.epoch:
            before = node
            if before is None and len(self.by_name) >= MAX_NODES:
                raise Rejected("too_many_nodes", f"{MAX_NODES} are known")
            # A heartbeat may overtake the event whose number it repeats.
            first = seq if numbered else seq + 1
            node = self.by_name[name] = Node(name, epoch, first, highest=seq, heard_at=now)
            if before is not None:
                # A node that restarts again and again without a list puts nothing off by that.
                node.doubts, node.loss = before.doubts, before.loss
                node.lose(now)
            return Heard(True, before is not None)
        if epoch < node.epoch:
            # Late, from before the restart: its fold knows what to do. But it is no sign of life;
            # and where nothing else is heard, the node restarted with its clock set back.
            if numbered or now - node.heard_at < DOUBT_AFTER_MS:
                return Heard(True, False)
            node = self.by_name[name] = Node(name, epoch, seq + 1, highest=seq, heard_at=now)
            node.lose(now)
            return Heard(True, True)
        node.heard_at = now
        if numbered:
            return Heard(node.take(seq, now), False)
        node.told(seq, now)
        return Heard(True, False)

    def collect(self, part: Sync, keys: set[str], now: int) -> set[str] | None:
        """Note one part of a list; all keys of the list once its last part is here.

        Parts of another list start anew: lists are never mixed. A list of an epoch that is over
        is nobody's truth.
        """
        node = self.by_name[part.node]
        if part.epoch != node.epoch or part.part > part.parts:
            return None
        if node.listing is None or node.listing.sync_id != part.sync_id:
            node.listing = Listing(part.sync_id, now)
        node.listing.parts.add(part.part)
        node.listing.keys |= keys
        if len(node.listing.parts) < part.parts:
            return None
        listing, node.listing = node.listing, None
        node.listed(part.seq, listing.began, now)
        node.give_up(part.seq)
        return listing.keys

    def to_ask(self, now: int) -> Iterator[str]:
        """Nodes that must send their list: new to us, restarted, or with a loss."""
        for node in self.by_name.values():
            if node.gap_matured(now):
                node.gaps += 1
                node.lose(now)
                node.give_up(node.highest)
            if node.listed_at is not None and now - node.listed_at >= LIST_OVERDUE_MS:
                node.wants_list = True
            if node.wants_list and now - node.asked_at >= ASK_AGAIN_MS:
                node.asked_at = now
                yield node.name

    def stale(self, now: int) -> list[Node]:
        """Nodes that have been silent for too long."""
        return [n for n in self.by_name.values() if now - n.heard_at >= self.stale_after]

    def to_doubt(self, now: int, since: int) -> Iterator[tuple[Node, int | None]]:
        """Nodes whose calls nobody can vouch for any more, though we have been connected ``since``
        (ms): a silent one, all of them (None); one that does not send the list that would mend a
        loss, those last heard of up to a number."""
        for node in self.by_name.values():
            if now - max(node.heard_at, since) >= DOUBT_AFTER_MS:
                # Once for each silence: a late word makes one call look sure again.
                if node.silent_since != node.heard_at:
                    node.silent_since = node.heard_at
                    node.loss, node.wants_list = None, True
                    node.doubt(now)
                    yield node, None
            elif node.loss and now - max(node.loss.since, since) >= DOUBT_AFTER_MS:
                node.doubt(now)
                yield node, node.doubts[-1].highest

    def to_give_up(self, now: int, since: int, after: int) -> Iterator[tuple[Node, Doubt]]:
        """Nodes with a doubt that no list has ended for ``after`` ms: what is still marked, and
        was last heard of up to there, is over. None when we have been connected ``since`` a moment
        only: while we were not, no list could reach us."""
        if now - since < DOUBT_AFTER_MS:
            return
        for node in self.by_name.values():
            doubts = node.doubts
            while len(doubts) > 1 and now - doubts[1].at >= after:
                doubts.popleft()  # the later one is of more calls
            if doubts and now - doubts[0].at >= after:
                yield node, doubts[0]
