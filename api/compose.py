"""The composition root: the only place that knows addresses, classes, order and signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from quart import Quart
from redis.exceptions import RedisError

from api import direct, http1
from api.address import networks
from api.app import create_app
from api.auth import Verifier, kept_fresh
from api.door import Door
from api.health import create_admin
from api.keys import KeySet, Revocations
from api.metrics import Numbers
from api.settings import Settings, masked
from api.stream import Streams
from api.wire import SseWire
from livestate.active_calls import ActiveCalls
from livestate.call import stamp_of
from livestate.kpi import Kpis
from livestate.nodes import Nodes
from livestate.runtime.cdrs import CdrReader
from livestate.runtime.channel import Pace
from livestate.runtime.clock import now_ms, steady_ms
from livestate.runtime.consumer import Consumer
from livestate.runtime.ending import end
from livestate.runtime.hub import Hub
from livestate.runtime.pipeline import Pipeline
from livestate.runtime.projection import Projection
from livestate.runtime.redis_table import Loaded, connect, load
from livestate.runtime.watch import Watch

log = logging.getLogger("livestate")
LAST_FLUSH_SECONDS = 3.0  # who stops us gives us a few more before he kills
IDLE_SECONDS = 7  # a proxy must let go of idle connections sooner, see deploy/Caddyfile


class Livestate:
    """One instance: made from settings, started and stopped in order."""

    def __init__(self, settings: Settings, loaded: Loaded | None) -> None:
        self.settings = settings
        secret = loaded.secret if loaded else secrets.token_bytes(16)
        self.table = ActiveCalls(secret=secret, epoch=secrets.token_hex(8), most=settings.max_calls)
        self.nodes = Nodes(stale_after=int(settings.node_stale_seconds * 1000))
        self.kpis = Kpis(steady_ms)
        self.wire = SseWire(now_ms, steady_ms, self.kpis.figures)
        self.hub = Hub(
            self.table, self.wire, pace=Pace(longest=settings.tick_ms / 1000),
            heartbeat_seconds=settings.heartbeat_seconds, loop=asyncio.get_running_loop(),
            now=steady_ms(),
        )  # fmt: skip
        self._redis = connect(settings.redis_url)
        self.projection = Projection(
            self._redis, self.table, secret=secret, clock=now_ms,
            holder=f"{socket.gethostname()} {settings.bind}",
            flush_seconds=settings.redis_flush_ms / 1000,
            cdr_position=lambda: self.cdrs.position,
        )  # fmt: skip
        ended_ms = int(settings.ended_seconds * 1000)
        self.pipeline = Pipeline(
            self.table, self.nodes, (self.projection, self.hub, self.kpis), clock=steady_ms,
            ended_ms=ended_ms,
        )  # fmt: skip
        self.consumer = Consumer(
            settings.nats_url, self.pipeline.take, self.pipeline.dropped,
            self.pipeline.reconnected, credentials=settings.nats_creds,
        )  # fmt: skip
        self.cdrs = CdrReader(
            settings.nats_url, self.pipeline.take_cdr, position=loaded.cdr if loaded else "",
            back_seconds=settings.ended_seconds, credentials=settings.nats_creds,
        )  # fmt: skip
        self.watch = Watch(
            self.table, self.nodes, self.hub, self.consumer, self.projection.forget,
            self.pipeline.doubt, clock=steady_ms, ended_ms=ended_ms,
            ended_calls=settings.ended_calls, reap_ms=int(settings.reap_seconds * 1000),
        )  # fmt: skip
        self.verifier = Verifier(
            KeySet(settings.jwt_jwks), issuer=settings.jwt_issuer, audience=settings.jwt_audience,
            role_claim=settings.jwt_role_claim, company_claim=settings.jwt_company_claim,
            revocations=Revocations(settings.revoked), remembered=2 * settings.max_streams,
        )  # fmt: skip
        self.streams = Streams(
            self.hub, self.verifier, settings.stream_seconds, settings.max_streams,
            settings.max_streams_per_user, settings.max_streams_per_address,
            ready=lambda: self.not_ready() is None,
        )  # fmt: skip
        self._started = steady_ms()
        self._been_ready = False
        if loaded is not None:
            self._restore(loaded)

    def _restore(self, loaded: Loaded) -> None:
        self.table.restore(loaded.calls, loaded.scopes, loaded.epoch, steady_ms())
        self.kpis.take_back(self.table.calls.values())
        for node, stamp in self.table.positions().items():
            epoch, seq = stamp >> 54, (stamp & (1 << 54) - 1) >> 1
            self.nodes.expect(node, epoch, seq, steady_ms())
        log.info("took back %d live calls from Redis (%d unusable)", self.table.live,
                 loaded.unusable)  # fmt: skip

    def not_ready(self) -> str | None:
        """Why this instance should get no traffic: None when it may."""
        if self.streams.draining:
            return "draining"
        if self._been_ready:
            return None
        # After a while: better a page that says it is stale than no page.
        if steady_ms() - self._started < self.settings.ready_seconds * 1000:
            if not self.consumer.connected:
                return "not connected to NATS yet"
            waiting = [node.name for node in self.nodes.by_name.values() if node.wants_list]
            if waiting:
                return f"waiting for the calls of {', '.join(waiting[:5])}"
            if not self.cdrs.caught_up:
                return f"{self.cdrs.waiting} CDRs of the time we were away are still to be read"
        self._doubt_unlisted()
        self._been_ready = True
        return None

    def _doubt_unlisted(self) -> None:
        """Nobody has been shown a call so far. Those that came back from Redis, and that no list of
        their node has told of since, are from now on, but marked."""
        for node in self.nodes.by_name.values():
            if node.loss:
                up_to = stamp_of(node.epoch, node.loss.highest, listed=True)
                self.pipeline.doubt(node.name, up_to)

    def status(self) -> dict[str, Any]:
        """For ``/statusz``: what an engineer asks first."""
        now = steady_ms()
        return {
            "pid": os.getpid(),
            "ready": self.not_ready() or True,
            "calls": self.table.live,
            "streams": len(self.streams),
            "source_stale_since": self.hub.shared.source.stale_since,
            "loop_lag_seconds": {"last": self.watch.lag_seconds,
                                 "worst": self.watch.worst_lag_seconds},
            "nats": {"connected": self.consumer.connected, "reconnects": self.consumer.reconnects,
                     "renewals": self.watch.renewals},
            "cdrs": {"trouble": self.cdrs.trouble, "caught_up": self.cdrs.caught_up,
                     "waiting": self.cdrs.waiting, "position": self.cdrs.position},
            "redis": {"dirty": self.projection.dirty, "standby": self.projection.standby,
                      "failures": self.projection.stats.failures,
                      "rewrites": self.projection.stats.rewrites},
            "nodes": {
                node.name: {"epoch": node.epoch, "seq": node.highest,
                            "silent_ms": now - node.heard_at, "missing": len(node.missing),
                            "stale": now - node.heard_at >= self.nodes.stale_after,
                            "waiting_for_list": node.wants_list, "dialogs": node.dialogs,
                            "doubted_ms": now - node.doubts[0].at if node.doubts else None,
                            "calls": self.table.calls_of(node.name)}
                for node in self.nodes.by_name.values()
            },
        }  # fmt: skip

    async def _write(self) -> None:
        # The first flush writes everything: not while readiness waits for the nodes' lists.
        while self.not_ready() is not None and not self.projection.stopping:
            await asyncio.sleep(0.05)
        await self.projection.run()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything but HTTP, started in order and stopped in the reverse."""
        with contextlib.suppress(OSError, ValueError):  # kept_fresh goes on trying, and says so
            await self.verifier.keys.refresh()
        feeding = asyncio.create_task(self.consumer.start())
        reading = asyncio.create_task(self.cdrs.run())
        writing = asyncio.create_task(self._write())
        watching = asyncio.create_task(self.watch.run())
        sweeping = asyncio.create_task(self.streams.run())
        try:
            async with kept_fresh(self.verifier, self.streams.recheck):
                yield
        finally:
            await end(feeding, reading, watching, sweeping)
            await self.consumer.stop()
            self.projection.stop()
            # A Redis that hangs answers neither the flush that is under way nor the last one.
            await asyncio.wait([writing], timeout=LAST_FLUSH_SECONDS)
            await end(writing)
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()


