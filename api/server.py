"""Runs the service: listens, loads what Redis holds, serves, and drains the streams at the end."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from functools import partial

from redis.exceptions import RedisError

from api.metrics.collector import MetricsCollector
from api.service import Away, Service
from api.serving import begin, serve
from api.settings import Settings
from api.status import status
from api.stream.one_call import LocalCalls
from livestate.process import memory
from livestate.process.masking import masked
from livestate.redis.connection import connect
from livestate.redis.trouble import explain
from livestate.store.keys import Keys
from livestate.store.loader import Loaded, load

log = logging.getLogger("livestate")
LOAD_SECONDS = (
    3.0  # a start waits at least this long for Redis, whatever LIVESTATE_READY_SECONDS is
)


async def restore(settings: Settings) -> Loaded | Away | None:
    """What Redis holds; None if that is nothing. It may take ``LIVESTATE_READY_SECONDS``."""
    keys = Keys(settings.redis_prefix)
    redis = connect(settings.redis_access(), slot_key=keys.active)
    try:
        async with asyncio.timeout(max(settings.ready_seconds, LOAD_SECONDS)):
            return await load(redis, keys)
    except (RedisError, OSError) as error:
        trouble = explain(error)
        log.warning(
            "started without what Redis holds: redis=%s error=%s mend=%s",
            masked(settings.redis_url),
            masked(trouble.what),
            trouble.mend,
        )
        return Away()
    finally:
        await redis.aclose()


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
    gc.collect()
    gc.disable()  # while tens of thousands of calls are loaded, of which none is garbage
    live = Service(settings, await restore(settings))
    memory.set_up_collector()
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
    )
    await serve(
        settings,
        live,
        listeners,
        calls=LocalCalls(live.table),
        numbers=numbers,
        status=partial(status, live),
        stopping=stopping,
        on_ready=on_ready,
    )
