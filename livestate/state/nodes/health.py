"""The health of one SIP node, as a transition table: whether its calls are confirmed.

The numbering (:mod:`livestate.state.nodes.sequence`) and the lists of dialogs
(:mod:`livestate.state.nodes.registry`) send signals to a node's :class:`Health`; ``/statusz`` shows
its state. The diagram in ``docs/node-health.md`` is drawn from :data:`HEALTH_TRANSITIONS`.

A lost message is mended in steps, because each step costs more than the one before:

1. A number is missing (``gap``). Arrivals swap by a few numbers, so nothing is done for a second.
2. It is still missing (``awaiting_list``): something is lost. Only a complete list of the node's
   dialogs can tell which calls are up, and the node is asked for one.
3. No such list came for 15 s, or the node has been silent for as long (``unconfirmed``): its calls
   stay, and are marked.
4. Still no list after the stated reaping time (``expired``): calls that are still marked are ended
   by a ``lost`` event.

Each loss has its own timer; a later loss neither shortens nor resets it. So a node can be
``unconfirmed`` by one loss and wait for the list that would mend another: the state is the worst of
all, and a complete list leads back to the best one that is still true.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

HealthState: TypeAlias = Literal["current", "gap", "awaiting_list", "unconfirmed", "expired"]
Signal: TypeAlias = Literal[
    "gap_opened",  # a number is missing
    "gap_closed",  # all missing numbers came, or are not waited for any more
    "loss",  # something is lost: a gap matured, messages were dropped, the node restarted
    "mended",  # a complete list came that was taken after the loss
    "timeout",  # … did not come for 15 s
    "silence",  # no message of the node for 15 s
    "unlisted",  # a list lacks calls, but could not name all dialogs
    "confirmed",  # a complete list names all calls of the node
    "expiry",  # no such list came for the reaping time after the calls were marked
]

# state → signal → state. A missing pair leaves the state as it is: the node is worse off already.
HEALTH_TRANSITIONS: Final[Mapping[HealthState, Mapping[Signal, HealthState]]] = MappingProxyType({
    "current": {
        "gap_opened": "gap", "loss": "awaiting_list", "silence": "unconfirmed",
        "unlisted": "unconfirmed",
    },
    "gap": {
        "gap_closed": "current", "loss": "awaiting_list", "silence": "unconfirmed",
        "unlisted": "unconfirmed",
    },
    "awaiting_list": {
        "mended": "current", "timeout": "unconfirmed", "silence": "unconfirmed",
        "unlisted": "unconfirmed",
    },
    "unconfirmed": {"confirmed": "current", "expiry": "expired"},
    "expired": {"confirmed": "current"},
})  # fmt: skip

# A list that begins to come in so soon after a loss may have been taken before it. A list that
# begins later is the node's newest, even if a forged message claimed a number that the node has
# never reached.
ON_ITS_WAY_MS: Final = 5_000


class Loss(NamedTuple):
    """Something of a node was lost: since when that is known (ms), when more was lost last (ms),
    and up to which number."""

    since: int
    again: int
    highest: int


class Unconfirmed(NamedTuple):
    """Calls of a node are marked since ``at`` (ms): those last reported up to a number.

    Each mark has its own time: a call expires a stated time after it was marked, whatever marks
    came before or after."""

    at: int
    epoch: int
    highest: int


class Health:
    """One node's state, and the losses and marks that it is made of."""

    __slots__ = ("gap", "loss", "silent_since", "state", "unconfirmed")

    def __init__(self) -> None:
        self.state: HealthState = "current"
        self.gap = False  # numbers are missing and may still come
        self.loss: Loss | None = None  # which only a list can mend, and which has marked no call
        self.unconfirmed: deque[Unconfirmed] = deque()  # oldest first
        self.silent_since: int | None = None  # its last message before it was marked as silent

    def unconfirmed_ms(self, now: int) -> int | None:
        """For how long calls have been marked; None if none is."""
        return now - self.unconfirmed[0].at if self.unconfirmed else None

    def signal(self, signal: Signal) -> None:
        """Take one step of the table."""
        self.state = HEALTH_TRANSITIONS[self.state].get(signal, self.state)

    def set_gap(self, gap: bool) -> None:
        """Numbers are missing, or none is any more."""
        if gap != self.gap:
            self.gap = gap
            self.signal("gap_opened" if gap else "gap_closed")

    def lose(self, now: int, highest: int) -> None:
        """Something is lost up to number ``highest``."""
        since = self.loss.since if self.loss else now
        self.loss = Loss(since, now, highest)
        self.signal("loss")

    def mark_unconfirmed(
        self, now: int, epoch: int, highest: int, because: Signal = "timeout"
    ) -> Unconfirmed:
        """Mark the calls last reported up to the loss; without a loss, those up to ``highest``."""
        mark = Unconfirmed(now, epoch, self.loss.highest if self.loss else highest)
        self.unconfirmed.append(mark)
        self.loss = None
        self.signal(because)
        return mark

    def mark_unlisted(self, now: int, epoch: int, seq: int) -> None:
        """A list, true at ``seq``, lacks calls that may be among the dialogs it could not name."""
        self.unconfirmed.append(Unconfirmed(now, epoch, seq))
        self.signal("unlisted")

    def fall_silent(self, now: int, epoch: int, highest: int, last_seen_at: int) -> bool:
        """The node has been silent for too long: all its calls are marked. False if they were
        marked for this silence before: a late event confirms its own call only."""
        if self.silent_since == last_seen_at:
            return False
        self.silent_since = last_seen_at
        self.loss = None
        self.mark_unconfirmed(now, epoch, highest, "silence")
        return True

    def list_complete(self, seq: int, began: int, *, named_all: bool) -> None:
        """A list, true at ``seq``, whose first part came at ``began`` (ms), is complete.

        It mends a loss only if it was taken after the loss: at a number that is not lower, or so
        late that the node would not have sent an older one. A loss that it does not mend is timed
        from when more was lost last. Only a list that names all dialogs confirms the calls: one
        that it lacks may be among those that it could not name.
        """
        loss = self.loss
        if loss and seq < loss.highest and began - loss.again < ON_ITS_WAY_MS:
            self.loss = loss._replace(since=loss.again)
        else:
            self.loss = None
            self.signal("mended")
        if named_all:
            self.forget_marks()
        self._settle()

    def forget_marks(self) -> None:
        """Drop all marks: the calls are confirmed, or the marks are obsolete."""
        self.unconfirmed.clear()
        self.signal("confirmed")

    def inherit(self, other: Health, *, with_loss: bool) -> None:
        """This numbering replaces that of ``other``, whose marks stay."""
        self.unconfirmed = other.unconfirmed
        if with_loss:
            self.loss = other.loss
        self.gap = False
        self.state = other.state if self.unconfirmed else "current"
        self._settle()

    def due_expiry(self, now: int, after: int) -> Unconfirmed | None:
        """The mark that has been waiting for ``after`` ms, if one has. Of several the latest is
        given: it is of more calls."""
        marks = self.unconfirmed
        while len(marks) > 1 and now - marks[1].at >= after:
            marks.popleft()
        if not marks or now - marks[0].at < after:
            return None
        self.signal("expiry")
        return marks[0]

    def _settle(self) -> None:
        """From ``current`` to what is still true."""
        if self.loss:
            self.signal("loss")
        elif self.gap:
            self.signal("gap_opened")
