"""Filtered views: made from the view that they narrow, at its versions.

The table of a process and the replica of an edge make them alike. So a client with a filter can go
on in another process, after a restart, or after the view was dropped and made again. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from typing import Final

from livestate.contract.states import LIVE_STATES
from livestate.state.access import Scope
from livestate.state.call import Call
from livestate.state.view import DIGEST_MODULUS, View

RESUMED_ROWS: Final = 2_000  # of the latest changes, a client with a filter can resume from


def narrowed_tag(tag: str, scope: Scope) -> str:
    """The name of the numbering ``tag`` as a filter has it: the same in every process."""
    if not scope.filtered:
        return tag
    named = repr((tag, sorted(scope.states), sorted(scope.trunks)))
    return blake2b(named.encode("utf-8", "replace"), digest_size=8).hexdigest()


def continue_narrowed(view: View, before: tuple[str, int] | None) -> None:
    """Clients of the numbering ``before`` of the unfiltered view may go on in ``view``, up to its
    version."""
    view.predecessor = before and (narrowed_tag(before[0], view.scope), before[1])


def narrowed(base: View, scope: Scope, calls: dict[str, Call]) -> View:
    """The view of the filter ``scope``, from the unfiltered one.

    The filter may have shown a call before, here or in another process, that it does not admit now.
    A client that comes back must hear that the call left, so the last :data:`RESUMED_ROWS` changes
    of the unfiltered view are in this one, too. A client from before those takes a snapshot.

    A client joins in one go (promise J), so this cannot be done in slices. One pass finds the
    calls, and functions of C do the rest: 50,000 calls take 12 to 16 ms.
    """
    view = View(scope, narrowed_tag(base.tag, scope), calls)
    rows, resumed = base.rows, max(len(base.rows) - RESUMED_ROWS, 0)
    latest = list(islice(reversed(rows.items()), len(rows) - resumed))
    latest.reverse()
    older = _shown(scope, zip(islice(rows, resumed), map(calls.get, rows)))  # noqa: B905
    versions = list(map(rows.__getitem__, older))
    view.rows = dict(zip(older, versions))  # noqa: B905 - of equal length
    view.rows.update(latest)
    newer = _shown(scope, [(key, calls.get(key)) for key, _ in latest])
    view.live = len(older) + len(newer)
    view.digest = (sum(versions) + sum(map(rows.__getitem__, newer))) % DIGEST_MODULUS
    view.floor = base.floor
    if len(older) < resumed:  # some were left out, the last of them maybe just before ``latest``
        view.floor = max(base.floor, next(islice(reversed(rows.values()), len(latest), None)))
    view.version = base.version
    continue_narrowed(view, base.predecessor)
    return view


def _shown(scope: Scope, calls: Iterable[tuple[str, Call | None]]) -> list[str]:
    """The keys of those calls that the filter shows."""
    company, trunks, states = scope.company_id, scope.trunks, scope.states or LIVE_STATES
    if company is None and not trunks:
        return [key for key, call in calls if call is not None and call.state in states]
    return [
        key
        for key, call in calls
        if call is not None
        and call.state in states
        and (not trunks or call.attributes.trunk in trunks)
        and (company is None or call.attributes.company_id == company)
    ]
