"""One message's way: parse → number → fold → every sink, by plain calls that cannot wait.

Every message that comes in is counted once, as exactly one of applied, duplicate, stale,
rejected or dropped: the sum always holds, and ``/metrics`` shows it.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from livestate.active_calls import ActiveCalls, Change
from livestate.call import TRANSITIONS, Stamp, stamp_of
from livestate.errors import Rejected, UnknownPhase
from livestate.events import Envelope, Lost, Sync, parse, parse_cdr
from livestate.nodes import IN_ORDER, Nodes
from livestate.runtime.tally import Tally

log = logging.getLogger("livestate.pipeline")
LOG_A_REASON_EVERY_MS: Final = 10_000


class Sink(Protocol):
    """Takes a change by a call that never waits."""

    def note(self, change: Change) -> None: ...


class Pipeline:
    """The fold of everything that NATS brings."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        sinks: Iterable[Sink],
        *,
        clock: Callable[[], int],
        ended_ms: int = 300_000,
    ) -> None:
        self.tally = Tally()
        self._table = table
        self._nodes = nodes
        self._notes = tuple(sink.note for sink in sinks)
        self._clock = clock
        self._ended_ms = ended_ms
        self._logged: dict[str, int] = {}
        self._unlogged: Counter[str] = Counter()

    def take(self, subject: str, data: bytes) -> None:
        """One message from NATS. Bad ones are counted and logged; nothing is raised."""
        now = self._clock()
        tally = self.tally
        tally.received += 1
        try:
            event = parse(subject, data)
            tally.phases[event.phase] += 1
            # By the phase: an ``isinstance`` of a pydantic model runs Python code for each of them.
            if event.phase == "heartbeat":
                self._hear(event, now, numbered=False)
                self._nodes.by_name[event.node].dialogs = event.dialogs
            elif event.phase == "sync":
                self._hear(event, now, numbered=False)
                self._sync(event, now)
            elif event.phase == "lost":
                # Not the node's word, so the node is not heard by it.
                if not self._give_up(event, now):
                    tally.stale += 1
                    return
            else:
                heard = self._nodes.hear(event.node, event.epoch, event.seq, now, numbered=True)
                if heard is not IN_ORDER:
                    if heard.new_epoch:
                        self._restarted(event, now)
                    if not heard.fresh:
                        tally.duplicate += 1
                        return
                change = self._table.apply(event, now)
                if change is None:
                    if event.dialog is None:
                        tally.applied += 1  # the proxy refused it: a fact, but never a live call
                        tally.refused_by_proxy += 1
                    else:
                        tally.stale += 1
                    return
                before = change.before
                if before is not None and event.phase not in TRANSITIONS[before.state]:
                    tally.irregular += 1
                for note in self._notes:
                    note(change)
        except Rejected as rejected:
            self._reject(rejected, now)
            return
        tally.applied += 1

    def dropped(self, messages: int) -> None:
        """The NATS client had to drop messages before we saw them."""
        self.tally.received += messages
        self.tally.dropped += messages
        now = self._clock()
        for node in self._nodes.by_name.values():
            node.lose(now)

    def reconnected(self) -> None:
        """What was said meanwhile is lost; the numbers will tell how much, lists what it was."""
        for node in self._nodes.by_name.values():
            node.wants_list = True

    def doubt(self, node: str, up_to: Stamp | None) -> None:
        """Nobody can vouch for a node's calls (those not heard of after ``up_to``)."""
        self._tell(self._table.unconfirm(node, self._clock(), up_to))

    def take_cdr(self, data: bytes) -> str | None:
        """One CDR of ``cdr.raw``; None, or why it is none (counted and logged).

        It ends its call whatever was lost. A call it names that nobody here knows of is
        remembered as ended, unless it ended before those that are remembered.
        """
        now = self._clock()
        tally = self.tally
        tally.cdrs += 1
        try:
            cdr = parse_cdr(data)
        except Rejected as rejected:
            tally.cdr_results["rejected"] += 1
            self._log(rejected, now)
            return str(rejected)
        told = self._table.calls.get(self._table.key_of(cdr.node, cdr.dialog or "", cdr.call_id))
        if told is None and (cdr.ended_at or cdr.ts) < now - self._ended_ms:
            change = None
        else:
            change = self._table.apply(cdr, now)
        tally.cdr_results["stale" if change is None else "applied"] += 1
        if change is not None:
            tally.ended_by_cdr += change.before is not None and change.before.live
            self._note(change)
        return None

    def _hear(self, said: Envelope | UnknownPhase, now: int, *, numbered: bool) -> None:
        if self._nodes.hear(said.node, said.epoch, said.seq, now, numbered=numbered).new_epoch:
            self._restarted(said, now)

    def _restarted(self, said: Envelope | UnknownPhase, now: int) -> None:
        """A node has begun a new epoch: its calls are in doubt until its next list."""
        self._tell(self._table.restarted(said.node, now, stamp_of(said.epoch, 0)))

    def _give_up(self, event: Lost, now: int) -> bool:
        stamp = stamp_of(event.epoch, event.seq, listed=True)
        change = self._table.give_up(event.node, event.dialog, event.call_id, stamp, now)
        if change is None:
            return False
        self.tally.given_up += 1
        self._note(change)
        return True

    def _sync(self, part: Sync, now: int) -> None:
        node = self._nodes.by_name[part.node]
        if part.epoch != node.epoch:
            return
        stamp = stamp_of(part.epoch, part.seq, listed=True)
        keys = set()
        for item in part.calls:
            key = self._table.key_of(part.node, item.dialog, item.call_id)
            keys.add(key)
            change = self._table.apply_listed(part.node, key, item, stamp, now)
            if change is not None:
                self._note(change)
        listed = self._nodes.collect(part, keys, now)
        if listed is not None:
            self.tally.lists += 1
            closed = self._tell(self._table.close_missing(part.node, stamp, listed, now))
            self.tally.lost += closed

    def _tell(self, changes: Iterable[Change]) -> int:
        told = 0
        for change in changes:
            told += 1
            self._note(change)
        return told

    def _note(self, change: Change) -> None:
        for note in self._notes:
            note(change)

    def _reject(self, rejected: Rejected, now: int) -> None:
        self.tally.rejected[rejected.reason] += 1
        if isinstance(rejected, UnknownPhase):
            with contextlib.suppress(Rejected):
                self._hear(rejected, now, numbered=True)
        self._log(rejected, now)

    def _log(self, rejected: Rejected, now: int) -> None:
        # One line per reason and ten seconds: whoever floods us must not fill a disk too.
        if now - self._logged.get(rejected.reason, -LOG_A_REASON_EVERY_MS) < LOG_A_REASON_EVERY_MS:
            self._unlogged[rejected.reason] += 1
            return
        self._logged[rejected.reason] = now
        more = self._unlogged.pop(rejected.reason, 0)
        log.warning("rejected a message: %s%s", str(rejected).encode("unicode_escape").decode(),
                    f" ({more} more like it since the last line)" if more else "")  # fmt: skip
