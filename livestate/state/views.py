"""All views of the active-calls table: which calls each scope sees, and at which version.

The table calls :meth:`Views.record` for every change that clients can see. There is a view of all
calls, one of each company that has had a call, and one of each filter that a dashboard shows.

Each view counts versions of its own (:mod:`livestate.state.view`): a number common to all scopes
would tell each company how busy the others are. So nothing in a company's view depends on calls of
another company, not even when the view of an evicted company is made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import Final

from livestate.contract.errors import Rejected
from livestate.contract.states import FINAL_STATES
from livestate.state.access import Scope
from livestate.state.call import Call
from livestate.state.call_keys import CallKeys
from livestate.state.narrowed import NARROWED_AT_ONCE, Narrowing, narrowed, narrowed_tag
from livestate.state.view import View

ALL_CALLS: Final = Scope()


class Views:
    """Views by scope, and by the company whose calls they show.

    There are never views of more than ``most`` companies, of which one node may be the first to
    name ``most_a_node``: one bad node could take all memory with made-up names.
    """

    def __init__(
        self, calls: dict[str, Call], keys: CallKeys, epoch: str, most: int, most_a_node: int
    ) -> None:
        self.by_tenant: dict[str | None, list[View]] = {}  # company (None: all calls) → its views
        self.epoch = epoch
        self._calls = calls
        self._keys = keys
        self.limits = most, most_a_node
        self._by_scope: dict[Scope, View] = {}
        self._former_tenants: dict[str, set[str]] = {}  # key → companies it was moved away from
        self._named_by: dict[str, str] = {}  # company → the node that named it first
        self._names_of: Counter[str] = Counter()  # node → how many companies that is
        self._evictions = 0
        self._filtered = 0  # how many there are
        self.get(ALL_CALLS)

    def __iter__(self) -> Iterator[View]:
        return iter(self._by_scope.values())

    @property
    def companies(self) -> int:
        """How many companies have a view."""
        return len(self.by_tenant) - 1

    # -- changes ---------------------------------------------------------------------------

    def record(self, before: Call | None, after: Call, is_live: bool, now: int) -> tuple[View, ...]:
        """Record a change that clients can see in each view that shows the call, or did; those
        views. A call that moves to another company leaves the views of the company before."""
        key, company = after.key, after.attributes.company_id
        views = self.by_tenant[None]
        if company is not None and (own := self.by_tenant.get(company)) is not None:
            views = views + own
        former = company if before is None else before.attributes.company_id
        moved = former != company
        if moved and former is not None:
            views = views + self.by_tenant.get(former, [])
            self._former_tenants.setdefault(key, set()).add(former)
        was_live = before is not None and before.state not in FINAL_STATES
        if not was_live and not is_live:
            return ()
        if not moved and not self._filtered and before is not None:  # most changes: all show it
            for view in views:
                view.record_change(key, was_live, is_live, now)
            return tuple(views)
        changed = []
        base = 0  # the version of the view that the next ones narrow: the first of each company
        for view in views:
            was_in, is_in = was_live, is_live
            if not view.filtered:
                base = view.version + 1
            if moved or view.filtered:  # else the view always has the call while that is live
                was_in = was_live and before is not None and view.admits(before)
                is_in = is_live and view.admits(after)
                if not was_in and not is_in:
                    continue
            if before is None and key in view.rows:
                view.reset_key(key)
            if view.filtered:
                view.version = base - 1
            view.record_change(key, was_in, is_in, now)
            changed.append(view)
        return tuple(changed)

    def forget(self, call: Call) -> None:
        """The table forgets an ended call."""
        companies = {None, call.company_id, *self._former_tenants.pop(call.key, ())}
        for company in companies:
            for view in self.by_tenant.get(company, ()):
                view.forget(call.key)

    def trim(self, older_than: int, at_most: int, limit: int) -> int:
        """Trim the tombstones of all views, about ``limit`` of them; how many are left of that."""
        for view in self._by_scope.values():
            limit -= view.trim(older_than, at_most, max(limit, 1))
        return limit

    def versions_of(self, call: Call) -> dict[str, int]:
        """The versions at which the unfiltered views last saw this call; "" is all calls."""
        key, company = call.key, call.attributes.company_id
        found = {}
        if version := self.by_tenant[None][0].rows.get(key):
            found[""] = version
        former = self._former_tenants.get(key)
        for tenant in (company,) if former is None else {company, *former}:
            views = self.by_tenant.get(tenant) if tenant is not None else None
            if views and (version := views[0].rows.get(key)):
                found[str(tenant)] = version
        return found

    def moved_away(self, key: str, company: str) -> None:
        """A restored call that once was of ``company``."""
        self._former_tenants.setdefault(key, set()).add(company)

    # -- the views of a scope ----------------------------------------------------------------

    def get(self, scope: Scope) -> View:
        """The view of a scope, made at its first use; a filtered one begins with the calls that
        the unfiltered one has."""
        found = self._by_scope.get(scope)
        if found is not None:
            return found
        if scope.filtered:
            # The unfiltered one is always the first of those of its company.
            return self._keep(narrowed(self.get(scope.base), scope, self._calls))
        tag = self.tag_of(scope, self.epoch)
        return self._keep(View(scope, tag, self._calls, self._first_version(scope)))

    def _keep(self, view: View) -> View:
        self._by_scope[view.scope] = view
        self.by_tenant.setdefault(view.scope.company_id, []).append(view)
        self._filtered += view.filtered
        return view

    def narrowing(self, scope: Scope) -> Narrowing | None:
        """How to make the view of a filter in steps; None where :meth:`get` takes one step."""
        base = self._by_scope.get(scope.base)
        if not scope.filtered or scope in self._by_scope or base is None:
            return None
        return Narrowing(base, scope, self._calls) if len(base.rows) > NARROWED_AT_ONCE else None

    def add(self, narrowing: Narrowing) -> View:
        """The view that was made in steps, unless it was made meanwhile, or all views anew."""
        scope = narrowing.scope
        if scope not in self._by_scope and self._by_scope.get(scope.base) is narrowing.base:
            return self._keep(narrowing.view())
        return self.get(scope)

    def drop(self, view: View) -> None:
        """Forget a view that no dashboard shows any more, if it is a filtered one, or one of a
        company that has had no call: a client that may see all calls may ask for any name."""
        scope = view.scope
        siblings = self.by_tenant.get(scope.company_id, [])
        needed = scope == ALL_CALLS or view.version > 0 or len(siblings) > 1  # its filtered ones
        if self._by_scope.get(scope) is not view or (needed and not scope.filtered) or view.watched:
            return
        del self._by_scope[scope]
        self._filtered -= scope.filtered
        siblings.remove(view)
        if not siblings:
            del self.by_tenant[scope.company_id]

    def admit(self, company: str, node: str) -> None:
        """Make the view of a company that has its first call, named by ``node``.

        Raises :class:`~livestate.contract.errors.Rejected` for one more than there may be.
        """
        most, most_a_node = self.limits
        if self.companies >= most:
            raise Rejected("too_many_companies", f"{self.companies} have calls")
        if self._names_of[node] >= most_a_node:
            raise Rejected("too_many_companies", f"{node} has named {self._names_of[node]}")
        self._named_by[company] = node
        self._names_of[node] += 1
        self.get(Scope(company_id=company))

    def remove(self, company: str) -> None:
        """Forget a company that the process which counts its versions has evicted."""
        for view in self.by_tenant.pop(company, ()):
            del self._by_scope[view.scope]
            self._filtered -= view.filtered

    def evict(self, keep: int) -> list[str]:
        """Forget companies without a call, a tombstone or a dashboard, but for the ``keep`` most
        active ones; their names. Without this, made-up names would stay for ever.

        A client may still hold a position of an evicted view. If the company comes back, its new
        view must not reach that version with other calls. So from the first eviction on, a new
        view of a company begins at a number made from the secret: above all versions that are
        counted from 0, below what JavaScript can count, and the same whatever other companies do.
        """
        quiet = [
            (view.version - view.first, view)
            for view in self._by_scope.values()
            if view.scope.company_id is not None
            and not view.rows
            and not view.watched
            and len(self.by_tenant[view.scope.company_id]) == 1
        ]
        if len(quiet) <= keep:
            return []
        quiet.sort(key=itemgetter(0), reverse=True)
        names = []
        for _, view in quiet[keep:]:
            company = str(view.scope.company_id)
            del self._by_scope[view.scope], self.by_tenant[company]
            node = self._named_by.pop(company, None)
            if node is not None:
                self._names_of[node] -= 1
                if not self._names_of[node]:
                    del self._names_of[node]
            names.append(company)
        self._evictions += 1
        return names

    def _first_version(self, scope: Scope) -> int:
        if not self._evictions or scope.company_id is None:
            return 0
        return self._keys.first_version(self.epoch, self._evictions, scope.company_id)

    @staticmethod
    def tag_of(scope: Scope, epoch: str) -> str:
        """Names a scope's versions in this epoch: a position of another scope never fits it."""
        # Version 0.1 hashed these five values. With the same ones a client resumes over an upgrade.
        named = repr((epoch, 0, scope.company_id, [], []))
        tag = blake2b(named.encode("utf-8", "replace"), digest_size=8).hexdigest()
        return narrowed_tag(tag, scope)
