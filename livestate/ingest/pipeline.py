"""One message's way: parse, check the sender, count its number, fold it, deliver the change.

The consumer calls :meth:`Pipeline.handle` with each message of ``call.events.>``, the CDR reader
:meth:`Pipeline.handle_cdr` with each CDR. Nothing here waits: one message is one plain call from
the socket to the sinks, so that messages and readers of the table never see half of a change.
Every message is counted once as applied, duplicate, stale, rejected or dropped (promise C).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Final, cast

from livestate.contract.errors import Rejected, UnknownPhase
from livestate.contract.events import (
    BATCH_SUBJECT,
    CALL_PHASES,
    CDR_SUBJECT,
    SYNC_SUBJECT,
    CallPhase,
    Envelope,
    Heartbeat,
    Lost,
)
from livestate.contract.parse import BadEvent, parse, parse_batch, parse_cdr
from livestate.contract.subjects import Subjects, Vouched
from livestate.ingest.backlog import claimed_node, sender
from livestate.ingest.counters import Counters
from livestate.ingest.dialog_lists import DialogLists, latest_position
from livestate.ingest.known_items import NONE_KNOWN
from livestate.ingest.rejection_log import RejectionLog
from livestate.ingest.second_node import is_new_call
from livestate.ingest.sinks import Sink, Sinks
from livestate.process.slices import Slices
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.epochs import IN_ORDER, Observed
from livestate.state.nodes.node import Held, Node
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Refusals
from livestate.state.position import Position, just_before, position_at
from livestate.state.takeover import Takeover
from livestate.state.transitions import TRANSITIONS

# These say nothing against the node's messages in general: it is heard, and works otherwise.
_NOT_A_REFUSED_NODE: Final = {"unproven", "unknown_phase", "too_many_calls"}
_head_of = itemgetter("node", "owner", "epoch", "seq", "phase")  # of an event's dict: quicker
_UNVOUCHED: Final = Vouched("", None)  # the NATS server does not vouch for the sender


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
        slices: Slices | None = None,
        clocks: NodeClocks | None = None,
        subjects: Subjects | None = None,
    ) -> None:
        """``clock`` gives ms. ``ended_ms``: for how long ended calls are remembered. ``slices``:
        see :class:`~livestate.ingest.sinks.Sinks`. ``clocks`` corrects the times of nodes whose
        clock is off. ``subjects``: which senders the server vouches for, and which node may
        report calls of which other one; without it every sender is believed."""
        self.refusals = Refusals()
        self.counters = Counters()
        self.takeover = Takeover(table, nodes)
        self._table = table
        self._nodes = nodes
        self._sinks = Sinks(sinks, slices)
        self._callbacks, self.listen = self._sinks.callbacks, self._sinks.listen
        self._clock = clock
        self._ended_ms = ended_ms
        self._clocks = clocks
        self._subjects = subjects if subjects is not None and subjects.vouched else None
        self._owners = owners = subjects or Subjects()
        self._rejections = rejections = RejectionLog()
        self._lists = DialogLists(
            table, nodes, self.takeover, owners, self.counters, self._sinks, rejections, clocks
        )
        table.floors = nodes.floors

    def handle(self, subject: str, data: bytes, waited_ms: int = 0) -> None:
        """Fold one message that has waited. A bad one is counted and logged; nothing is raised."""
        now, counters = self._clock(), self.counters
        arrived = now - waited_ms  # a node's clock is compared with this
        counters.received += 1
        vouched = _UNVOUCHED
        try:
            if self._subjects is not None:
                vouched = self._subjects.of(subject)
                subject = vouched.subject
            if subject == BATCH_SUBJECT:
                self._handle_batch(data, now, arrived, vouched)
                return
            known = NONE_KNOWN
            if subject == SYNC_SUBJECT:
                event, known = self._lists.read(data, arrived)
            else:
                event = parse(subject, data, counters.leave_out)
            if self._subjects is not None:
                self._subjects.check(vouched, event.node)
            phase = event.phase
            counters.phases[phase] += 1
            # By phase, not by type: ``isinstance`` of a pydantic model runs Python code each time.
            if phase in CALL_PHASES:  # nearly all
                if not self._handle_call(cast("CallPhase", event), now, arrived):
                    return
            elif event.phase == "heartbeat":
                self._handle_heartbeat(event, now, arrived)
            elif event.phase == "sync":
                self._observe(event, now, numbered=False)
                self._lists.fold(event, known, data, now, arrived)
            elif event.phase == "copies":
                self._observe(event, now, numbered=False)
                if event.epoch == self._nodes.by_name[event.node].epoch:
                    self._lists.copies(event, now)
            # Another instance of livestate sent "lost": no sign of life of the node.
            elif event.phase == "lost" and not self._expire(event, now):
                counters.stale += 1
                return
        except Rejected as rejected:
            self._reject(rejected, data, now, vouched)
            if subject == SYNC_SUBJECT:
                self._reject_list(data, rejected, now, vouched)
            return
        counters.applied += 1

    def _handle_batch(self, data: bytes, now: int, arrived: int, vouched: Vouched) -> None:
        """Fold each event of a batch as if it had come alone: also counted and rejected alone."""
        events = parse_batch(data, self.counters.leave_out)
        counters = self.counters
        counters.received += len(events) - 1  # the message is counted as one
        for event in events:
            if isinstance(event, BadEvent):
                self._reject(event.rejected, event.data, now, vouched)
                continue
            try:
                if self._subjects is not None:
                    self._subjects.check(vouched, event.node)
                counters.phases[event.phase] += 1
                if self._handle_call(event, now, arrived):
                    counters.applied += 1
            except Rejected as rejected:
                self._reject(rejected, b'{"node":"%b"}' % event.node.encode(), now, vouched)

    def handle_cdr(self, data: bytes, subject: str = CDR_SUBJECT) -> str | None:
        """Fold one CDR of ``cdr.raw``. Returns None, or why it was rejected (counted and logged).

        A CDR ends its call whatever events were lost. One of a call that is not known is
        remembered as ended, unless the call ended longer ago than ended calls are remembered.
        """
        now = self._clock()
        counters = self.counters
        counters.cdrs += 1
        try:
            cdr = parse_cdr(data, counters.leave_out)
            if self._subjects is not None:
                self._subjects.check(self._subjects.of(subject), cdr.node)
            self._owners.check_owner(cdr.node, cdr.owner)
        except Rejected as rejected:
            counters.cdr_results["rejected"] += 1
            self._rejections.write(rejected, now)
            return str(rejected)
        if self._clocks is not None:
            cdr = self._clocks.cdr(cdr, now)
        cdr = self.takeover.as_owners(cdr)
        known = self._table.calls.get(self._table.key_of(cdr.node, cdr.dialog or "", cdr.call_id))
        if known is None and (cdr.ended_at or cdr.ts) < now - self._ended_ms:
            change = None
        else:
            change = self._table.apply(cdr, now)
        counters.cdr_results["stale" if change is None else "applied"] += 1
        if change is not None:
            counters.ended_by_cdr += change.before is not None and change.before.live
            self._sinks.publish(change)
        return None

    def node_of(self, subject: str, data: bytes) -> str:
        """The node of a message before it is parsed; "" if that cannot be read."""
        subjects = self._subjects
        return claimed_node(data) if subjects is None else sender(data, subjects.of(subject).node)

    def on_dropped(self, messages: int, name: str | None = None) -> None:
        """Count messages that were dropped before ``handle``. ``name`` is their node; None if it
        is not known: then every node may have lost some and is asked for its list."""
        self.counters.received += messages
        self.counters.dropped += messages
        now = self._clock()
        if name is None:
            for node in self._nodes.by_name.values():
                node.lose(now)
        elif (known := self._nodes.by_name.get(name)) is not None:
            known.lose(now)

    def on_reconnected(self) -> None:
        """Ask all nodes for lists: what they published meanwhile was not received."""
        for node in self._nodes.by_name.values():
            node.wants_list = True

    def mark_unconfirmed(self, node: str, up_to: Position | None) -> None:
        """Mark the calls of a node that are not confirmed any more: those last reported before
        ``up_to``, or all of them (None) because the node is silent."""
        now = self._clock()
        if up_to is None:
            self._sinks.sweep(self.takeover.fell_silent(node, now))
        self._sinks.sweep(self._table.sweeps.unconfirm(node, now, up_to, self.takeover.goes_on))
        self.takeover.ask(node)

    def settle(self, node: Node, held: Held) -> None:
        """End the rival numberings of a node: its last list decides about all its calls."""
        self._lists.settle(node, held, self._clock())

    def _handle_heartbeat(self, event: Heartbeat, now: int, arrived: int) -> None:
        self._observe(event, now, numbered=False)
        node = self._nodes.by_name[event.node]
        if event.epoch == node.epoch:
            node.dialogs = event.dialogs
        if self._clocks is not None:
            self._clocks.observe(event.node, event.ts, arrived)

    def _handle_call(self, event: CallPhase, now: int, arrived: int) -> bool:
        """Fold one event of a call. False if it was counted as duplicate or stale."""
        node, owner, epoch, seq, phase = _head_of(event.__dict__)
        heard = self._nodes.observe(node, epoch, seq, now, numbered=True)
        if heard is not IN_ORDER:
            self._on_numbering(event, heard, now)
            if heard.unproven:
                number = f"number {seq} of epoch {epoch}"
                raise Rejected("unproven", f"{node}: {number} waits for the node's list")
        if owner is not None:
            self._owners.check_owner(node, owner)
        if self._clocks is not None:
            event = self._clocks.call(event, arrived)
        # An event with a number that was seen before is folded as well: a true duplicate changes
        # nothing, and where two nodes use one name it is another event. Not so an event of another
        # node's call: it gets a new position among the owner's numbers each time it is folded.
        foreign = owner is not None and owner != node
        if foreign and heard.fresh:
            event = self.takeover.as_owners(event)
        change = None
        if heard.fresh or not foreign:
            change = self._table.apply(event, now)
        if heard is not IN_ORDER:
            change = self._out_of_order(event, heard, change, now)
            if change is None and not heard.fresh:
                self.counters.duplicate += 1
                return False
        if change is None:
            if event.dialog is None:  # the proxy refused it: valid, but it was never a live call
                self.counters.refused_by_proxy += 1
                return True
            self.counters.stale += 1
            return False
        before = change.before
        if before is not None and phase not in TRANSITIONS[before.state]:
            self.counters.irregular += 1
        for on_change in self._callbacks:
            on_change(change)
        return True

    def _observe(self, message: Envelope | UnknownPhase, now: int, *, numbered: bool) -> None:
        """Note that the node was heard. ``numbered``: the message has a number of its own;
        heartbeats and lists repeat the last one."""
        heard = self._nodes.observe(
            message.node, message.epoch, message.seq, now, numbered=numbered
        )
        self._on_numbering(message, heard, now)

    # A node numbers its events within an epoch, which is the time of its start. A higher epoch is
    # a restart: its calls may be gone, so they are marked until its next list. A lower epoch is
    # first suspected to be a second node of the same name (:mod:`livestate.state.nodes`). Where
    # it turns out to be the same node with its clock set back, the calls that it reported between
    # the two beginnings are judged again (``set_back``); where it was no restart at all, the marks
    # are taken back (``returned``).
    def _on_numbering(self, message: Envelope | UnknownPhase, heard: Observed, now: int) -> None:
        """Apply to the table what a number showed about its node: a restart, a return, a clock
        that was set back."""
        if heard.returned:
            self._table.nodes.returned(message.node)
        if heard.set_back:
            node = self._nodes.by_name[message.node]
            began, since = position_at(message.epoch, heard.began), latest_position(node)
            last = partial(latest_position, node)
            since = just_before(since)
            steps = self._table.sweeps.set_back(message.node, now, just_before(began), since, last)
            self._sinks.sweep(steps)
        elif heard.new_epoch:
            restarted = position_at(message.epoch, 0)
            self._sinks.sweep(self._table.sweeps.restarted(message.node, now, restarted))

    def _out_of_order(
        self, event: CallPhase, heard: Observed, change: Change | None, now: int
    ) -> Change | None:
        """Look for a second node of the same name behind an event whose number is not the next
        one. Returns what the event changed in the end."""
        if change is None and is_new_call(self._nodes, self._table, event, heard, now):
            self._nodes.collide(event.node, event.epoch, event.seq, now)
            return self._table.apply(event, now)
        if change is not None and not heard.fresh:
            self._nodes.collide(event.node, event.epoch, event.seq, now)
        return change

    def _expire(self, event: Lost, now: int) -> bool:
        """End a call that stayed unconfirmed for too long; False if it is confirmed or over."""
        node = self._nodes.by_name.get(event.node)
        position = position_at(event.epoch, event.seq, from_sync=True)
        if node is not None:  # beyond the node's last number, only a list could revive the call
            position = min(position, latest_position(node))
        change = self._table.expire(event.node, event.dialog, event.call_id, position, now)
        if change is None:
            return False
        self.counters.expired += 1
        self._sinks.publish(change)
        return True

    def _reject(self, rejected: Rejected, data: bytes, now: int, vouched: Vouched) -> None:
        self.counters.rejected[rejected.reason] += 1
        if rejected.reason not in _NOT_A_REFUSED_NODE:
            name = sender(data, vouched.node)
            if name:
                self.refusals.note(name, str(rejected), now)
        if isinstance(rejected, UnknownPhase):  # of a newer bridge: its number counts
            with contextlib.suppress(Rejected):
                if self._subjects is not None:
                    self._subjects.check(vouched, rejected.node)
                self._observe(rejected, now, numbered=True)
        self._rejections.write(rejected, now)

    def _reject_list(self, data: bytes, rejected: Rejected, now: int, vouched: Vouched) -> None:
        """Note that a part of a list was rejected: without it no list of its node is complete."""
        self.counters.lists_failed += 1
        name = sender(data, vouched.node)
        if name:
            self._nodes.list_refused(name, str(rejected), now)
