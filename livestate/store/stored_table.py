"""The table that Redis holds, kept at hand by a warm engine, so that a takeover costs little.

An engine that takes over goes on with the versions that Redis holds, and with the calls of Redis
and of its own fold (:mod:`livestate.cluster.succession`). To read and merge 50,000 calls takes
seconds. A warm engine therefore holds the merged table beside its own all the time:
:mod:`livestate.store.following` gives it each record that the leading engine writes, with its
versions, and :meth:`StoredTable.settle` compares it with the engine's own call.

For nearly all calls the two agree: clients would see the same. Then both tables share one object.
The others, some hundred that changed since the last flush, are *differing*. At a takeover only
those are merged, by the rules of :func:`livestate.store.merge.merged`, and the table takes the
place of the engine's own.

Pure: times come in, in ms.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final, NamedTuple

from livestate.contract.errors import SnapshotUnusable
from livestate.process.memory import untrack
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call, looks_the_same, new
from livestate.state.combine import combine
from livestate.state.position import NEVER, Position
from livestate.state.reconcile import mark_lost, unconfirm
from livestate.state.views import Views
from livestate.store.loader import Loaded

AT_ONCE: Final = 500  # calls: some ms of the loop


class Record(NamedTuple):
    """What Redis holds under a key: the call with its versions, or None."""

    key: str
    call: Call | None
    versions: dict[str, int]


class StoredTable:
    """Made from all that Redis holds; that takes a second for 50,000 calls. ``table`` becomes the
    engine's own at a takeover, and ``memory`` is the one that it has until then."""

    def __init__(self, loaded: Loaded, memory: ActiveCalls, now: int) -> None:
        self.epoch, self.secret = loaded.epoch, loaded.secret
        self.table = ActiveCalls(secret=loaded.secret, epoch=secrets.token_hex(8))
        self.table.restore(loaded.calls, loaded.scopes, loaded.epoch, now)
        self._memory = memory
        self._versions = {company: version for company, (version, _) in loaded.scopes.items()}
        self._touched: dict[str, None] = dict.fromkeys(self.table.calls)
        self._differing: dict[str, None] = {}
        # What the takeover changes, by the key of the call.
        self._merged: dict[str, Change] = {}
        self._positions: dict[str, Position] = {}
        self._unconfirmed: set[str] = set()  # nodes
        self.settled = False  # all calls were compared once

    @property
    def differing(self) -> int:
        """How many calls would get a new version if this engine took over now, or may."""
        return len(self._differing) + len(self._touched)

    def touch(self, keys: Iterable[str]) -> None:
        """The engine's own record of these calls has changed."""
        self._touched.update(dict.fromkeys(keys))

    # -- what the leading engine writes --------------------------------------------------------

    def put(self, records: Iterable[Record], now: int) -> None:
        """Take records, of different calls, as Redis holds them now. Raises
        :class:`~livestate.contract.errors.SnapshotUnusable` where an edit has made one that no
        engine writes: then the whole table must be read."""
        table = self.table
        changed: dict[str, dict[str, tuple[int, bool, bool]]] = {}
        for key, call, versions in records:
            before = table.calls.get(key)
            self._touched[key] = None
            if call is None:
                self._forget(key, before)
                continue
            own = call.company_id or ""
            if call.live and not (own in versions and "" in versions):
                raise SnapshotUnusable(key, "a version is missing")
            untrack(call)
            up_for = ("", before.company_id or "") if before is not None and before.live else ()
            for company in {*versions, *up_for}:
                shown = call.live and company in ("", own)
                rows = changed.setdefault(company, {})
                rows[key] = versions.get(company, 0), company in up_for, shown
                if company not in ("", own):
                    table.views.moved_away(key, company)
            table.put(before, call, now)
        for company, rows in changed.items():
            table.view(Scope(company or None)).place(rows, now)

    def _forget(self, key: str, before: Call | None) -> None:
        if before is None:
            return
        if before.live:
            raise SnapshotUnusable(key, "a live call was deleted")
        del self.table.calls[key]
        self.table.weights.forget(key)
        self.table.views.forget(before)

    def put_numbers(self, fields: Iterable[tuple[str, str]]) -> None:
        """Take fields of ``scopes`` that were written; an empty one was removed."""
        for name, text in fields:
            kind, _, company = name.partition(":")
            if kind not in ("version", "floor"):
                continue
            if not text:
                if kind == "version" and company:
                    self.table.views.remove(company)
                    self._versions.pop(company, None)
                continue
            view = self.table.view(Scope(company or None))
            if kind == "version":
                self._versions[company] = int(text)
                view.version = max(view.version, int(text))
            else:
                view.floor = max(view.floor, int(text))

    # -- beside the engine's own ---------------------------------------------------------------

    def settle(self, most: int = AT_ONCE) -> bool:
        """Compare ``most`` of the calls that have changed here or in memory; whether that was all.
        Calls that agree become one object."""
        touched, differing = self._touched, self._differing
        for _ in range(min(most, len(touched))):
            key, _ = touched.popitem()
            if self._agree(key):
                differing.pop(key, None)
                if key in self._merged:
                    self._note(key)  # it has changed since it was merged
            else:
                differing[key] = None
        self.settled = self.settled or not touched
        return not touched

    def look_again(self) -> None:
        """Compare all that differ once more: memory may have forgotten some of them."""
        self._touched.update(self._differing)

    def _agree(self, key: str) -> bool:
        calls = self.table.calls
        stored, call = calls.get(key), self._memory.calls.get(key)
        if call is None or stored is None or stored is call:
            return stored is call or (stored is not None and call is None and not stored.live)
        if stored == call:
            calls[key] = call
            return True
        both = combine(stored, call)
        # The flag tells what clients have seen, and those of Redis' versions never saw it set. An
        # engine that restarted has False where the leading one has None.
        if both.unconfirmed is False and stored.unconfirmed is None:
            both = both.replaced(unconfirmed=None)
        as_ours = both.replaced(unconfirmed=call.unconfirmed)
        if not (looks_the_same(stored, both) and looks_the_same(call, as_ours)):
            return False
        untrack(both)
        calls[key] = both
        return True

    # -- the takeover --------------------------------------------------------------------------

    def go_on(self, skipped: int) -> None:
        """This engine writes from now on: all versions that it gives are ``skipped`` above those
        that Redis holds."""
        for view in self.table.views:
            company = view.scope.company_id or ""
            view.go_on_from(
                Views.tag_of(view.scope, self.epoch), self._versions.get(company, 0), skipped
            )

    def merge(self, now: int, most: int = AT_ONCE) -> bool:
        """Merge ``most`` of the calls that differ, see :func:`livestate.store.merge.merged`;
        whether that was all. Called after :meth:`go_on`, until it was, and once more with no await
        before :meth:`exchange`."""
        self.settle(most)
        for _ in range(min(most, len(self._differing))):
            key, _ = self._differing.popitem()
            self._merge_one(key, now)
        return not (self._touched or self._differing)

    def _merge_one(self, key: str, now: int) -> None:
        stored, call = self.table.calls.get(key), self._memory.calls.get(key)
        if call is not None:
            self.table.adopt(call, now)
        elif stored is not None and stored.live:
            listed = self._memory.nodes.listed.get(stored.node, NEVER)
            over = stored.position <= listed
            after = mark_lost(stored, listed, now) if over else unconfirm(stored)
            self.table.change(stored, after, now)
        self._note(key)

    def _note(self, key: str) -> None:
        """What the takeover changes of this call: noted as it is merged, so that
        :meth:`exchange`, which cannot be done in slices, has nothing to look for."""
        before, after = self._memory.calls.get(key), self.table.calls.get(key)
        if after is None:
            self._merged.pop(key, None)
            return
        self._merged[key] = new(Change, (before, after, ()))
        if after.live:
            node = after.node
            self._positions[node] = max(self._positions.get(node, NEVER), after.position)
            if after.unconfirmed and before is None:
                self._unconfirmed.add(node)

    def exchange(self) -> tuple[list[Change], dict[str, Position], frozenset[str]]:
        """Put the merged table in the place of the engine's own. Returns what that changes, the
        latest position of each node with calls that were merged, and the nodes of those that are
        unconfirmed."""
        memory = self._memory
        self.table.nodes.listed = dict(memory.nodes.listed)
        self.table.nodes.restarted = dict(memory.nodes.restarted)
        memory.become(self.table)
        return list(self._merged.values()), self._positions, frozenset(self._unconfirmed)
