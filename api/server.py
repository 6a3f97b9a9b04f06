"""Runs the service: listens, loads what Redis holds, serves, and drains the streams at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from api.metrics.collector import MetricsCollector
from api.service import Service
from api.serving import begin, serve
from api.settings import Settings
from api.status import status
from livestate.process import memory


async def run(
    settings: Settings,
    *,
    stopped: asyncio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT (or ``stopped``), then drain the streams and return.

    ``on_ready`` is called once the listeners accept connections.
    """
    memory.set_up_allocator()
    stopping = stopped or asyncio.Event()
    listeners = await begin(settings, stopping)
    live = Service(settings, stored=True)
    numbers = MetricsCollector(
        live.table,
        live.nodes,
        live.pipeline.counters,
        live.hub,
        live.encoder,
        live.streams,
        live.projection,
        live.consumer,
        live.cdrs,
        live.watch,
        live.verifier,
        live.probe,
        live.kpis,
        live.clocks,
        live.edges,
        live.alarms,
        live.served,
    )
    await serve(
        settings,
        live,
        listeners,
        calls=live.calls,
        numbers=numbers,
        status=partial(status, live),
        stopping=stopping,
        on_ready=on_ready,
    )
