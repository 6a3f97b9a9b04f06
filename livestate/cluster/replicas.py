"""All views that an edge follows, as the hub and the routes look for them. Pure."""

from __future__ import annotations

from livestate.cluster.follower import Follower
from livestate.state.access import Scope
from livestate.state.narrowed import Narrowing
from livestate.state.view import View


class Replicas:
    """The calls and views of all followed views, as the hub and the routes look for them."""

    def __init__(self) -> None:
        self.by_company: dict[str | None, Follower] = {}

    @property
    def views(self) -> Replicas:
        return self

    @property
    def live(self) -> int:
        """How many calls are live in the largest view."""
        replicas = (follower.replica for follower in self.by_company.values())
        return max((one.view.live for one in replicas if one is not None), default=0)

    def has(self, scope: Scope) -> bool:
        """Whether the state of the view that a scope narrows has come."""
        follower = self.by_company.get(scope.company_id)
        return follower is not None and follower.replica is not None

    def view(self, scope: Scope) -> View:
        """The view of a scope whose base is here. Raises KeyError for others."""
        follower = self.by_company[scope.company_id]
        if follower.replica is None:
            raise KeyError(scope)
        return follower.replica.narrowed(scope) if scope.filtered else follower.replica.view

    def narrowing(self, scope: Scope) -> Narrowing | None:
        """How to make the view of a filter in steps; None where :meth:`view` takes one."""
        follower = self.by_company.get(scope.company_id)
        if not scope.filtered or follower is None or follower.replica is None:
            return None
        return follower.replica.narrowing(scope)

    def add(self, narrowing: Narrowing) -> View:
        """The view that was made in steps. Raises KeyError if its base has left meanwhile."""
        follower = self.by_company[narrowing.scope.company_id]
        if follower.replica is None:
            raise KeyError(narrowing.scope)
        return follower.replica.add(narrowing)

    def drop(self, view: View) -> None:
        """Forget a filtered view that no client watches."""
        follower = self.by_company.get(view.scope.company_id)
        replica = follower.replica if follower is not None else None
        if replica is not None and replica.filtered.get(view.scope) is view:
            del replica.filtered[view.scope]
