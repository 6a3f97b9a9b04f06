"""The calls of an edge: folded from the engine's frames, at the engine's versions.

An edge does not fold events. For each view that its clients watch it has a :class:`Replica`, which
takes the state once and then every frame, and gives back
:class:`~livestate.state.active_calls.Change` objects, as the active-calls table of an engine does.
From there on an edge is like any other process: the hub makes frames for its clients at a rate of
its own, and lagging clients get what they lack from the view.

Versions are the engine's, so a client may go on at another edge. Filtered views use the versions of
the view that they narrow, for the same reason. A client that comes back may then hear that a
call is gone which its filter never showed: that changes nothing, and is of calls that it may see.
Pure: times come in, in ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from livestate.cluster.wire import Held
from livestate.contract.states import FinalState
from livestate.fanout.patch import record
from livestate.state.access import Scope
from livestate.state.active_calls import Change
from livestate.state.call import Call
from livestate.state.call_fields import WIRE_NAMES, field_values, from_field_values
from livestate.state.narrowed import (
    NARROWED_AT_ONCE,
    Narrowing,
    continue_narrowed,
    narrowed,
    narrowed_tag,
)
from livestate.state.phase_log import EMPTY, log_of
from livestate.state.position import NEVER, NOWHERE
from livestate.state.view import View


class Row(NamedTuple):
    """One call of a view at ``version``: all of its record, what changed in it (``patch``), or
    that it left, with how it ended where the client may see that."""

    key: str
    version: int
    record: Mapping[str, Any] | None
    ended: Mapping[str, Any] | None = None
    patch: bool = False


def live_call(key: str, record: Mapping[str, Any], before: Call | None = None) -> Call:
    """The call that a record shows, or ``before`` with what changed. Of an engine's call it lacks
    what only the fold needs. Raises KeyError for a record that is not whole."""
    if before is None:
        values = [record.get(name) for name in WIRE_NAMES]
        node, dialog, call_id = record["node"], "", record["call_id"]
        state, unconfirmed = record["state"], record.get("unconfirmed")
    else:
        known = field_values(before.attributes)
        values = [record.get(name, old) for name, old in zip(WIRE_NAMES, known, strict=True)]
        node, dialog, call_id = before.identity
        state = record.get("state", before.state)
        unconfirmed = record.get("unconfirmed", before.unconfirmed)
    attributes = from_field_values(values)
    return Call(key, node, dialog, call_id, state, NEVER, EMPTY, None, unconfirmed, attributes)


def call_with_timeline(record: Mapping[str, Any]) -> Call:
    """The call that an engine sent with its timeline. Raises KeyError where that is not whole."""
    phases = b"".join(log_of(NOWHERE, one["phase"], one["at"]) for one in record["timeline"])
    return live_call(record["key"], record).replaced(phase_log=phases)


def ended_call(before: Call, ended: Mapping[str, Any]) -> Call:
    """``before`` after its end, as ``ended`` of a diff describes it."""
    outcome, at = str(ended["outcome"]), int(ended["ended_at"])
    state: FinalState = "ended" if outcome == "answered" else "failed"
    attributes = before.attributes._replace(
        outcome=outcome, ended_at=at, sip_code=ended.get("sip_code", before.attributes.sip_code)
    )
    return before.replaced(state=state, phase_log=log_of(NOWHERE, state, at), attributes=attributes)


class Replica:
    """One unfiltered view of the engine, and those that narrow it."""

    def __init__(self, scope: Scope, tag: str, before: tuple[str, int] | None) -> None:
        self.scope = scope
        self.calls: dict[str, Call] = {}
        self.view = View(scope, tag, self.calls, 0)
        self.view.predecessor = before
        self.filtered: dict[Scope, View] = {}
        self._ended: deque[tuple[int, str]] = deque()  # (when, key), oldest first

    # -- another engine ----------------------------------------------------------------------

    def continue_as(self, tag: str, before: tuple[str, int]) -> None:
        """Another engine goes on with these calls and versions under the name ``tag``."""
        self.view.tag = tag
        for scope, view in self.filtered.items():
            view.tag = narrowed_tag(tag, scope)
        self.continues(before)

    def continues(self, before: tuple[str, int] | None) -> None:
        """Clients of the numbering ``before`` may go on here, up to its version."""
        self.view.predecessor = before
        for view in self.filtered.values():
            continue_narrowed(view, before)

    def held(self, most: int) -> Held:
        """The calls that changed last, ``most`` of them, for an engine that takes over."""
        view = self.view
        latest = islice(reversed(view.rows.items()), most + 1)
        changed = [(key, at) for key, at in latest if at > view.floor]
        since = changed.pop()[1] if len(changed) > most else view.floor
        fields: dict[tuple[str, ...], int] = {}
        rows = []
        for key, at in changed:
            call = self.calls.get(key)
            live = call is not None and call.live
            names = tuple(record(call)) if call is not None and live else ()
            rows.append((key, at, fields.setdefault(names, len(fields)) if live else -1))
        return Held(view.tag, view.version, since, rows, list(fields))

    # -- folding -----------------------------------------------------------------------------

    def fold(
        self, rows: Iterable[Row], version: int, now: int, *, stepwise: bool = True
    ) -> Iterator[Change]:
        """Fold what changed, in ascending versions, and then be at ``version``; the changes. Rows
        of versions that are here already are left out: a frame may begin before the state ends.
        Not ``stepwise``: versions between may be missing here that another edge has shown. Raises
        KeyError for a patch of an unknown call."""
        reached = self.view.version
        for row in rows:
            if row.version > reached:
                change = self._fold_row(row, now, stepwise)
                if change is not None:
                    yield change
        for view in (self.view, *self.filtered.values()):
            view.version = max(view.version, version)

    def keep_only(self, keys: set[str], version: int, now: int) -> Iterator[Change]:
        """The state at ``version`` has these live calls and no others: what left before the
        engine's oldest tombstone is known only by its absence."""
        for key in [key for key, call in self.calls.items() if call.live and key not in keys]:
            change = self._fold_row(Row(key, version, None), now, stepwise=False)
            if change is not None:
                yield change

    def raise_floor(self, floor: int) -> None:
        """The engine has forgotten tombstones up to ``floor``, or used their keys again."""
        for view in (self.view, *self.filtered.values()):
            view.floor = max(view.floor, floor)

    def trim(self, older_than: int, at_most: int, limit: int) -> None:
        """Forget ended calls and tombstones, as :meth:`livestate.state.view.View.trim` has it."""
        for view in (self.view, *self.filtered.values()):
            view.trim(older_than, at_most, limit)
        ended = self._ended
        while limit and ended and (ended[0][0] < older_than or len(ended) > at_most):
            limit -= 1
            _, key = ended.popleft()
            call = self.calls.get(key)
            if call is not None and not call.live:
                del self.calls[key]

    def _fold_row(self, row: Row, now: int, stepwise: bool) -> Change | None:
        """Fold one row in; None where no view shows a difference."""
        key, known = row.key, self.calls.get(row.key)
        before = known if known is not None and known.live else None
        if row.record is not None:
            if row.patch and before is None:
                raise KeyError(key)
            after = live_call(key, row.record, before if row.patch else None)
            self.calls[key] = after
        elif before is None:
            for view in (self.view, *(() if stepwise else self.filtered.values())):
                self._record(view, key, False, False, row.version, now)
            return None
        elif row.ended is not None:
            after = self.calls[key] = ended_call(before, row.ended)
            self._ended.append((now, key))
        else:  # moved to another company: how it ends there is not for this view
            after = ended_call(before, {"outcome": "lost", "ended_at": now})
            del self.calls[key]
        self._record(self.view, key, before is not None, after.live, row.version, now)
        views = [self.view]
        for view in self.filtered.values():
            was = before is not None and view.admits(before)
            shown = after.live and view.admits(after)
            # A filter may have shown the call meanwhile, at another edge, to a client that comes
            # here next: then it must hear that the call left.
            if was or shown or not stepwise:
                self._record(view, key, was, shown, row.version, now)
                views.append(view)
        return Change(before, after, tuple(views))

    @staticmethod
    def _record(view: View, key: str, was: bool, shown: bool, version: int, now: int) -> None:
        """Record a change at the engine's version instead of the view's own next one."""
        view.version = version - 1
        view.record_change(key, was, shown, now)

    # -- filters -----------------------------------------------------------------------------

    def narrowed(self, scope: Scope) -> View:
        """The view of a filter, made at its first use."""
        found = self.filtered.get(scope)
        if found is None:
            found = self.filtered[scope] = narrowed(self.view, scope, self.calls)
        return found

    def narrowing(self, scope: Scope) -> Narrowing | None:
        """How to make the view of a filter in steps; None where :meth:`narrowed` takes one."""
        if scope in self.filtered or len(self.view.rows) <= NARROWED_AT_ONCE:
            return None
        return Narrowing(self.view, scope, self.calls)

    def add(self, narrowing: Narrowing) -> View:
        """The view that was made in steps, unless it was made meanwhile, or the base anew."""
        if narrowing.scope not in self.filtered and narrowing.base is self.view:
            self.filtered[narrowing.scope] = narrowing.view()
        return self.narrowed(narrowing.scope)
