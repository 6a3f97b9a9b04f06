"""Which views of an edge may be older than what other processes have shown. Pure.

Two things leave an edge with old calls and no sign of it: the process stood still (SIGSTOP, a
paused machine), or its connection to NATS was made anew. After the first, buffers hold frames and
beats of long ago, and a beat that is read now says nothing about now. After the second, frames are
missing, and the next one that would show it may be seconds away.

So each view that is followed is then in doubt until its engine has answered a question that was
asked afterwards. Until then no stream of that view begins, and what the edge says of its source may
not become *live*. Where no answer comes for :data:`DOUBT_MS`, the doubt is over, too: then there is
nothing better to show, and the engine's silence says that it is old.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from livestate.cluster.heard_engine import SILENT_MS
from livestate.state.source import Source

DOUBT_MS: Final = 5_000


class Doubt:
    """Times are of the steady clock, ms. :meth:`tick` must be called a few times a second."""

    def __init__(self, now: int) -> None:
        self._ticked_at = now
        self._sure_at = now  # no view was in doubt
        self._began = 0
        self._views: set[str | None] = set()

    def tick(self, now: int) -> bool:
        """Whether the process stood still since the last tick: then all views are in doubt."""
        overslept = self._overslept(now)
        self._ticked_at = now
        return overslept

    def _overslept(self, now: int) -> bool:
        return now - self._ticked_at > SILENT_MS

    def begin(self, companies: Iterable[str | None], now: int) -> None:
        """The views of these companies are in doubt."""
        self._views.update(companies)
        self._began = now

    def settle(self, company_id: str | None, asked_at: int) -> bool:
        """The engine has answered what it was asked at that time; whether that settles it."""
        if company_id in self._views and asked_at < self._began:
            return False
        self._views.discard(company_id)
        return True

    def forget(self, company_id: str | None) -> None:
        """The view is not followed any more."""
        self._views.discard(company_id)

    def expire(self, now: int) -> bool:
        """End what lasts too long; whether there was some."""
        expired = bool(self._views) and now - self._began > DOUBT_MS
        if expired:
            self._views.clear()
        return expired

    def about(self, company_id: str | None, now: int) -> bool:
        """Whether a stream of this company's view must wait."""
        return company_id in self._views or self._overslept(now)

    def judge(self, source: Source, now: int) -> Source:
        """The source that streams report. The heartbeats of the engine report ``source``."""
        if not self._views and not self._overslept(now):
            self._sure_at = now
        elif source.stale_since is None and now - self._sure_at > SILENT_MS:
            return Source(self._sure_at, "silent")
        return source
