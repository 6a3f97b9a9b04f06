"""Filtered views: made from the view that they narrow, at its versions.

The table of a process and the replica of an edge make them alike. So a client with a filter can go
on in another process, after a restart, or after the view was dropped and made again. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final

from livestate.contract.states import LIVE_STATES
from livestate.state.access import Scope
from livestate.state.call import Call
from livestate.state.view import DIGEST_MODULUS, View

RESUMED_ROWS: Final = 2_000  # of the latest changes, a client with a filter can resume from
NARROWED_AT_ONCE: Final = 2_000  # rows, between two turns of the event loop: 1 to 3 ms


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


class Narrowing:
    """The view of the filter ``scope`` in the making: found in steps, then made in one go.

    The filter may have shown a call before, here or in another process, that it does not admit now.
    A client that comes back must hear that the call left, so the last :data:`RESUMED_ROWS` changes
    of the unfiltered view are in this one, too. A client from before those takes a snapshot.

    To look at 50,000 calls takes 15 to 70 ms, too long for one callback. So :meth:`steps` looks at
    the rows of one moment, and other callbacks may change the calls meanwhile. What changed after
    that moment is at the end of ``rows``, so :meth:`view` has to look again at those rows only, and
    a client joins with no change missed and none twice (promise J).
    """

    def __init__(self, base: View, scope: Scope, calls: dict[str, Call]) -> None:
        self.base = base
        self.scope = scope
        self._calls = calls
        self._began = base.version
        self._found: dict[str, int] = {}  # key → version, the rows that the filter shows

    def steps(self) -> Iterator[None]:
        """Look at all rows, :data:`NARROWED_AT_ONCE` a step."""
        self._began = self.base.version
        rows = iter(self.base.rows.copy().items())
        while part := list(islice(rows, NARROWED_AT_ONCE)):
            self._found.update(_shown(self.scope, part, self._calls))
            yield

    def view(self) -> View:
        """The view as of now. After all of :meth:`steps`."""
        base, found, rows = self.base, self._found, self.base.rows
        view = View(self.scope, narrowed_tag(base.tag, self.scope), self._calls)
        unchanged = base.unchanged_since(self._began)
        resumed = min(unchanged, max(len(rows) - RESUMED_ROWS, 0))
        latest = list(islice(reversed(rows.items()), len(rows) - resumed))
        latest.reverse()
        for key, _ in latest:
            found.pop(key, None)
        if base.floor > self._began:  # a row that was found has left, and was trimmed
            found = {key: at for key, at in found.items() if key in rows}
        newer = _shown(self.scope, latest, self._calls)
        view.live = len(found) + len(newer)
        view.digest = (sum(found.values()) + sum(newer.values())) % DIGEST_MODULUS
        view.floor = base.floor
        if (
            len(found) < resumed
        ):  # some were left out, the last of them maybe just before ``latest``
            view.floor = max(base.floor, next(islice(reversed(rows.values()), len(latest), None)))
        found.update(latest)
        view.rows = found
        view.version = base.version
        continue_narrowed(view, base.predecessor)
        return view


def narrowed(base: View, scope: Scope, calls: dict[str, Call]) -> View:
    """The view of the filter ``scope``, made in one go from the unfiltered one."""
    narrowing = Narrowing(base, scope, calls)
    for _ in narrowing.steps():
        pass
    return narrowing.view()


def _shown(scope: Scope, rows: list[tuple[str, int]], calls: dict[str, Call]) -> dict[str, int]:
    """Those of the rows (key, version) whose calls the filter shows."""
    company, trunks, states = scope.company_id, scope.trunks, scope.states or LIVE_STATES
    if company is None and not trunks:
        return {
            key: at
            for key, at in rows
            if (call := calls.get(key)) is not None and call.state in states
        }
    return {
        key: at
        for key, at in rows
        if (call := calls.get(key)) is not None
        and call.state in states
        and (not trunks or call.attributes.trunk in trunks)
        and (company is None or call.attributes.company_id == company)
    }
