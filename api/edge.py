"""The composition root of an edge: serves clients from an engine's frames (docs/scale.md)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from api.auth.verifier import kept_fresh
from api.edge_feed_setup import make_edge_hub
from api.login_setup import make_verifier
from api.metrics.families import counter, gauge
from api.metrics.logins import login_metrics
from api.metrics.process import process_metrics
from api.metrics.streams import stream_metrics
from api.panels.documents import Documents
from api.panels.from_engine import acknowledge_at_engine, ask_engine
from api.panels.numbering import Numbering
from api.panels.routes import PANELS, Panels
from api.serving import begin, serve
from api.settings import Settings
from api.stream.encoder import SseEncoder
from api.stream.slow_clients import slow_clients
from api.stream_setup import make_snapshots, make_streams
from livestate.process import memory
from livestate.process.clock import now_ms, steady_ms
from livestate.process.loop_probe import LoopProbe, log_hold
from livestate.process.tasks import cancel_and_wait, failures, keep_running
from livestate.redis.connection import connect
from livestate.store.keys import Keys

log = logging.getLogger("livestate")


class Edge:
    """One edge: made from settings, started and stopped in order."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.encoder = SseEncoder(now_ms, steady_ms, lambda company: self.hub.figures(company))
        self.hub = make_edge_hub(settings, self.encoder, loop, inbox=settings.nats_inbox)
        self.replicas = self.hub.replicas
        self.panels = Panels(
            {
                name: Documents(
                    partial(ask_engine, self.hub.connection, name), time.monotonic, name
                )
                for name in PANELS
            },
            partial(acknowledge_at_engine, self.hub.connection),
        )
        self.numbering = Numbering(settings.country)
        # For sessions of logins only: no call is read or written.
        keys = Keys(settings.redis_prefix)
        self._redis = connect(settings.redis_access(), slot_key=keys.active)
        self.verifier, self.login = make_verifier(settings, self._redis, keys)
        self.streams = make_streams(settings, self.hub, self.verifier, self.not_ready)
        self.snapshots = make_snapshots(settings, self.hub)
        self.probe = LoopProbe(loop, over_budget=log_hold)
        self._been_ready = False

    def not_ready(self) -> str | None:
        """Why this edge should get no traffic: None when it may. Once ready it stays so: a page
        that says it is stale is better than no page."""
        if self.streams.draining:
            return "draining"
        if self._been_ready:
            return None
        if not self.hub.connection.connected:
            return "not connected to NATS yet"
        if not self.hub.ready:
            return "no engine is heard, or it is not ready"
        self._been_ready = True
        return None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything but HTTP, started in order and stopped in the reverse."""
        with contextlib.suppress(OSError, ValueError):  # kept_fresh goes on trying, and says so
            await self.verifier.keys.refresh()
        await self.verifier.revocations.refresh()
        with contextlib.suppress(RedisError, OSError):  # who logged out before our start
            await self.verifier.logouts.exchange()
        following = keep_running("hub", self.hub.run)
        sweeping = keep_running("streams", self.streams.run)
        try:
            async with kept_fresh(self.verifier, self.streams.recheck):
                with self.probe:
                    yield
        finally:
            await cancel_and_wait(following, sweeping)
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    def status(self) -> dict[str, Any]:
        """For ``/statusz``."""
        hub, beat, report = self.hub, self.hub.engine.beat, self.hub.report()
        return {
            "pid": os.getpid(),
            "role": "edge",
            "task_failures": +failures,
            "ready": self.not_ready() or True,
            "streams": len(self.streams),
            "slow_clients": slow_clients(self.streams),
            "lag": {"versions": report.lag_versions, "ms": report.lag_ms},
            "frames": report.frames,
            "gaps": report.gaps,
            "states": report.states,
            "dropped": report.dropped,
            "nats_connects": hub.connection.connects,
            "source_stale_since": hub.source.stale_since,
            "engine": beat
            and {"epoch": beat.epoch, "fence": beat.fence, "silent_ms": hub.silent_ms},
            "views": {
                company_id or "": {
                    "version": follower.version,
                    "lag_versions": follower.lag_versions,
                    "lost": follower.lost,
                    "diverged": follower.diverged,
                    "calls": follower.replica.view.live if follower.replica else None,
                }
                for company_id, follower in self.replicas.by_company.items()
            },
            "nats": hub.connection.status(),
            "loop_holds": self.probe.status(),
        }


class EdgeMetrics(Collector):
    """``/metrics`` of an edge."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._started_at = time.time()

    def collect(self) -> Iterator[Metric]:
        edge, hub = self._edge, self._edge.hub
        followers = edge.replicas.by_company.values()
        yield gauge("livestate_edge_views", "Views that this edge follows.", len(followers))
        yield gauge(
            "livestate_edge_views_lost",
            "Views whose state is asked for.",
            sum(one.lost for one in followers),
        )
        counts, report = hub.counters, hub.report()
        yield counter("livestate_edge_frames", "Frames and heartbeats of engines.", counts.frames)
        yield counter("livestate_edge_states", "States of views asked for.", counts.states)
        yield counter(
            "livestate_edge_continued",
            "Times that a view went on with another engine by a diff.",
            counts.continued,
        )
        yield counter("livestate_edge_gaps", "Times that frames of a view were lost.", counts.gaps)
        yield counter(
            "livestate_edge_dropped", "Messages that this edge read too slowly.", counts.dropped
        )
        yield counter(
            "livestate_edge_nats_connects", "Connections to NATS.", hub.connection.connects
        )
        yield gauge(
            "livestate_edge_lag_versions",
            "Versions that the view furthest behind lacks.",
            report.lag_versions,
        )
        yield gauge(
            "livestate_edge_lag_seconds",
            "How far behind its engine this edge is.",
            report.lag_ms / 1000,
        )
        yield counter(
            "livestate_edge_diverged",
            "Times that a view had another digest than the engine's.",
            hub.diverged,
        )
        yield counter("livestate_edge_unreadable", "Unusable messages.", counts.unreadable)
        yield gauge("livestate_edge_engine_silent_seconds", "Since a beat.", hub.silent_ms / 1000)
        yield gauge(
            "livestate_source_stale",
            "1 while streams say stale.",
            hub.source.stale_since is not None,
        )
        companies = sum(company_id is not None for company_id in edge.replicas.by_company)
        yield from stream_metrics(edge.streams, edge.encoder, hub.context, companies)
        yield from login_metrics(edge.verifier)
        yield from process_metrics(hub, edge.probe, self._started_at)


async def run(
    settings: Settings,
    *,
    stopped: asyncio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT (or ``stopped``), then drain and leave."""
    memory.set_up_allocator()
    stopping = stopped or asyncio.Event()
    listeners = await begin(settings, stopping)
    edge = Edge(settings)
    memory.set_up_collector()
    await serve(
        settings,
        edge,
        listeners,
        calls=edge.hub,
        numbers=EdgeMetrics(edge),
        status=edge.status,
        stopping=stopping,
        on_ready=on_ready,
    )
