"""The active-calls table: every call, and for each scope a :class:`~livestate.view.View`.

``apply(event) -> Change | None`` folds one event; the change names the views that can see it.

Nothing here waits, reads a clock or logs: times come in as arguments (``now``, ms).
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from livestate.access import Scope
from livestate.call import (
    Call,
    Stamp,
    begin,
    begin_listed,
    confirm,
    evolve,
    looks_the_same,
    lose,
    stamp_of,
    unconfirm,
)
from livestate.errors import Rejected
from livestate.events import CallPhase, SyncedCall
from livestate.view import UNKNOWN, View

ALL_CALLS: Final = Scope()
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class Change(NamedTuple):
    """What one event did: the call before (None: first seen) and after, and who can see it."""

    before: Call | None
    after: Call
    views: tuple[View, ...]


class ActiveCalls:
    """All calls of all nodes: live ones, and ended ones as tombstones for a while.

    ``secret`` makes keys that give nothing away; ``epoch`` names this start of the service. There
    are never more than ``most`` live calls, or one bad node could take all memory.
    """

    def __init__(self, *, secret: bytes, epoch: str, most: int = 1_000_000) -> None:
        self.epoch = epoch
        self.most = most
        self.calls: dict[str, Call] = {}
        self.live = 0
        self.refused = 0  # calls in a list that would have been more
        self._hasher = blake2b(digest_size=12, key=secret)
        self._views: dict[Scope, View] = {}
        self._seeing: dict[str | None, list[View]] = {}  # company (None: all calls) → its views
        self._of_node: dict[str, set[str]] = {}  # node → keys of its live calls
        self._listed: dict[str, Stamp] = {}  # node → where its last complete list was true
        self._restarted: dict[str, Stamp] = {}  # node → where its epoch of now begins
        self._ended: deque[tuple[int, str]] = deque()
        self._risen: Counter[str] = Counter()  # key → how many of its ends there were none
        self._left: dict[str, set[str]] = {}  # key → companies it was moved away from
        self._filters = 0
        self.view(ALL_CALLS)

    # -- folding ---------------------------------------------------------------------------

    def key_of(self, node: str, dialog: str, call_id: str) -> str:
        """The opaque name of a call. A Call-ID is chosen by a user agent, so it is no identity;
        the keyed hash neither merges two calls nor tells a client anything (design, identity)."""
        identity = f"{node}\0{len(dialog)}\0{dialog}{call_id}".encode("utf-8", "replace")
        hasher = self._hasher.copy()
        hasher.update(identity)
        return b2a_base64(hasher.digest(), newline=False).translate(_URL_SAFE).decode("ascii")

    def apply(self, event: CallPhase, now: int) -> Change | None:
        """Fold one event in; None if it told nothing new, or is of no live call.

        An event without a dialog is a call the proxy refused: never live. An event from before
        its node's last complete list cannot create a live call, for the list would have had it.
        Raises :class:`~livestate.errors.Rejected` for a call more than ``most``.
        """
        if event.dialog is None:
            return None
        key = self.key_of(event.node, event.dialog, event.call_id)
        before = self.calls.get(key)
        listed = self._listed.get(event.node, -1)
        current = listed < 0 or stamp_of(event.epoch, event.seq) > listed
        if before is None:
            after = begin(key, event)
            if after.live:
                if not current:
                    return None
                if self.live >= self.most:
                    raise Rejected("too_many_calls", f"{self.live} are live")
        else:
            after = evolve(before, event, state_counts=current)
        if self._restarted and after.live:
            restarted = self._restarted.get(event.node, -1)
            if after.stamp < restarted and listed < restarted:
                after = unconfirm(after)  # a late word from before the node's restart
        return self._change(before, after, now)

    def apply_listed(
        self, node: str, key: str, item: SyncedCall, stamp: Stamp, now: int
    ) -> Change | None:
        """Fold in one dialog of a node's list taken at ``stamp``, ``key`` being its name; None
        also for a list from before the last complete one."""
        if stamp < self._listed.get(node, -1):
            return None
        before = self.calls.get(key)
        if before is None and self.live >= self.most:
            self.refused += 1
            return None
        if before is None:
            return self._change(None, begin_listed(key, node, item, stamp, now), now)
        return self._change(before, confirm(before, item, stamp, now), now)

    def close_missing(
        self, node: str, stamp: Stamp, listed: set[str], now: int
    ) -> Iterator[Change]:
        """A node's list, complete at ``stamp``, is the truth: its other calls are over, but for
        those it numbered an event of after the list was taken."""
        if stamp < self._listed.get(node, -1):
            return
        self._listed[node] = stamp
        for key in self._of_node.get(node, set()) - listed:
            before = self.calls[key]
            if before.stamp <= stamp:
                change = self._change(before, lose(before, stamp, now), now)
                if change is not None:
                    yield change

    def give_up(
        self, node: str, dialog: str, call_id: str, stamp: Stamp, now: int
    ) -> Change | None:
        """Somebody decided that a call of a silent node is over. None unless it is in doubt here
        too, and nothing was heard of it after ``stamp``."""
        before = self.calls.get(self.key_of(node, dialog, call_id))
        if before is None or not before.live or not before.unconfirmed or before.stamp > stamp:
            return None
        return self._change(before, lose(before, stamp, now), now)

    def unconfirmed(self, node: str, up_to: Stamp) -> Iterator[Call]:
        """A node's live calls that are in doubt and were not heard of after ``up_to``."""
        for key in self._of_node.get(node, ()):
            call = self.calls[key]
            if call.unconfirmed and call.stamp <= up_to:
                yield call

    def restarted(self, node: str, now: int, since: Stamp) -> Iterator[Change]:
        """A node has a new epoch, which begins at ``since``: whether its calls live, only its next
        list can tell."""
        if self._epoch_of(node) > since >> 54:
            yield from self._set_back(node, now)
            self._restarted[node] = since
            return
        self._restarted[node] = max(since, self._restarted.get(node, -1))
        yield from self.unconfirm(node, now)

    def _epoch_of(self, node: str) -> int:
        stamps = (self.calls[key].stamp for key in self._of_node.get(node, ()))
        told = (self._listed.get(node, -1), self._restarted.get(node, -1))
        return max(*told, *stamps) >> 54

    def _set_back(self, node: str, now: int) -> Iterator[Change]:
        """A node restarted with its clock set back: its numbers are below those of its old calls,
        so that no list of it could end them, and none of its new ones would count."""
        self.forget_node(node)
        for key in tuple(self._of_node.get(node, ())):
            before = self.calls[key]
            # As if a list had been taken right after its last event: see ``stamp_of``.
            change = self._change(before, lose(before, before.stamp | 1, now), now)
            if change is not None:
                yield change

    def forget_node(self, node: str) -> None:
        """Where its numbering stood: whoever has that name next may begin anywhere."""
        self._listed.pop(node, None)
        self._restarted.pop(node, None)

    def unconfirm(self, node: str, now: int, up_to: Stamp | None = None) -> Iterator[Change]:
        """Nobody can vouch for a node's calls, or for those not heard of after ``up_to``."""
        for key in tuple(self._of_node.get(node, ())):
            before = self.calls[key]
            if up_to is None or before.stamp <= up_to:
                change = self._change(before, unconfirm(before), now)
                if change is not None:
                    yield change

    def _change(self, before: Call | None, after: Call, now: int) -> Change | None:
        if after is before:
            return None
        key = after.key
        self.calls[key] = after
        was_live = before is not None and before.live
        is_live = after.live
        if before is None or was_live != is_live:
            self._count(after, now)
            if before is not None and is_live:
                self._risen[key] += 1
        if before is not None and looks_the_same(before, after):
            return Change(before, after, ())
        seeing, company = self._seeing, after.company_id
        views = seeing[None]
        if company is not None:
            views = views + (seeing.get(company) or self._company(company))
        moved = before is not None and before.company_id != company
        if moved and before is not None and before.company_id is not None:
            views = views + seeing.get(before.company_id, [])
            self._left.setdefault(key, set()).add(before.company_id)
        if not was_live and not is_live:
            return Change(before, after, ())
        touched = []
        for view in views:
            was, now_in = was_live, is_live
            if moved or view.filtered:  # else it is one that this call is always in
                was = before is not None and was_live and view.admits(before)
                now_in = is_live and view.admits(after)
                if not was and not now_in:
                    continue
            if before is None:
                view.anew(key)
            view.touch(key, was, now_in, now)
            touched.append(view)
        return Change(before, after, tuple(touched))

    def _count(self, after: Call, now: int) -> None:
        if after.live:
            self.live += 1
            self._of_node.setdefault(after.node, set()).add(after.key)
            return
        if after.key in (of_node := self._of_node.get(after.node, set())):
            self.live -= 1
            of_node.discard(after.key)
        self._ended.append((now, after.key))

    def calls_of(self, node: str) -> int:
        """How many live calls a node has."""
        return len(self._of_node.get(node, ()))

    def positions(self) -> dict[str, Stamp]:
        """Each node that has live calls, and the latest of its stamps among them."""
        return {
            node: max(self.calls[key].stamp for key in keys)
            for node, keys in self._of_node.items() if keys
        }  # fmt: skip

    # -- views -----------------------------------------------------------------------------

    def view(self, scope: Scope) -> View:
        """The view of a scope, made on first use; a filtered one starts from its base's calls."""
        found = self._views.get(scope)
        if found is not None:
            return found
        if scope.filtered:
            self.view(scope.base)  # always first among those that see a company
            self._filters += 1  # a view that was dropped and made again has other versions
        view = View(scope, self.tag_of(scope, self.epoch, self._filters), self.calls)
        self._views[scope] = view
        self._seeing.setdefault(scope.company_id, []).append(view)
        if scope.filtered:
            for key, _, _ in self._views[scope.base].snapshot():
                if view.holds(self.calls[key]):
                    view.touch(key, False, True, 0)
        return view

    def drop(self, view: View) -> None:
        """Forget a view that nobody watches any more, if it is a filtered one, or one of a company
        of which nothing was ever heard: whoever may see all calls may ask for any name."""
        scope = view.scope
        seeing = self._seeing.get(scope.company_id, [])
        needed = scope == ALL_CALLS or view.version > 0 or len(seeing) > 1  # its filtered ones
        if self._views.get(scope) is not view or (needed and not scope.filtered):
            return
        del self._views[scope]
        seeing.remove(view)
        if not seeing:
            del self._seeing[scope.company_id]

    def views(self) -> Iterable[View]:
        return self._views.values()

    def _company(self, company_id: str) -> list[View]:
        self.view(Scope(company_id=company_id))
        return self._seeing[company_id]

    @staticmethod
    def tag_of(scope: Scope, epoch: str, generation: int = 0) -> str:
        """Names a scope's numbering in this epoch: a position of another scope never fits it."""
        generation = generation if scope.filtered else 0
        named = repr((epoch, generation, scope.company_id, sorted(scope.states),
                      sorted(scope.trunks)))  # fmt: skip
        return blake2b(named.encode("utf-8", "replace"), digest_size=8).hexdigest()

    # -- forgetting and coming back --------------------------------------------------------

    def trim(self, older_than: int, at_most: int) -> list[str]:
        """Forget calls that ended before ``older_than`` (ms), and all over ``at_most``; their
        keys. Late events of a forgotten call could bring it back: keep them for minutes."""
        forgotten = []
        ended = self._ended
        while ended and (ended[0][0] < older_than or len(ended) > at_most):
            _, key = ended.popleft()
            if risen := self._risen.pop(key, 0):  # it was found to live after that
                if risen > 1:
                    self._risen[key] = risen - 1
                continue
            call = self.calls.get(key)
            if call is not None and not call.live:
                del self.calls[key]
                for company in {None, call.company_id, *self._left.pop(key, ())}:
                    for view in self._seeing.get(company, ()):
                        view.forget(key)
                forgotten.append(key)
        for view in self._views.values():
            view.trim(older_than, at_most)
        return forgotten

    def versions_of(self, call: Call) -> dict[str, int]:
        """The versions at which the unfiltered views last saw this call; "" is all calls."""
        key, seeing = call.key, self._seeing
        found = {}
        if version := seeing[None][0].rows.get(key):
            found[""] = version
        left = self._left.get(key)
        for company in (call.company_id,) if left is None else {call.company_id, *left}:
            views = seeing.get(company) if company is not None else None
            if views and (version := views[0].rows.get(key)):
                found[str(company)] = version
        return found

    def restore(
        self,
        calls: Iterable[tuple[Call, dict[str, int]]],
        scopes: dict[str, tuple[int, int]],
        predecessor: str,
        now: int,
    ) -> None:
        """Fill an empty table from what was stored: calls with their versions, and for each
        unfiltered scope (version, floor). Whether its calls live, only a node's next list can tell:
        nobody may be shown them before that, or they are to be marked (``unconfirm``)."""
        rows: dict[str, list[tuple[int, str, bool]]] = {}  # scope → version, key, whether it holds
        for call, versions in calls:
            key, live = call.key, call.live
            self.calls[key] = call
            self._count(call, now)
            own = call.company_id or ""
            if live and not (own in versions and "" in versions):
                # Whatever somebody did to its versions, it is in these: as if it had just changed.
                versions = dict.fromkeys(("", own), UNKNOWN) | versions
            for company, version in versions.items():
                mine = company in ("", own)
                rows.setdefault(company, []).append((version, key, live and mine))
                if not mine:
                    self._left.setdefault(key, set()).add(company)
        for company in {*scopes, *rows}:
            view = self.view(Scope(company_id=company or None))
            version, view.floor = scopes.get(company, (0, 0))
            view.predecessor = (self.tag_of(view.scope, predecessor), version)
            view.take_back(sorted(rows.get(company, ())), version, now)
