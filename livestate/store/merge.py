"""Merges two tables of one network: the one that Redis stored, and the one in memory.

Redis may be away when the service starts. The service then begins with an empty table and a new
secret, and folds what arrives. When Redis is back, :mod:`livestate.store.restore` merges both
tables under the stored secret, so that calls keep their stored keys. The guarantee: the result is
the table that the service would have if it had restored the stored one first and then folded the
same messages:

* a call that is in both tables has the events of both;
* a stored call that a later list of its node lacks has ended (``lost``);
* a stored call of a node that has sent no list since the start is marked ``unconfirmed``.

Pure. Both functions may run in a thread: they read only immutable data. What changes while
:func:`merged` runs is for :func:`catch_up`; what changes while that runs, for another call of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.position import Position, epoch_of, position_at


class Stored(NamedTuple):
    """What Redis held: calls with their versions, scopes (company → version, floor), the epoch of
    their table ("" if unknown), and the secret of their keys."""

    calls: Iterable[tuple[Call, dict[str, int]]]
    scopes: dict[str, tuple[int, int]]
    epoch: str
    secret: bytes


class InMemory(NamedTuple):
    """The table in memory at one moment: its calls, and of each node its epoch and the position at
    which its last complete list was true."""

    calls: Mapping[str, Call]
    epochs: Mapping[str, int]
    lists: Mapping[str, Position]


def in_memory(table: ActiveCalls, epochs: Mapping[str, int]) -> InMemory:
    """A copy of the table's content. Calls are immutable, so they are not copied."""
    return InMemory(dict(table.calls), dict(epochs), dict(table.nodes.listed))


class Merged(NamedTuple):
    """One table of both; the latest position of each node with live calls; and the nodes with
    unconfirmed calls."""

    table: ActiveCalls
    positions: Mapping[str, Position]
    unconfirmed: frozenset[str]


def merged(
    stored: Stored, memory: InMemory, epoch: str, most: int, now: int, skipped: int = 0
) -> Merged:
    """Make one table of both, with the new ``epoch``, of at most ``most`` calls. ``now`` in ms;
    ``skipped`` is that of :meth:`livestate.state.view.View.restore`."""
    table = ActiveCalls(secret=stored.secret, epoch=epoch, most=most)
    table.restore(stored.calls, stored.scopes, stored.epoch, now, skipped)
    for node, position in table.positions().items():
        began = memory.epochs.get(node, -1)
        if began > epoch_of(position):  # the node has restarted since the table was stored
            deque(table.sweeps.restarted(node, now, position_at(began, 0)), 0)
    known = {table.adopt(call, now)[0] for call in memory.calls.values()}
    for node, listed in memory.lists.items():
        deque(table.sweeps.close_missing(node, listed, known, now), 0)
    for call in tuple(table.calls.values()):
        if call.live and call.key not in known:  # and no list of its node has ended it
            table.mark_unconfirmed(call.key, now)
    up = [call for call in table.calls.values() if call.live]
    unconfirmed = frozenset(call.node for call in up if call.unconfirmed)
    return Merged(table, table.positions(), unconfirmed)


# Calls are immutable, so a call that changed is another object: ``is not`` finds all changes of
# 50,000 calls in a few milliseconds. Then the lists that were completed meanwhile are applied: a
# call of such a node that memory does not have any more, or never had, has ended.
def catch_up(table: ActiveCalls, before: InMemory, memory: InMemory, now: int) -> list[Change]:
    """Apply to ``table`` what has changed in memory since ``before``. Returns the changes."""
    changes = [
        table.adopt(call, now)[1]
        for key, call in memory.calls.items()
        if before.calls.get(key) is not call
    ]
    lists = {
        node: (listed, set[str]())
        for node, listed in memory.lists.items()
        if before.lists.get(node) != listed
    }
    for call in memory.calls.values() if lists else ():
        if call.live and call.node in lists:
            lists[call.node][1].add(table.key_of(call.node, call.dialog, call.call_id))
    for node, (listed, known) in lists.items():
        changes += table.sweeps.close_missing(node, listed, known, now)
    return [change for change in changes if change is not None]
