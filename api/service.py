"""The composition root: the only place where the parts of the service meet.

:mod:`api.server` makes one :class:`Service` and serves it; tests and the bench make their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.metadata import version

from redis.exceptions import RedisError

from api.alarm_setup import make_alarms, make_countries, make_history
from api.auth.verifier import kept_fresh
from api.edge_feed_setup import make_edge_feed, make_following, make_served_hub
from api.login_setup import make_verifier
from api.panel_setup import make_documents, make_panels, panels_for_edges
from api.panels.alarms import with_alarms
from api.panels.numbering import Numbering
from api.panels.trunk_file import TrunkFile
from api.readiness import Readiness
from api.settings import Settings
from api.start import Start, nothing_stored, read_stored
from api.stream.encoder import SseEncoder
from api.stream.one_call import Calls, LocalCalls, ServedCalls
from api.stream_setup import make_snapshots, make_streams
from livestate.cluster.publisher import EdgeFeed
from livestate.cluster.served_hub import ServedHub
from livestate.cluster.succession import SKIPPED
from livestate.contract.subjects import Subjects
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.monitor import FeedMonitor
from livestate.ingest.pipeline import Pipeline
from livestate.ingest.traces import Traces, traced
from livestate.process import memory
from livestate.process.clock import now_ms, steady_ms
from livestate.process.loop_probe import LoopProbe, log_hold
from livestate.process.tasks import cancel_and_wait, keep_running
from livestate.redis.connection import connect
from livestate.state.active_calls import ActiveCalls
from livestate.state.alarms.board import Board
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble, troubles
from livestate.store.figures import KeptFigures
from livestate.store.following import Following
from livestate.store.keys import Keys
from livestate.store.lease import ENGINE_TERMS
from livestate.store.projection import Projection
from livestate.store.restore import Restore

log = logging.getLogger("livestate")
LAST_FLUSH_SECONDS = 3.0  # systemd and containers wait longer before they kill a process


class Service:
    """One instance: made from settings, started and stopped in order."""

    cdrs: CdrReader

    def __init__(self, settings: Settings, *, stored: bool = False) -> None:
        """``stored``: the table that Redis holds is restored before anything is served."""
        self.settings = settings
        self.readiness = Readiness(self)
        self.not_ready = self.readiness.not_ready
        secret = secrets.token_bytes(16)
        self.table = ActiveCalls(
            secret=secret,
            epoch=secrets.token_hex(8),
            most=settings.max_calls,
            most_companies=settings.max_companies,
            most_companies_a_node=settings.max_companies_per_node,
        )
        self.nodes = Nodes(stale_after=int(settings.node_stale_seconds * 1000))
        self.clocks = NodeClocks()
        self.kpis = Kpis(steady_ms)
        self.trunk_file = TrunkFile(settings.trunks, self.kpis.trunk_window.keep)
        self.numbering = Numbering(settings.country)
        board = Board()
        self.encoder = SseEncoder(now_ms, steady_ms, with_alarms(self.kpis.figures, board))
        self.hub = Hub(
            self.table,
            self.encoder,
            rate=CommitRate(longest=settings.tick_ms / 1000),
            heartbeat_seconds=settings.heartbeat_seconds,
            loop=asyncio.get_running_loop(),
            now=steady_ms(),
            snapshot_bytes=settings.snapshot_megabytes * 1_000_000,
        )
        self._keys = Keys(settings.redis_prefix)
        self._redis = connect(settings.redis_access(), slot_key=self._keys.active)
        self.projection = Projection(
            self._redis,
            self.table,
            secret=secret,
            clock=now_ms,
            keys=self._keys,
            holder=f"{socket.gethostname()} {settings.bind} {os.getpid()}",
            flush_seconds=settings.redis_flush_ms / 1000,
            cdr_position=lambda: self.cdrs.position,
            restore=self._restore_stored,
            terms=ENGINE_TERMS,
            continues=True,
        )
        self.kept_figures = KeptFigures(
            self._redis,
            self.kpis,
            self.nodes,
            keys=self._keys,
            clock=steady_ms,
            writes=lambda: self.projection.claim.writes,
        )
        self.alarms = make_alarms(
            self, board, self._redis, self._keys, ready=self.readiness.been_ready
        )
        self.history = make_history(self, self._redis, self._keys, ready=self.readiness.been_ready)
        self.countries = make_countries(self, self._redis, self._keys)
        documents = make_documents(self)
        self.panels = make_panels(documents, self.alarms)
        self.edges = make_edge_feed(
            settings,
            self.table,
            self.encoder,
            self.hub.context,
            self.projection,
            ready=self.readiness.started,
        )
        self.edges.panels = panels_for_edges(documents, self.alarms)
        self.served = (
            make_served_hub(settings, self.hub, self.table, self.edges, self.readiness)
            if settings.role == "all"
            else None
        )
        self.restoring = Restore(
            self._redis,
            self.table,
            self.nodes,
            self.kpis,
            keys=self._keys,
            clock=steady_ms,
            end_streams=self._end_streams,
            read_cdrs_from=self._read_cdrs_from,
            skipped=SKIPPED,
        )
        self.restoring.projection = self.projection
        self.restoring.waiting = False
        self.following = self.restoring.following = make_following(
            settings, self._redis, self._keys, self.table, self.projection
        )
        self._reading: asyncio.Task[None] | None = None
        ended_ms = int(settings.ended_seconds * 1000)
        subjects = Subjects(settings.nats_subject, settings.pairs)
        self.traces = (
            Traces(settings.otlp_url, settings.otlp_every, version("livestate"))
            if settings.otlp_url
            else None
        )
        self.pipeline = Pipeline(
            self.table,
            self.nodes,
            traced(
                (
                    self.projection,
                    *(() if self.served is None else (self.hub,)),
                    self.kpis,
                    memory.Untracked(self.kpis.parts),
                ),
                self.traces,
            ),
            clock=steady_ms,
            ended_ms=ended_ms,
            slices=self.hub.context.slices,
            clocks=self.clocks,
            subjects=subjects,
        )
        for sink in (self.edges, self.following):  # they have something to do only now and then
            sink.listening = partial(self.pipeline.listen, sink)
        self.consumer = Consumer(
            settings.nats_url,
            self.traces.begin(self.pipeline.handle) if self.traces else self.pipeline.handle,
            self.pipeline.on_dropped,
            self.pipeline.on_reconnected,
            credentials=settings.nats_creds,
            inbox=settings.nats_inbox,
            subjects=subjects.events,
            node_of=self.pipeline.node_of,
        )
        self.cdrs = CdrReader(
            settings.nats_url,
            self.pipeline.handle_cdr,
            back_seconds=settings.ended_seconds,
            credentials=settings.nats_creds,
            inbox=settings.nats_inbox,
            subject=subjects.cdrs,
        )
        self.watch = FeedMonitor(
            self.table,
            self.nodes,
            self.hub,
            self.consumer,
            self.projection.forget,
            self.pipeline.mark_unconfirmed,
            self.pipeline.settle,
            self.troubles,
            clock=steady_ms,
            ended_ms=ended_ms,
            ended_calls=settings.ended_calls,
            reap_ms=int(settings.reap_seconds * 1000),
            on_evicted=self.kpis.forget,
        )
        self.verifier, self.login = make_verifier(settings, self._redis, self._keys)
        self.streams = make_streams(
            settings, self.served or self.hub, self.verifier, self.readiness.not_serving
        )
        self.snapshots = make_snapshots(settings, self.served or self.hub)
        self.calls: Calls = (
            LocalCalls(self.table) if self.served is None else ServedCalls(self.table, self.served)
        )
        self.probe = LoopProbe(asyncio.get_running_loop(), over_budget=log_hold)
        self._stored = stored
        parts = (self.table, self.nodes, self.kpis, self.consumer, self.cdrs, self.projection)
        self._start = Start(*parts)

    async def _restore_stored(self) -> None:
        """Restore what Redis holds, before it is written over."""
        await self.restoring.once()
        self.edges.beat_soon()

    async def _end_streams(self) -> None:
        """The table becomes another one."""
        await self.hub.end_streams(*tuple(self.hub.distributors))
        self.edges.let_go()

    async def _prepare(self) -> None:
        read = partial(read_stored, self.settings, self._redis, self._keys)
        self.restoring.waiting = not await self._start.run(
            read if self._stored else nothing_stored, self.verifier, self.kept_figures
        )
        self.readiness.begin()

    def troubles(self, now: int) -> tuple[Trouble, ...]:
        return troubles(self.nodes, self.clocks, self.pipeline.refusals, now)

    async def _read_cdrs_from(self, position: str) -> None:
        """Read ``cdr.raw`` again from the position of the restored table."""
        if not position:
            return
        if self._reading is not None:
            await cancel_and_wait(self._reading)
        self.cdrs.position, self.cdrs.caught_up = position, False
        self._reading = keep_running("cdrs", self.cdrs.run)

    async def _write(self) -> None:
        await self.restoring.run()
        # The first flush writes everything: not while readiness waits for the nodes' lists.
        while not self.readiness.started() and not self.projection.stopping:
            await asyncio.sleep(0.05)
        await self.projection.run()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything except HTTP: started in order, stopped in reverse."""
        feeding = keep_running("feed", self.consumer.run)
        try:
            await self._prepare()
        except BaseException:
            await cancel_and_wait(feeding)
            raise
        self._reading = keep_running("cdrs", self.cdrs.run)
        writing = keep_running("projection", self._write)
        runs: dict[str, Callable[[], Awaitable[None]]] = {
            "figures": self.kept_figures.run,
            "watch": self.watch.run,
            "streams": self.streams.run,
            "trunk file": self.trunk_file.run,
            "alarms": self.alarms.run,
            "history": self.history.run,
            "countries": self.countries.run,
            "redis health": self.projection.health.run,
        }
        if self.traces is not None:
            runs["traces"] = self.traces.run
        watching = [keep_running(name, run) for name, run in runs.items()]
        roles: dict[str, EdgeFeed | Following | ServedHub | None] = {
            "edges": self.edges,
            "following": self.following,
            "served": self.served,
        }
        publishing = [keep_running(name, one.run) for name, one in roles.items() if one]
        leasing = keep_running("lease", self.projection.keep_lease)
        try:
            async with kept_fresh(self.verifier, self.streams.recheck):
                with self.probe:
                    yield
        finally:
            await cancel_and_wait(feeding, self._reading, *watching)
            self.edges.commit()
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await self.kept_figures.write()
            self.projection.stop()
            # If Redis hangs, neither the running flush nor the last one returns.
            await asyncio.wait([writing], timeout=LAST_FLUSH_SECONDS)
            await cancel_and_wait(writing, leasing)
            await self.edges.hand_over()
            await cancel_and_wait(*publishing)
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()
