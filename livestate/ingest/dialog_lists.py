"""Reconciles the table with the nodes' lists: a node's own dialogs, and its copies of others'.

The pipeline calls :class:`DialogLists` with each part of a list (``sync``, ``copies``) after it
has noted that the node was heard. The guarantees: every listed call is live afterwards; a call
that a complete list lacks ends as ``lost`` or is marked unconfirmed; one bad item of a list is
rejected alone, and the call it names is not ended by its absence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Set
from functools import partial
from typing import cast

from livestate.contract.errors import Rejected
from livestate.contract.events import SYNC_SUBJECT, Copies, RefusedCall, Sync
from livestate.contract.parse import Parsed, parse
from livestate.contract.subjects import Subjects
from livestate.ingest.counters import Counters
from livestate.ingest.known_items import NONE_KNOWN, unchanged, without_known
from livestate.ingest.rejection_log import RejectionLog
from livestate.ingest.sinks import Sinks
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.dialog_list import Listing
from livestate.state.nodes.node import Held, Node
from livestate.state.nodes.registry import Complete, Nodes
from livestate.state.position import Position, epoch_of, position_at
from livestate.state.sweeps import Step
from livestate.state.takeover import Takeover


class DialogLists:
    """The lists of all nodes of one table."""

    def __init__(
        self,
        table: ActiveCalls,
        nodes: Nodes,
        takeover: Takeover,
        owners: Subjects,
        counters: Counters,
        sinks: Sinks,
        rejections: RejectionLog,
        clocks: NodeClocks | None = None,
    ) -> None:
        """``owners`` says which node may report calls of which other one; ``clocks``
        corrects the times of nodes whose clock is off."""
        self._table = table
        self._nodes = nodes
        self._takeover = takeover
        self._owners = owners
        self._counters = counters
        self._sinks = sinks
        self._rejections = rejections
        self._clocks = clocks
        self._too_long: dict[str, tuple[str, int, int, int]] = {}  # node → a list with too many

    def read(self, data: bytes, arrived: int) -> tuple[Parsed, Mapping[str, Call]]:
        """One message of ``call.events.sync`` without the items of calls that are known to be as it
        says, and these calls by key. Raises what :func:`~livestate.contract.parse.parse` raises."""
        latest_of = partial(self._clocks.latest, arrived) if self._clocks is not None else None
        found = without_known(data, self._table, latest_of)
        if found is not None:
            rest, known = found
            with contextlib.suppress(Rejected):  # then the message as it came says why
                return parse(SYNC_SUBJECT, rest, self._counters.leave_out), known
        return parse(SYNC_SUBJECT, data, self._counters.leave_out), NONE_KNOWN

    def fold(
        self, part: Sync, known: Mapping[str, Call], data: bytes, now: int, arrived: int
    ) -> None:
        """Apply what :meth:`read` returned of ``data``, once its node was noted as heard. Raises
        what :meth:`sync` raises."""
        if known and not unchanged(self._table, known):  # it was the first sign of a restart
            part, known = cast("Sync", parse(SYNC_SUBJECT, data)), NONE_KNOWN
        if self._clocks is not None:
            part = self._clocks.list(part, arrived)
        self.sync(part, now, known)

    def sync(self, part: Sync, now: int, known: Mapping[str, Call] = NONE_KNOWN) -> None:
        """Apply one part of a node's list; with the last one, reconcile the whole list. The part
        also names the ``known`` calls, of which it says nothing new.

        Raises :class:`~livestate.contract.errors.Rejected` for a list that names more calls than
        the table may hold: none of its later parts is read either.
        """
        line = self._nodes.source_of(part, now)
        if line is None:
            return
        self._check_length(part, len(part.calls) + len(known), line.listing, now)
        position = position_at(part.epoch, part.seq, from_sync=True)
        keys = set(known)
        table = self._table
        if known and position >= table.nodes.floor(part.node, part.epoch, table.floors):
            for named in table.sweeping.get(part.node, ()):  # as apply_listed does
                named |= keys
        refused_before = self._table.refused
        for item in part.calls:
            key = self._table.key_of(part.node, item.dialog, item.call_id)
            keys.add(key)
            try:
                change = self._table.apply_listed(part.node, key, item, position, now)
            except Rejected as rejected:  # this item only
                self._counters.listed_rejected[rejected.reason] += 1
                self._rejections.write(rejected, now)
                continue
            if change is not None:
                self._sinks.publish(change)
        if over := self._table.refused - refused_before:
            self._counters.listed_rejected["too_many_calls"] += over
        for refused in part.refused:
            self._reject_item(part, refused, now)
        self._takeover.listed(keys)
        complete = self._nodes.collect(part, keys, now)
        if complete is not None:
            self._counters.lists += 1
            self._reconcile(part, complete, position, now)

    def copies(self, part: Copies, now: int) -> None:
        """Apply one part of a node's list of copies: dialogs that it holds for a DMQ partner."""
        accepted = []
        for item in part.calls:
            try:
                self._owners.check_owner(part.node, item.owner)
            except Rejected as rejected:
                self._counters.listed_rejected[rejected.reason] += 1
                self._rejections.write(rejected, now)
            else:
                accepted.append(item)
        for refused in part.refused:
            self._reject_item(part, refused, now)
        if len(accepted) != len(part.calls):
            part = part.model_copy(update={"calls": tuple(accepted)})
        for change in self._takeover.take(part, now):
            self._sinks.publish(change)
        self._sinks.sweep(self._takeover.gone(part.node, now))

    def settle(self, node: Node, held: Held, now: int) -> None:
        """End the rival numberings of a node: its last list decides about all its calls."""
        position = position_at(node.epoch, held.seq, from_sync=True)
        self._take_over(node, position, held.listing, now)

    def _check_length(self, part: Sync, calls: int, listing: Listing | None, now: int) -> None:
        begun = len(listing.keys) if listing is not None and listing.takes(part) else 0
        name = Listing.of(part, now).name
        if begun + calls > self._table.most or self._too_long.get(part.node) == name:
            # Remember the list: a later part of it would otherwise begin to collect it again.
            self._too_long[part.node] = name
            raise Rejected("too_many_calls", f"more in a list of {part.node} than may be up")

    # A complete list is true at one position: the mark before it. A call that the list lacks and
    # that was last reported before that position is over. Three things can stand against it:
    #   * the list says that it could not name all dialogs (``unnamed``): any missing call may be
    #     one of those, so it is only marked unconfirmed and expires later;
    #   * an item was rejected but names this dialog or Call-ID (``may_name``): the call is kept;
    #   * a DMQ partner has a copy, and the owner has restarted since it last reported the call.
    # ``complete.ends`` says how far the list may be believed: "all" of the node's calls, those of
    # its "epoch" only (another numbering of the same node is still open), "none", or "over": the
    # other numberings have ended, so the list decides about the calls of all of them.
    def _reconcile(self, part: Sync, complete: Complete, position: Position, now: int) -> None:
        """End or mark the calls that a complete list of their node lacks."""
        listing, keys = complete.listing, complete.keys
        node = self._nodes.by_name[part.node]
        if part.epoch < node.epoch:
            self._table.nodes.returned(part.node)
        if complete.ends == "over" and not listing.unnamed:
            self._take_over(node, position, listing, now)
            return
        spared = partial(self._spared, listing, part.epoch)
        if listing.unnamed:
            self._sinks.sweep(self._marked_unconfirmed(part, position, keys, now, listing))
        elif complete.ends != "none":
            whole = complete.ends == "all"
            close = self._table.sweeps.close_missing if whole else self._table.sweeps.close_of_epoch
            self._close(close(part.node, complete.up_to, keys, now, spared))

    def _marked_unconfirmed(
        self, part: Sync, position: Position, keys: Set[str], now: int, listing: Listing
    ) -> Iterator[Step]:
        """Mark the missing calls; with the first one, start the timer after which they expire."""
        node = self._nodes.by_name[part.node]
        spared = partial(self._spared, listing, part.epoch)
        timer_started = False
        for change in self._table.sweeps.unconfirm_missing(part.node, position, keys, now, spared):
            if change is not None and not timer_started:
                timer_started = True
                node.health.mark_unlisted(now, part.epoch, part.seq)
            yield change

    def _take_over(self, node: Node, position: Position, listing: Listing, now: int) -> None:
        spared = partial(self._spared, listing, epoch_of(position))
        last = partial(latest_position, node)
        self._close(
            self._table.sweeps.take_over(node.name, position, listing.keys, last, now, spared)
        )

    def _spared(self, listing: Listing, epoch: int, call: Call) -> bool:
        """Whether a call that the list lacks may still be up."""
        named = listing.may_name(call.dialog, call.call_id)
        return named or self._takeover.spares(call, epoch)

    def _close(self, changes: Iterator[Step]) -> None:
        self._sinks.sweep(self._counted(changes))

    def _counted(self, changes: Iterator[Step]) -> Iterator[Step]:
        for change in changes:
            self._counters.lost += change is not None and not change.after.live
            yield change

    def _reject_item(self, part: Sync | Copies, item: RefusedCall, now: int) -> None:
        self._counters.listed_rejected[item.reason] += 1
        names = f"node={part.node} dialog={item.dialog!r:.80} call_id={item.call_id!r:.80}"
        rejected = Rejected(item.reason, f"one call of a list: {item.detail} {names}")
        self._rejections.write(rejected, now)


def latest_position(node: Node) -> Position:
    """The position after everything that the node has numbered so far."""
    return position_at(node.epoch, node.sequence.highest, from_sync=True)
