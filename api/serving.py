"""Serves HTTP for every role: the public application, the admin application, and the drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from prometheus_client.registry import Collector

from api.app import create_app
from api.auth import startup_check
from api.auth.oidc_login import OidcLogin
from api.auth.verifier import Verifier
from api.health import create_admin
from api.http import hypercorn_seam
from api.http.address import networks
from api.http.listener import listen, socket_path
from api.http.served_connections import ServedConnections
from api.metrics.connections import ConnectionMetrics
from api.panels.numbering import Numbering
from api.panels.routes import Panels
from api.settings import Settings
from api.stream.fast_accept import FastAccept
from api.stream.one_call import Calls
from api.stream.registry import StreamRegistry
from api.stream.routes import LiveCalls
from api.stream.snapshots import Snapshots
from livestate.process.clock import now_ms
from livestate.process.systemd import Systemd
from livestate.process.tasks import cancel_and_wait

log = logging.getLogger("livestate")


class Instance(Protocol):
    """One process of any role, ready to run."""

    streams: StreamRegistry
    verifier: Verifier
    snapshots: Snapshots
    login: OidcLogin | None
    panels: Panels
    numbering: Numbering

    def not_ready(self) -> str | None: ...
    def running(self) -> AbstractAsyncContextManager[None]: ...


class Listeners(NamedTuple):
    """The sockets of one process. An engine serves no clients."""

    public: socket.socket | None
    admin: socket.socket


async def begin(settings: Settings, stopping: asyncio.Event) -> Listeners:
    """Check the settings and listen, before anything is loaded: a client that connects early then
    waits instead of being refused. SIGTERM and SIGINT set ``stopping``. Raises OSError, and
    :class:`~api.auth.startup_check.StartRefused`."""
    await startup_check.check(
        settings.bind,
        settings.jwt_jwks,
        settings.jwt_issuer,
        settings.revoked,
        settings.public_url,
    )
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    public = listen(settings.bind) if settings.role != "engine" else None
    return Listeners(public, listen(settings.admin_bind))


async def serve(
    settings: Settings,
    live: Instance,
    listeners: Listeners,
    *,
    calls: Calls,
    numbers: Collector,
    status: Callable[[], dict[str, Any]],
    stopping: asyncio.Event,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until ``stopping`` is set, then drain and leave."""
    proxies = networks(settings.trusted_proxies)
    public = create_app(
        LiveCalls(
            calls,
            live.streams,
            live.verifier,
            live.snapshots,
            now_ms,
            proxies,
            settings.trace_url,
            settings.cdr_url,
            settings.ended_seconds,
            live.numbering.of_call,
        ),
        login=live.login,
        panels=live.panels,
    )
    fast_accept = FastAccept(live.streams, live.verifier, proxies)
    served = ServedConnections()
    admin = create_admin(
        numbers,
        ConnectionMetrics(served),
        ready=live.not_ready,
        status=status,
        token=settings.admin_token,
    )
    http = hypercorn_seam.configuration(logging.getLogger("livestate.http"))
    servers = (
        hypercorn_seam.Server(
            public,
            http,
            fast_accept if settings.direct == "yes" else None,
            live.verifier.site.prefix,
            served,
        ),
        hypercorn_seam.Server(admin, http),
    )
    drained, systemd = asyncio.Event(), Systemd(os.environ)

    async def until_drained() -> None:
        # Streams get their goodbyes before the server stops and cuts connections.
        await stopping.wait()
        log.info("draining: streams=%d", len(live.streams))
        systemd.stopping()
        await live.streams.drain(settings.drain_seconds)
        drained.set()

    async with live.running():
        unix = socket_path(settings.bind) is not None
        page = settings.bind if unix else f"http://{settings.bind}/live-calls"
        clients = "edges" if listeners.public is None else page
        log.info("serving %s, admin on http://%s", clients, settings.admin_bind)
        if on_ready is not None:
            on_ready()
        systemd.ready()
        watchdog = asyncio.create_task(systemd.run())
        try:
            await asyncio.gather(
                servers[0].serve(listeners.public, until_drained)
                if listeners.public is not None
                else until_drained(),
                servers[1].serve(listeners.admin, drained.wait),
            )
        finally:
            await cancel_and_wait(watchdog)
