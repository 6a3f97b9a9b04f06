"""Calls whose dialogs are replicated between nodes (Kamailio: ``dmq``): what a copy proves.

A call belongs to its owner, the node that it began at: it is (owner, dialog, Call-ID) whichever
node sends the event. A node with copies lists them separately (``copies``), and names the owner in
an event of such a call. While the owner is heard, only its own messages count. Once it is silent,
or has restarted without the call, the copy counts: it confirms the call, and the call is lost when
the copy is gone. The pipeline calls this for lists of copies, for events with an owner, and for
nodes that fall silent. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from livestate.contract.errors import Rejected
from livestate.contract.events import CallEvent, CopiedCall, Copies
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.nodes.dialog_list import Listing
from livestate.state.nodes.registry import MAX_NODES, Nodes
from livestate.state.position import NOWHERE, epoch_of, unpack

_Event = TypeVar("_Event", bound=CallEvent)
_UP: Final = ("answered", "held")  # a ringing call can only be answered through its owner


class Holder:
    """A node with copies: the calls and owners that its last complete list of copies named."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.owners: set[str] = set()
        self.coming: Listing | None = None  # the list whose parts come in now
        self.coming_owners: set[str] = set()
        self.came: Listing | None = None  # a complete list: copies that it lacks are gone


class Taken(NamedTuple):
    """The node whose copy of a call counts, and the epoch in which its owner last named it."""

    by: str
    epoch: int


