"""One SIP node by its current numbering: its numbers, its health, and its lists.

:mod:`livestate.state.nodes.epochs` decides which numbering of a name is the current one and feeds
it;
:mod:`livestate.state.nodes.registry` collects its lists and asks for them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from livestate.state.nodes.dialog_list import Listing, ListTrouble
from livestate.state.nodes.health import Health, Signal, Unconfirmed
from livestate.state.nodes.sequence import Sequence, further_ahead_than_time_allows

if TYPE_CHECKING:
    from livestate.state.nodes.rival_epochs import Rival


class Held(NamedTuple):
    """A complete list, kept until it is known which of a node's other calls it may end."""

    at: int
    seq: int
    listing: Listing


@dataclass(slots=True)
class Node:
    """One SIP node. All times are in ms, by the clock that the caller gives."""

    name: str
    epoch: int
    sequence: Sequence
    last_seen_at: int
    since: int = 0  # when this numbering was first seen
    health: Health = field(default_factory=Health)
    gaps: int = 0  # that became a loss
    dialogs: int | None = None  # by its last heartbeat
    # -- lists --
    wants_list: bool = True
    asked_at: int = 0
    listed_at: int | None = None
    listed_seq: int | None = None
    listing: Listing | None = None  # the list whose parts come in now
    last_list: tuple[str, int, int, int] | None = None  # that was complete
    list_trouble: ListTrouble | None = None  # since when no list of it is complete, and why
    unlisted: int = 0  # dialogs that its last list could not name
    # -- other numberings under the same name (livestate.state.nodes.rival_epochs) --
    restored: bool = False  # known from before the service's restart, not seen since
    rivals: list[Rival] = field(default_factory=list)
    contested_since: int | None = None  # messages of two numberings alternate
    collisions: deque[int] = field(default_factory=lambda: deque(maxlen=3))  # when
    lists: deque[Held] = field(default_factory=lambda: deque(maxlen=6))  # while there are rivals
    held: Held | None = None  # the last of them that is of this numbering
    settling: bool = False  # a rival has gone: the next list decides which of its calls are live

    # -- numbers -----------------------------------------------------------------------------

    def take(self, seq: int, now: int) -> bool:
        """An event has this number; False if the number was seen before."""
        fresh = self.sequence.take(seq, now)
        self._sequence_changed(now)
        return fresh

    def reach(self, seq: int, now: int) -> None:
        """A heartbeat reports that numbers up to ``seq`` were used."""
        self.sequence.reach(seq, now)
        self._sequence_changed(now)

    def mature_gap(self, now: int) -> None:
        """Missing numbers that have been waited for long enough are a loss."""
        if self.sequence.gap_matured(now):
            self.gaps += 1
            self.lose(now)
            self.write_off(self.sequence.highest)

    def write_off(self, up_to: int) -> None:
        """Stop waiting for numbers up to ``up_to``."""
        self.sequence.write_off(up_to)
        self.health.set_gap(bool(self.sequence.missing))

    def ahead(self, seq: int, now: int) -> bool:
        """Whether ``seq`` is further ahead than the time since the node's last word allows."""
        by = seq - self.sequence.highest
        return not self.restored and further_ahead_than_time_allows(by, now - self.last_seen_at)

    def _sequence_changed(self, now: int) -> None:
        overrun, self.sequence.overrun = self.sequence.overrun, None
        if overrun is not None:
            self.lose(now, overrun)
        self.health.set_gap(bool(self.sequence.missing))

    # -- losses and lists --------------------------------------------------------------------

    def lose(self, now: int, last: int = 0) -> None:
        """Something up to number ``last``, or up to now, is lost for good: only a list can tell
        which calls are up."""
        self.wants_list = True
        self.health.lose(now, max(self.sequence.highest, last))

    def mark_unconfirmed(self, now: int, because: Signal = "timeout") -> Unconfirmed:
        """Mark the calls last reported before the loss; without a loss, all calls."""
        return self.health.mark_unconfirmed(now, self.epoch, self.sequence.highest, because)

    def lists_at(self, epoch: int, seq: int) -> bool:
        """Whether a list that is true at this number is coming in. It is not older than the events
        that overtook its later parts: 50,000 dialogs take a bridge 5 s."""
        listing = self.listing
        return listing is not None and (listing.epoch, listing.seq) == (epoch, seq)

    def list_complete(self, seq: int, began: int, now: int, unlisted: int = 0) -> None:
        """A list of this epoch, true at ``seq``, is complete; its first part came at ``began``, and
        it could not name ``unlisted`` dialogs."""
        self.listed_at = now
        self.listed_seq = seq
        self.list_trouble = None
        self.unlisted = unlisted
        self.health.list_complete(seq, began, named_all=not unlisted)
        self.wants_list = self.health.loss is not None

    def list_failed(self, reason: str, now: int) -> None:
        """A list of this node was refused, or did not come whole. It ends no call."""
        since, times = (self.list_trouble or (now, "", 0))[::2]
        self.list_trouble = ListTrouble(since, reason, times + 1)
        self.listing = None
        self.wants_list = True
