"""The active-calls table: every call that is live, and those that ended lately.

The pipeline calls :meth:`ActiveCalls.apply` for every event, and the sweeps
(:mod:`livestate.state.sweeps`) for what concerns all calls of a node. Each gives back a
:class:`Change`: the call before and after, and the views that can see it. Sinks (stream, Redis,
KPIs) work from changes alone.

The table holds the calls; its parts hold what belongs to them: ``views`` (who sees which),
``nodes`` (which node has which, and where its lists were true), ``retention`` (when ended calls
are forgotten). Nothing here waits, reads a clock or logs: times come in as arguments (ms).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

from livestate.contract.errors import Rejected
from livestate.contract.events import CallPhase, CopiedCall, SyncedCall
from livestate.contract.states import FINAL_STATES
from livestate.state.access import Scope
from livestate.state.call import Call, begin, evolve, looks_the_same, new
from livestate.state.call_keys import CallKeys
from livestate.state.call_weight import ExtraWeights, extra_weight
from livestate.state.combine import combine
from livestate.state.node_calls import NodeCalls
from livestate.state.position import NEVER, Position, as_from_sync, epoch_of, position_at
from livestate.state.reconcile import (
    begin_copied,
    begin_listed,
    mark_lost,
    reconcile,
    unconfirm,
    vouch,
)
from livestate.state.retention import Retention
from livestate.state.sweeps import Sweeps
from livestate.state.view import RESTORED_AT_ONCE, UNKNOWN, View
from livestate.state.views import Views

MANY: Final = 1_000_000
FEW: Final = 200  # views and calls in them, likewise
_position_of = attrgetter("position")
# From the dict of an event, see ``_place_of`` in livestate.state.call.
_identity_of = itemgetter("node", "dialog", "call_id", "epoch", "seq")


class Change(NamedTuple):
    """What one event did: the call before (None: first seen) and after, and the views that show
    the difference (none if clients see none)."""

    before: Call | None
    after: Call
    views: tuple[View, ...]


class ActiveCalls:
    """All calls of all nodes: live ones, and ended ones as tombstones for a while.

    ``secret`` makes keys that give nothing away; ``epoch`` names this start of the service. There
    are never more than ``most`` live calls (fewer where their texts are long) and
    ``most_companies`` companies (of which one node may be the first to name
    ``most_companies_a_node``), or one bad node could take all memory.
    """

    def __init__(
        self,
        *,
        secret: bytes,
        epoch: str,
        most: int = MANY,
        most_companies: int = MANY,
        most_companies_a_node: int = MANY,
    ) -> None:
        self.epoch = epoch
        self.most = most
        self.refused = 0  # calls in a list that would have been more than ``most``
        self.calls: dict[str, Call] = {}
        keys = CallKeys(secret)
        self.key_of = keys.key_of
        self.nodes = NodeCalls()
        self.views = Views(self.calls, keys, epoch, most_companies, most_companies_a_node)
        self.weights = ExtraWeights()
        self.retention = Retention(self.calls, self.views, self.weights)
        # Node → for each sweep of it that runs, the calls that its lists have named meanwhile.
        self.sweeping: dict[str, list[set[str]]] = {}
        # Of nodes under whose name several numberings are heard: epoch → where the last list of
        # that one was true. Kept by livestate.state.nodes.epochs.
        self.floors: Mapping[str, Mapping[int, Position]] = {}

    @property
    def live(self) -> int:
        """How many calls are live."""
        return self.nodes.live

    @property
    def full(self) -> bool:
        """No other call may be live: ``most`` are, of which one with long texts counts as several
        (:mod:`livestate.state.call_weight`)."""
        return self.nodes.live + self.weights.live >= self.most

    @property
    def sweeps(self) -> Sweeps:
        """What can happen to all calls of one node. Not kept, so that a table is in no cycle: a
        replay or a start drops whole tables, and they must not wait for the garbage collector."""
        return Sweeps(self)

    @staticmethod
    def _outgrows(before: Call, after: Call) -> bool:
        """Whether a call that stays live would weigh more than before."""
        return after.state not in FINAL_STATES and extra_weight(after) > extra_weight(before)

    def view(self, scope: Scope) -> View:
        """The view of a scope, made at its first use."""
        return self.views.get(scope)

    def versions_of(self, call: Call) -> dict[str, int]:
        """The versions at which the unfiltered views last saw this call; "" is all calls."""
        return self.views.versions_of(call)

    def trim(self, older_than: int, at_most: int, limit: int = MANY) -> list[str]:
        """Forget ended calls, see :meth:`livestate.state.retention.Retention.trim`."""
        return self.retention.trim(older_than, at_most, limit)

    # -- events and lists --------------------------------------------------------------------

    def apply(self, event: CallPhase, now: int) -> Change | None:
        """Fold one event in; None if it brings nothing new, or is of no live call.

        An event without a dialog is a call that the proxy refused: it is never live. An event from
        before its node's last complete list cannot create a live call: the list would have had it.
        Raises :class:`~livestate.contract.errors.Rejected` for a call more than ``most``.
        """
        node, dialog, call_id, epoch, seq = _identity_of(event.__dict__)
        if dialog is None:
            return None
        key = self.key_of(node, dialog, call_id)
        before = self.calls.get(key)
        listed = self.nodes.listed.get(node, NEVER)
        if self.floors and node in self.floors:
            latest = epoch if before is None else max(epoch, epoch_of(before.position))
            listed = self.nodes.floor(node, latest, self.floors)
        current = listed == NEVER or position_at(epoch, seq) > listed
        if before is None:
            after = begin(key, event)
            if after.state not in FINAL_STATES:
                if not current:
                    return None
                if self.full:
                    raise Rejected("too_many_calls", f"{self.nodes.live} are live")
        else:
            after = evolve(before, event, current)
            # Spelled out, for every event comes here: :attr:`full`.
            if self.nodes.live + self.weights.live >= self.most and self._outgrows(before, after):
                raise Rejected("too_many_calls", "no room for longer texts of a call")
        if self.nodes.restarted and after.state not in FINAL_STATES:
            restarted = self.nodes.restarted.get(node, NEVER)
            if after.position < restarted and listed < restarted:
                after = unconfirm(after)  # a late event from before the node's restart
        return self.change(before, after, now)

    def apply_listed(
        self, node: str, key: str, item: SyncedCall, position: Position, now: int
    ) -> Change | None:
        """Fold in one dialog of a node's list taken at ``position``, ``key`` being its name; None
        also for a list from before the last complete one."""
        if position < self.nodes.floor(node, epoch_of(position), self.floors):
            return None
        for named in self.sweeping.get(node, ()):
            named.add(key)
        before = self.calls.get(key)
        if before is not None:
            after = reconcile(before, item, position, now)
            if after is not before and self.full and self._outgrows(before, after):
                raise Rejected("too_many_calls", "no room for longer texts of a call")
            return self.change(before, after, now)
        if self.full:
            self.refused += 1
            return None
        return self.change(None, begin_listed(key, node, item, position, now), now)

    def expire(
        self, node: str, dialog: str, call_id: str, position: Position, now: int
    ) -> Change | None:
        """An instance of this service has decided that a call is over: it was unconfirmed for too
        long. None unless it is unconfirmed here too, and was not heard of after ``position``."""
        before = self.calls.get(self.key_of(node, dialog, call_id))
        if before is None or not before.live or not before.unconfirmed:
            return None
        if before.position > position:
            return None
        return self.change(before, mark_lost(before, position, now), now)

    # -- copies of dialogs at other nodes ------------------------------------------------------

    def apply_copied(self, key: str, item: CopiedCall, now: int) -> Change | None:
        """Fold in another node's copy of a dialog whose owner is silent, ``key`` being its name."""
        before = self.calls.get(key)
        if before is not None:
            if not before.live and not before.lost:
                return None  # it is known how the call ended
            return self.change(before, vouch(before, item, now), now)
        if self.full:
            self.refused += 1
            return None
        return self.change(None, begin_copied(key, item, now), now)

    def lose_copied(self, key: str, now: int) -> Change | None:
        """The node that went on with a call of a silent one no longer has it."""
        before = self.calls[key]
        return self.change(before, mark_lost(before, as_from_sync(before.position), now), now)

    def mark_unconfirmed(self, key: str, now: int) -> Change | None:
        """A call that no node confirms: for instance, the node that went on with it is silent."""
        before = self.calls[key]
        return self.change(before, unconfirm(before), now)

    # -- every change ------------------------------------------------------------------------

    def change(self, before: Call | None, after: Call, now: int) -> Change | None:
        """Store ``after`` in the place of ``before``, and record it in the views that show it.
        None if it is the same call.

        Raises :class:`~livestate.contract.errors.Rejected`, and stores nothing, where a company
        more than allowed has its first call.
        """
        if after is before:
            return None
        company = after.attributes.company_id
        is_live = after.state not in FINAL_STATES
        if is_live and company is not None and company not in self.views.by_tenant:
            self.views.admit(company, after.node)
        self.calls[after.key] = after
        weight = extra_weight(after)
        if weight or self.weights.by_key:
            self.weights.update(after, weight)
        if before is None or (before.state not in FINAL_STATES) != is_live:
            self._count(before, after, now)
        if before is not None and looks_the_same(before, after):
            return new(Change, (before, after, ()))
        return new(Change, (before, after, self.views.record(before, after, is_live, now)))

    def _count(self, before: Call | None, after: Call, now: int) -> None:
        """A call is new, ended, or turns out to be live."""
        if self.nodes.update(after):
            self.retention.ended(after.key, now)
        elif before is not None:
            self.retention.revived(after.key)

    # -- questions ---------------------------------------------------------------------------

    def unconfirmed(self, node: str, up_to: Position) -> Iterator[Call]:
        """A node's live calls that are marked and were not heard of after ``up_to``."""
        for key in self.nodes.keys(node):
            call = self.calls[key]
            if call.unconfirmed and call.position <= up_to:
                yield call

    def positions(self) -> dict[str, Position]:
        """Each node that has live calls, and the latest of their positions."""
        return {node: self.latest(keys) for node, keys in self.nodes.with_calls()}

    def latest(self, keys: Iterable[str]) -> Position:
        """The latest position of these calls, or NEVER."""
        return max(map(_position_of, map(self.calls.__getitem__, keys)), default=NEVER)

    # -- another table -----------------------------------------------------------------------

    def adopt(self, call: Call, now: int) -> tuple[str, Change | None]:
        """Fold in what another table knows of a call; the key that it has here, and its change."""
        key = self.key_of(*call.identity)
        here = self.calls.get(key)
        call = call if call.key == key else call.replaced(key=key)
        return key, self.change(here, call if here is None else combine(here, call), now)

    def become(self, other: ActiveCalls) -> None:
        """Take over the calls of ``other``, which is not used after that, with its views, keys and
        epoch. Nothing may watch a view of before. Limits and floors stay those of this table."""
        other.views.limits = self.views.limits
        self.epoch, self.calls, self.key_of = other.epoch, other.calls, other.key_of
        self.nodes, self.views, self.retention = other.nodes, other.views, other.retention
        self.weights = other.weights

    def put(self, before: Call | None, call: Call, now: int) -> None:
        """Store a call in the place of ``before``. Its versions are known, so the caller tells the
        views."""
        self.calls[call.key] = call
        self.weights.update(call, extra_weight(call))
        if before is None or before.live != call.live:
            self._count(before, call, now)

    def restore(
        self,
        calls: Iterable[tuple[Call, dict[str, int]]],
        scopes: dict[str, tuple[int, int]],
        predecessor: str,
        now: int,
        skipped: int = 0,
    ) -> None:
        """Fill an empty table from what was stored, at once: see :meth:`restoring`."""
        deque(self.restoring(calls, scopes, predecessor, now, skipped), 0)

    def restoring(
        self,
        calls: Iterable[tuple[Call, dict[str, int]]],
        scopes: dict[str, tuple[int, int]],
        predecessor: str,
        now: int,
        skipped: int = 0,
    ) -> Iterator[None]:
        """Fill an empty table from what was stored: calls with their versions, and for each
        unfiltered scope (version, floor). Only a node's next list can tell which of its calls live:
        they must not be shown before that, or must be marked (``unconfirm``). ``skipped`` is for
        :meth:`livestate.state.view.View.restore`.

        The iterator yields where the event loop may have a turn, about every 5 ms. The table must
        not be used before its end."""
        # Scope → version, key, whether it holds the call.
        rows: defaultdict[str, list[tuple[int, str, bool]]] = defaultdict(list)
        for count, (call, versions) in enumerate(calls, 1):
            if not count % RESTORED_AT_ONCE:
                yield
            key, own = call.key, call.attributes.company_id or ""
            live = call.state not in FINAL_STATES
            self.calls[key] = call
            if weight := extra_weight(call):
                self.weights.update(call, weight)
            self._count(None, call, now)
            if live and not (own in versions and "" in versions):
                # A version was edited in Redis: treat the call as just changed.
                versions = dict.fromkeys(("", own), UNKNOWN) | versions
            for company, version in versions.items():
                mine = company == "" or company == own
                rows[company].append((version, key, live and mine))
                if not mine:
                    self.views.moved_away(key, company)
        done = FEW  # views and calls in them, since the last turn
        for company in {*scopes, *rows}:
            if done >= FEW:
                done = 0
                yield
            view = self.view(Scope(company_id=company or None))
            version, view.floor = scopes.get(company, (0, 0))
            view.predecessor = (Views.tag_of(view.scope, predecessor), version)
            stored = rows.pop(company, [])
            stored.sort(key=itemgetter(0))  # 15 ms for 50,000; whole tuples take 37
            yield from view.restoring(stored, version, now, skipped)
            done += len(stored) + 1