def calm_collector() -> None:
    """Calls are plain tuples that die by their reference count: the cycle collector would walk
    all of them again and again. What is here by now stays for good: it is not even walked once,
    which would hold the start up."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 100)


async def take_back(url: str) -> Loaded | None:
    """What Redis holds; None if it is empty, unusable or away: then the nodes' lists fill us."""
    redis = connect(url)
    try:
        return await load(redis)
    except (RedisError, OSError) as error:
        log.warning("Redis at %s: %s; starting without", masked(url), error)
        return None
    finally:
        await redis.aclose()


async def run(settings: Settings, *, stopped: asyncio.Event | None = None,
              on_ready: Callable[[], None] | None = None) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT (or ``stopped``), then drain and leave."""
    stopping = stopped or asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    # First of all: who is here already keeps what is his, and who comes early waits a moment.
    listeners = direct.listen(settings.bind), direct.listen(settings.admin_bind)
    gc.collect()
    gc.disable()  # while tens of thousands of calls come back, none of them garbage
    live = Livestate(settings, await take_back(settings.redis_url))
    calm_collector()
    numbers = Numbers(live.table, live.nodes, live.pipeline.tally, live.hub, live.wire,
                      live.streams, live.projection, live.consumer, live.cdrs,
                      live.watch)  # fmt: skip
    proxies = networks(settings.trusted_proxies)
    public = create_app(live.table, live.streams, live.verifier, clock=now_ms,
                        trusted_proxies=proxies, trace_url=settings.trace_url)  # fmt: skip
    door = Door(live.streams, live.verifier, proxies)
    admin = create_admin(numbers, ready=live.not_ready, status=live.status)
    http1.install()
    if settings.direct == "yes":
        direct.install()
    drained = asyncio.Event()

    async def until_drained() -> None:
        # Hypercorn on Python 3.12 and newer waits for open streams for ever (its issue 308), on
        # 3.11 it cuts them. So they are told goodbye before it hears of the end.
        await stopping.wait()
        log.info("draining %d streams", len(live.streams))
        await live.streams.drain(settings.drain_seconds)
        drained.set()

    async with live.running():
        log.info("serving http://%s/live-calls, admin on http://%s", settings.bind,
                 settings.admin_bind)  # fmt: skip
        if on_ready is not None:
            on_ready()
        await asyncio.gather(
            _http(public, listeners[0], until_drained, door),
            _http(admin, listeners[1], drained.wait),
        )


async def _http(app: Quart, listener: socket.socket, ended: Callable[[], Any],
                door: Door | None = None) -> None:  # fmt: skip
    config = direct.Config(door)
    config.bind = [f"fd://{number}" for number in direct.handles(listener)]
    config.backlog = direct.BACKLOG
    config.graceful_timeout = 1
    # From the connection to a whole request's headers, and between two requests.
    config.keep_alive_timeout = IDLE_SECONDS
    config.read_timeout = None  # a stream's client has nothing more to say
    config.h11_max_incomplete_size = 32 * 1024
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("livestate.http")
    config.errorlog.setLevel(logging.WARNING)  # it tells of each handle that it listens

    async def until_ended() -> None:
        await ended()
        config.close_door()

    await hypercorn_serve(app, config, shutdown_trigger=until_ended)
