"""What happens to all calls of one node at once: a list came, the node restarted, or fell silent.

The pipeline starts a sweep and runs it in slices (:mod:`livestate.process.slices`): each is a
generator that yields a :class:`~livestate.state.active_calls.Change` for each call that changed,
and None as a pause after :data:`PAUSE_EVERY` calls. Events and lists are folded in between, and the
result must be as if the whole sweep had been done at once, before them. So each call is looked at
as it is when its turn comes:

* one that ended meanwhile is left out;
* one that an event was numbered for meanwhile has a higher position than the sweep's, and stays;
* one that a list of the node has named meanwhile is left out: that list is newer than the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import TYPE_CHECKING, Final, TypeAlias

from livestate.state.call import Call
from livestate.state.position import (
    NEVER,
    Position,
    as_from_sync,
    end_of_epoch,
    epoch_of,
    just_before,
)
from livestate.state.reconcile import mark_lost, move_to, reconfirm, unconfirm

if TYPE_CHECKING:
    from livestate.state.active_calls import ActiveCalls, Change

PAUSE_EVERY: Final = 500  # calls that a sweep looks at: 1 ms

Step: TypeAlias = "Change | None"
Spared: TypeAlias = Callable[[Call], bool]


def _none(call: Call) -> bool:
    return False


class Sweeps:
    """The sweeps of one table. In all of them ``spared`` says which calls an unreadable item of the
    list may name, or another node goes on with: they are up."""

    def __init__(self, table: ActiveCalls) -> None:
        self._table = table
        self._running = table.sweeping

    # -- lists -----------------------------------------------------------------------------

    def close_missing(
        self, node: str, position: Position, listed: Set[str], now: int, spared: Spared = _none
    ) -> Iterator[Step]:
        """A list of a node, complete at ``position``, is the truth: its other calls are over, but
        for those that it numbered an event of after the list was taken."""
        nodes = self._table.nodes
        if position < nodes.listed.get(node, NEVER):
            return
        nodes.listed[node] = position

        def closed(call: Call) -> Call:
            if call.position > position:
                return call
            return reconfirm(call) if spared(call) else mark_lost(call, position, now)

        yield from self._sweep(node, nodes.keys(node) - listed, closed, now)

    def unconfirm_missing(
        self, node: str, position: Position, listed: Set[str], now: int, spared: Spared
    ) -> Iterator[Step]:
        """A list that could not name all dialogs: a call that it lacks may be over, or be one of
        those. It is marked, and expires later unless it is confirmed."""
        nodes = self._table.nodes
        if position < nodes.listed.get(node, NEVER):
            return

        def marked(call: Call) -> Call:
            if call.position > position:
                return call
            return reconfirm(call) if spared(call) else unconfirm(call)

        yield from self._sweep(node, nodes.keys(node) - listed, marked, now)

    def close_of_epoch(
        self, node: str, position: Position, listed: Set[str], now: int, spared: Spared
    ) -> Iterator[Step]:
        """As ``close_missing``, of a node under whose name another numbering is heard: only calls
        that were last heard of in the list's own epoch can be over."""

        def closed(call: Call) -> Call:
            own = epoch_of(call.position) == epoch_of(position) and call.position <= position
            return mark_lost(call, position, now) if own and not spared(call) else call

        yield from self._sweep(node, self._table.nodes.keys(node) - listed, closed, now)

    def take_over(
        self,
        node: str,
        position: Position,
        listed: Set[str],
        last: Callable[[], Position],
        now: int,
        spared: Spared,
    ) -> Iterator[Step]:
        """The first complete list, true at ``position``, since all other numberings of a node are
        over. It decides on each of the node's calls, whatever positions they have: only what this
        numbering said after the list, up to ``last``, counts more."""
        nodes = self._table.nodes
        nodes.listed[node] = position
        nodes.restarted.pop(node, None)

        def decided(call: Call) -> Call:
            foreign = call.position > position
            same_epoch = epoch_of(call.position) == epoch_of(position)
            if foreign and same_epoch and call.position <= last():
                return call  # an event after the list
            if call.key not in listed and not spared(call):
                before = move_to(call, just_before(position)) if foreign else call
                return mark_lost(before, position, now)
            return reconfirm(move_to(call, position) if foreign else call)

        yield from self._sweep(node, tuple(nodes.keys(node)), decided, now)

    # -- restarts and silence ----------------------------------------------------------------

    def restarted(self, node: str, now: int, since: Position) -> Iterator[Step]:
        """A node has a new epoch, which begins at ``since``: only its next list can tell which of
        its calls live, so they are marked."""
        nodes = self._table.nodes
        latest = self._table.latest(nodes.keys(node))
        known = nodes.listed.get(node, NEVER), nodes.restarted.get(node, NEVER)
        if epoch_of(max(*known, latest)) > epoch_of(since):
            yield from self.set_back(node, now, since, since, lambda: end_of_epoch(since))
            return
        nodes.restarted[node] = max(since, nodes.restarted.get(node, NEVER))
        yield from self.unconfirm(node, now, latest)

    def set_back(
        self, node: str, now: int, began: Position, since: Position, last: Callable[[], Position]
    ) -> Iterator[Step]:
        """A node's numbering began anew below the numbers of its old calls, and no list of it came:
        they end as ``lost``, at a position from which a list of it can bring them back.

        The new numbering was first heard at ``began``, is believed from ``since`` on, and has come
        to ``last`` by now. A call with a number between the first two may be of either numbering:
        it stays, marked."""
        nodes = self._table.nodes
        nodes.forget(node)
        nodes.restarted[node] = since

        def ended(call: Call) -> Call:
            new = epoch_of(call.position) == epoch_of(since)
            if new and since < call.position <= last():
                return call  # heard since then
            if began < call.position <= since:
                return unconfirm(call)
            before = move_to(call, since) if call.position > since else call
            return mark_lost(before, as_from_sync(since), now)

        yield from self._sweep(node, tuple(nodes.keys(node)), ended, now)

    def unconfirm(
        self, node: str, now: int, up_to: Position | None = None, spared: Spared = _none
    ) -> Iterator[Step]:
        """Mark a node's calls, or those that were not heard of after ``up_to``."""
        keys = tuple(self._table.nodes.keys(node))
        latest = self._table.latest(keys) if up_to is None else up_to

        def marked(call: Call) -> Call:
            return call if call.position > latest or spared(call) else unconfirm(call)

        yield from self._sweep(node, keys, marked, now)

    def _sweep(
        self, node: str, keys: Iterable[str], fate: Callable[[Call], Call], now: int
    ) -> Iterator[Step]:
        """Give each of these calls that is still live, and that no list names meanwhile, its
        ``fate``; the changes."""
        table, running = self._table, self._running
        named: set[str] = set()
        running.setdefault(node, []).append(named)
        try:
            for count, key in enumerate(keys, 1):
                call = table.calls.get(key)
                if call is not None and call.live and key not in named:
                    change = table.change(call, fate(call), now)
                    if change is not None:
                        yield change
                if not count % PAUSE_EVERY:
                    yield None
        finally:
            running[node] = [each for each in running[node] if each is not named]
            if not running[node]:
                del running[node]
