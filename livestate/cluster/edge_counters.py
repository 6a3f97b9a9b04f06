"""What an edge counts, and how far it is behind its engine. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from livestate.cluster.follower import Follower
from livestate.cluster.heard_engine import HeardEngine
from livestate.cluster.reports import EdgeReport


@dataclass(slots=True)
class EdgeCounters:
    """Since the start of the edge."""

    name: str  # of the edge
    frames: int = 0
    states: int = 0  # that were asked for
    gaps: int = 0  # times that frames of a view were missing
    dropped: int = 0  # messages that the client of NATS dropped: we read too slowly
    continued: int = 0  # times that a view went on with another engine, by a diff
    unreadable: int = 0
    diverged_before: int = 0  # of views that are followed no more

    def report(
        self, followers: Collection[Follower], engine: HeardEngine, streams: int, now: int
    ) -> EdgeReport:
        """For the engine, and for ``/statusz`` and the metrics of this edge."""
        lag = engine.lag_ms(now)
        return EdgeReport(
            name=self.name,
            streams=streams,
            views=len(followers),
            lag_versions=max((one.lag_versions for one in followers), default=0),
            lag_ms=max((lag_ms(one, lag, now) for one in followers), default=lag),
            frames=self.frames,
            gaps=self.gaps,
            states=self.states,
            dropped=self.dropped,
        )


def lag_ms(follower: Follower, engine_lag: int, now: int) -> int:
    """How old what a view shows is: since its frames are missing, or as late as frames come."""
    since = follower.lost_since
    return engine_lag if since is None else max(now - since, engine_lag)
