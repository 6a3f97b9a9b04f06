"""How an engine continues the numbering of the one before it, so that clients get one diff.

The engine that takes over restores what Redis holds, merges it with its own fold, and names a
numbering of its own. Redis lags: it has everything up to the *stored version* of a view, and the
former engine may have shown later ones. So:

1. A call that Redis holds as the new engine would show it keeps its version. Any other call gets
   the next one, and the versions before that begin :data:`SKIPPED` after the stored one.
2. A position of the former numbering up to the stored version resumes by a diff
   (:attr:`livestate.state.view.View.predecessor`).
3. An edge that was ahead says which calls it saw change after the stored version
   (:class:`~livestate.cluster.wire.Held`), with all of them up to its own version.
   :func:`accept` gives each of them a new version, whether it differs or not. From then on
   positions up to the edge's version resume too, at every edge.

A diff cannot take a field of a record back. So where the edge's record of such a call has a field
that the engine's lacks, because the engine missed an event, the edge's version is not accepted.
Nor is it where the call has left at the edge, which then cannot tell what its record had.

Why no client misses a change: let a client be at version V of the former numbering, and a call be
shown to it as of version v ≤ V. If v is at most the stored version, Redis has that record or one
of a version above V; the engine keeps it or gives the call a new version. If v is above, some edge
has told of the call, for it holds every version up to V; so the call has a new version. Each new
version is above V, and a diff from V has all versions above V. Records only gain fields, and the
engine's has those of Redis, or of the edge. A position that no edge has vouched for is unknown, and
its client takes a snapshot.

Pure: times come in, in ms.
"""

from __future__ import annotations

from typing import Final

from livestate.cluster.wire import Held
from livestate.fanout.patch import record
from livestate.state.active_calls import ActiveCalls
from livestate.state.view import View

SKIPPED: Final = 1_000_000  # versions; an edge that is further ahead of Redis takes a snapshot


def accept(table: ActiveCalls, view: View, held: Held, now: int) -> list[str]:
    """Let clients continue up to what an edge holds, if that leads on from what is known; the keys
    that have a new version since."""
    before, first = view.predecessor, view.first
    if before is None or held.tag != before[0]:
        return []
    if not held.since <= before[1] < held.version < first:
        return []
    fields = [frozenset(names) for names in held.fields]
    keys = []
    for key, version, index in held.rows:
        if version <= before[1]:
            continue
        call = table.calls.get(key)
        shown = call is not None and view.holds(call)
        if call is not None and shown and not (index >= 0 and fields[index] <= set(record(call))):
            return []
        if view.rows.get(key, 0) <= first:
            keys.append(key)
    for key in keys:
        view.mention(key, now)
    view.predecessor = before[0], held.version
    return keys