class Takeover:
    """The copies of all nodes, and the calls that go on by them."""

    def __init__(self, table: ActiveCalls, nodes: Nodes) -> None:
        self._table = table
        self._nodes = nodes
        self._holders: dict[str, Holder] = {}
        self._taken: dict[str, Taken] = {}  # by the key of a call

    def __len__(self) -> int:
        return len(self._taken)

    def copies_of(self, name: str) -> dict[str, Any]:
        """For `/statusz`: how many copies the node's last complete list has, and of whose calls."""
        holder = self._holders.get(name)
        owners = sorted(holder.owners - {name}) if holder is not None else []
        return {"copies": len(holder.keys) if holder is not None else 0, "copies_of": owners}

    def as_owners(self, event: _Event) -> _Event:
        """An event of another node's call, with the owner's last position: positions of two nodes
        cannot be compared, and later events of the owner must count more."""
        owner = event.owner
        if owner is None or owner == event.node or event.dialog is None:
            return event
        known = self._nodes.by_name.get(owner)
        if known is not None:
            epoch, seq = known.epoch, known.sequence.highest
        else:
            call = self._table.calls.get(self._table.key_of(owner, event.dialog, event.call_id))
            epoch, seq, _ = unpack(call.position if call else NOWHERE)
        return event.model_copy(update={"node": owner, "epoch": epoch, "seq": seq})

    def take(self, part: Copies, now: int) -> Iterator[Change]:
        """Fold in one part of a node's list of copies; call :meth:`gone` after it. Raises
        :class:`~livestate.contract.errors.Rejected` for more than the table or the nodes may be."""
        holder = self._holders.setdefault(part.node, Holder())
        listing = holder.coming
        if listing is None or not listing.takes(part):
            listing = holder.coming = Listing.of(part, now)
            holder.coming_owners = set()
        if len(listing.keys) + len(part.calls) > self._table.most:
            raise Rejected("too_many_calls", f"{len(listing.keys)} copies of {part.node} and more")
        silent = self._silent_owners(part, now)
        keys = set()
        for item in part.calls:
            key = self._table.key_of(item.owner, item.dialog, item.call_id)
            keys.add(key)
            holder.coming_owners.add(item.owner)
            before = self._table.calls.get(key)
            unsure = item.owner in silent or (before is not None and bool(before.unconfirmed))
            if item.owner != part.node and unsure and item.state in _UP:
                change = self._confirm(part.node, key, item, now)
                if change is not None:
                    yield change
        listing.add(part, keys, now)
        if listing.complete:
            holder.keys, holder.owners = listing.keys, holder.coming_owners
            holder.coming, holder.came = None, listing

    def _silent_owners(self, part: Copies, now: int) -> set[str]:
        """The silent owners in this part. An owner without any message is added as a node, or its
        calls would never expire."""
        silent = {item.owner for item in part.calls if self.silent(item.owner, now)}
        strangers = silent - self._nodes.by_name.keys()
        if strangers and len(self._nodes.by_name) + len(strangers) > MAX_NODES:
            raise Rejected("too_many_nodes", f"{MAX_NODES} are known")
        for owner in strangers:
            self._nodes.restore(owner, 0, 0, now)
        return silent

    def _confirm(self, by: str, key: str, item: CopiedCall, now: int) -> Change | None:
        """The copy counts: fold it in, and remember that the call goes on by it."""
        change = self._table.apply_copied(key, item, now)
        call = self._table.calls.get(key)
        if call is not None and call.live:
            known = self._taken.get(key)
            # A copy does not change the position: it still has the owner's last epoch.
            epoch = epoch_of(call.position) if known is None else known.epoch
            self._taken[key] = Taken(by, epoch)
        return change

    def spares(self, call: Call, epoch: int) -> bool:
        """Whether a call that its owner's list (of ``epoch``) lacks goes on by a copy. It does if
        the owner has restarted since it last named the call; within one epoch the owner's list is
        final."""
        taken = self._taken.get(call.key)
        if taken is not None and call.key in self._holders[taken.by].keys:
            return epoch > taken.epoch  # the owner has not listed it since
        if epoch_of(call.position) >= epoch:
            return False
        for name, holder in self._holders.items():
            if call.key in holder.keys and call.state in _UP and not self.silent(name, 0):
                self._taken[call.key] = Taken(name, epoch_of(call.position))
                return True
        return False

    def goes_on(self, call: Call) -> bool:
        """Whether the call goes on by another node's copy now."""
        return call.key in self._taken

    def listed(self, keys: set[str]) -> None:
        """The owner's own list names these calls: their copies no longer count."""
        for key in self._taken.keys() & keys if self._taken else ():
            del self._taken[key]

    def ask(self, owner: str) -> None:
        """The owner is silent: ask nodes with copies of its calls for a list. A node with more
        dialogs than calls of its own may have got copies since its last list."""
        for name, node in self._nodes.by_name.items():
            holder = self._holders.get(name)
            more = (node.dialogs or 0) > self._table.nodes.count(name)
            if name != owner and (more or (holder is not None and owner in holder.owners)):
                node.wants_list = True

    def fell_silent(self, name: str, now: int) -> Iterator[Change]:
        """A node that holds copies is silent, too: calls that went on by them are marked."""
        self._holders.pop(name, None)
        for key in [key for key, taken in self._taken.items() if taken.by == name]:
            del self._taken[key]
            call = self._table.calls.get(key)
            if call is not None and call.live:
                yield from self._mark(call, now)

    def silent(self, name: str, now: int) -> bool:
        """Whether a node has missed three heartbeats, or has never sent a message."""
        node = self._nodes.by_name.get(name)
        return node is None or now - node.last_seen_at >= self._nodes.stale_after

    def _mark(self, call: Call, now: int) -> Iterator[Change]:
        """Mark a call that went on by a copy, and no longer does."""
        owner = self._nodes.by_name.get(call.node)
        if owner is not None and not any(mark.at == now for mark in owner.health.unconfirmed):
            owner.health.forget_marks()  # of long ago: these calls have their own time
            owner.mark_unconfirmed(now, "silence")
        change = self._table.mark_unconfirmed(call.key, now)
        if change is not None:
            yield change

    def gone(self, name: str, now: int) -> Iterator[Change]:
        """Close calls that a node's list of copies lacks, if one has just become complete. A call
        that a refused item of the list may name stays.

        It runs in steps. A call that a newer list names meanwhile, or that no longer goes on by
        this node's copy, is left out."""
        holder = self._holders.get(name)
        listing = holder.came if holder is not None else None
        if holder is None or listing is None:
            return
        holder.came = None
        for key in [key for key, taken in self._taken.items() if taken.by == name]:
            taken = self._taken.get(key)
            coming = holder.coming.keys if holder.coming is not None else ()
            if taken is None or taken.by != name or key in holder.keys or key in coming:
                continue
            call = self._table.calls.get(key)
            if call is not None and listing.may_name(call.dialog, call.call_id):
                holder.keys.add(key)
                continue
            del self._taken[key]
            # If the owner sends messages, its own next list decides.
            if call is None or not call.live or not self.silent(call.node, now):
                continue
            if listing.unnamed:
                yield from self._mark(call, now)
                continue
            change = self._table.lose_copied(key, now)
            if change is not None:
                yield change
