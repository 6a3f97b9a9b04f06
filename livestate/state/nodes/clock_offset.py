"""The clocks of nodes: their offsets from the service's clock, and times corrected by them.

A call's times come from its node's clock, the page counts ages with ours, and a clock can be set in
the middle of a call. So the pipeline brings every time into our clock when it arrives. A time that
is ambiguous (the node's clock has shown it twice, because it was set back) becomes unknown, and is
never part of a duration. Attributes that a call already has stay.

How an offset is found: each message has the node's time, and it arrives when our clock shows
``now``. A single odd message may be late or forged. When nothing but odd messages has come for a
while, the clock was set: a new **era** begins, with its own offset. Eras are kept, so that a CDR of
yesterday can be brought into our clock too.

A clock that is less than ``TOLERANCE_MS`` off counts as right: no time is changed then. Pure:
``now`` comes in, in ms, from a clock that does not jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from livestate.contract.events import CallEvent, Ended, Failed, Sync, SyncedCall

TOLERANCE_MS: Final = 5_000  # the network, our own queue, and clocks without NTP for a day
# How long nothing but odd messages must come. A message may be seconds late, hardly a minute, never
# a day, and never early: the more unlikely it is late, the sooner the clock is known to be set.
SETTLES_MS: Final = 1_000
LATE_MS: Final = 60_000
SETTLES_LATE_MS: Final = 10_000
DAY_MS: Final = 86_400_000
SETTLES_DAY_MS: Final = 3_000
OWN_MOMENT_MS: Final = 2_000  # a time so near to the event's own was taken with it
_OWN: Final = {"setup": "setup_at", "ringing": "progress_at", "early_media": "progress_at",
               "answered": "answered_at", "ended": "ended_at", "failed": "ended_at"}  # fmt: skip
MOST_ERAS: Final = 8
MOST_CLOCKS: Final = 10_000
TIMES: Final = ("setup_at", "progress_at", "answered_at", "ended_at")

C = TypeVar("C", bound=CallEvent)


@dataclass(slots=True)
class Era:
    """From one setting of a node's clock to the next: its first and last time (the node's, ms), and
    how far it is ahead of ours."""

    first: int
    last: int
    offset: int


@dataclass(slots=True)
class Clock:
    """The clock of a node that was off at least once."""

    eras: list[Era]  # the last one is now; empty while the offset is not known yet
    odd_since: int | None = None  # since when no message has fitted the last era
    odd: int = 0  # how far ahead of ours the clock is by what came since then


class NodeClocks:
    """The clocks of all nodes; one that was never off takes no more memory than its name."""

    def __init__(self) -> None:
        self._clocks: dict[str, Clock] = {}
        self._right: set[str] = set()  # the other nodes: their clocks were right so far

    @property
    def off(self) -> dict[str, int]:
        """node → ms ahead of ours, of the clocks that are wrong now."""
        return {
            name: clock.eras[-1].offset
            for name, clock in self._clocks.items()
            if clock.eras and clock.eras[-1].offset
        }

    def forget(self, node: str) -> None:
        """Forget a node that was removed."""
        self._clocks.pop(node, None)
        self._right.discard(node)

    def observe(self, node: str, ts: int, now: int) -> bool:
        """Compare a message's time ``ts`` (the node's) with ``now`` (ours). False while it is not
        known whether the message is late, or forged, or the clock was set."""
        ahead = ts - now
        clock = self._clocks.get(node)
        if clock is None:
            if -TOLERANCE_MS <= ahead <= TOLERANCE_MS:
                if len(self._right) < MOST_CLOCKS:
                    self._right.add(node)
                return True
            if len(self._clocks) >= MOST_CLOCKS:
                return False
            eras = [Era(0, now, 0)] if node in self._right else []
            clock = self._clocks[node] = Clock(eras)
            self._right.discard(node)
        era = clock.eras[-1] if clock.eras else Era(0, 0, 0)
        off = ahead - era.offset
        if -TOLERANCE_MS <= off <= TOLERANCE_MS:
            clock.odd_since = None
            if era.offset == 0 and (len(clock.eras) < 2 or now - era.first > DAY_MS):
                del self._clocks[node]  # a message was only late, or the clock is right for a day
                self._right.add(node)
            era.last = max(era.last, ts)
            return True
        known_late = bool(clock.eras) or -DAY_MS < off < 0
        if known_late and not _settled(clock, ahead, off, now):
            return False
        first = ts if clock.eras else 0  # the first era began before the first message
        ahead = max(ahead, clock.odd) if clock.odd_since is not None else ahead
        offset = 0 if -TOLERANCE_MS <= ahead <= TOLERANCE_MS else ahead
        clock.eras = [*clock.eras, Era(first, ts, offset)][-MOST_ERAS:]
        clock.odd_since = None
        return True

    def latest(self, now: int, node: str, ts: int) -> int | None:
        """The latest time that a call may have in a list sent at ``ts`` (the node's) and received
        at ``now`` (ours), of a node whose clock is right; None if it is not known to be."""
        if node in self._right and -TOLERANCE_MS <= ts - now <= TOLERANCE_MS:
            return ts + TOLERANCE_MS
        return None

    def call(self, event: C, now: int) -> C:
        """An event of a call as it would be if its node's clock were ours."""
        # Six attributes of a model take 0.8 µs, from its dictionary 0.67 (``python -m timeit``).
        known = event.__dict__
        ts = known["ts"]
        node = known["node"]
        if node in self._right and -TOLERANCE_MS <= ts - now <= TOLERANCE_MS:
            # The common case, tens of thousands of times a second.
            latest = ts + TOLERANCE_MS
            setup, answered = known["setup_at"], known["answered_at"]
            progress, ended = known["progress_at"], known["ended_at"]
            if (
                (setup is None or setup <= latest)
                and (answered is None or answered <= latest)
                and (progress is None or progress <= latest)
                and (ended is None or ended <= latest)
            ):
                return event
        sure = self.observe(node, ts, now)
        clock = self._clocks.get(node)
        if clock is None:
            return event.model_copy(update=_times(event, ts, Era(0, 0, 0), []))
        at = ts - clock.eras[-1].offset if sure else now
        return event.model_copy(update=self._update(event, node, ts, sure) | {"ts": at})

    def list(self, part: Sync, now: int) -> Sync:
        """A part of a list, with the times of its calls in our clock."""
        sure = self.observe(part.node, part.ts, now)
        if part.node in self._clocks:
            calls = tuple(
                one.model_copy(update=self._update(one, part.node, part.ts, sure))
                for one in part.calls
            )
        elif any(_later_than_message(one, part.ts) for one in part.calls):
            calls = tuple(
                one.model_copy(update=_times(one, part.ts, Era(0, 0, 0), [])) for one in part.calls
            )
        else:
            return part
        return part.model_copy(update={"calls": calls})

    def cdr(self, cdr: Ended | Failed, now: int) -> Ended | Failed:
        """A CDR with its times in our clock. It may be days old: its own time selects the era."""
        clock = self._clocks.get(cdr.node)
        if clock is None:
            if cdr.ts > now + TOLERANCE_MS:
                return cdr.model_copy(update=dict.fromkeys(TIMES) | {"ts": now})
            return cdr.model_copy(update=_times(cdr, cdr.ts, Era(0, 0, 0), []))
        within = [one for one in clock.eras if one.first <= cdr.ts <= one.last + TOLERANCE_MS]
        if len(within) != 1:
            return cdr.model_copy(update=dict.fromkeys(TIMES) | {"ts": min(cdr.ts, now)})
        others = [one for one in clock.eras if one is not within[0]]
        update = _times(cdr, cdr.ts, within[0], others)
        return cdr.model_copy(update=update | {"ts": cdr.ts - within[0].offset})

    def _update(
        self, event: CallEvent | SyncedCall, node: str, ts: int, sure: bool
    ) -> dict[str, Any]:
        if not sure:
            return dict.fromkeys(TIMES)
        *before, era = self._clocks[node].eras  # it is sure: there is one
        return _times(event, ts, era, before)


def _settled(clock: Clock, ahead: int, off: int, now: int) -> bool:
    """Whether only odd messages like this one have come for so long that the clock was set."""
    era = clock.eras[-1].offset if clock.eras else 0
    if clock.odd_since is None or (off > 0) != (clock.odd > era):
        clock.odd_since, clock.odd = now, ahead
        return False
    clock.odd = max(clock.odd, ahead)
    late = SETTLES_LATE_MS if off > -LATE_MS else SETTLES_DAY_MS
    return now - clock.odd_since >= (SETTLES_MS if off > 0 else late)


def _later_than_message(event: SyncedCall, ts: int) -> bool:
    """Whether a call has a time that is later than its message."""
    latest = ts + TOLERANCE_MS
    return (
        (event.setup_at or 0) > latest
        or (event.answered_at or 0) > latest
        or (event.progress_at or 0) > latest
        or (event.ended_at or 0) > latest
    )


def _times(event: CallEvent | SyncedCall, ts: int, era: Era, others: list[Era]) -> dict[str, Any]:
    """Each time of a call in our clock; None where it becomes unknown."""
    update: dict[str, Any] = {}
    of_event = _OWN.get(getattr(event, "phase", ""))
    for name in TIMES:
        at = getattr(event, name)
        if at is None:
            continue
        own = name == of_event and abs(at - ts) <= OWN_MOMENT_MS
        known = (
            at <= ts + TOLERANCE_MS
            and at >= era.first
            and not any(one.first <= at <= one.last for one in others)
        )
        update[name] = at - era.offset if own or known else None
    return update
