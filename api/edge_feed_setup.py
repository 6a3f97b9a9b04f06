"""Makes what a service publishes to edges, and how it follows another one, from the settings."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from api.readiness import Readiness
from api.settings import Settings
from api.stream.encoder import SseEncoder
from api.stream.one_call import LocalCalls, with_timeline
from livestate.cluster.edge import EdgeHub
from livestate.cluster.leadership import Leadership
from livestate.cluster.publisher import EdgeFeed
from livestate.cluster.replicas import Replicas
from livestate.cluster.served_hub import ServedHub
from livestate.fanout.context import SOON_SECONDS, CommitRate, FanoutContext
from livestate.fanout.hub import Hub
from livestate.nats.connection import Connection
from livestate.process.clock import now_ms, steady_ms
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.store.following import Following
from livestate.store.keys import Keys
from livestate.store.projection import Projection

# A single process works without the rights to publish and to follow, so it seldom tries them again:
# nats-server logs each time.
RIGHTS_AGAIN_SECONDS: Final = 30.0


def make_edge_feed(
    settings: Settings,
    table: ActiveCalls,
    encoder: SseEncoder,
    context: FanoutContext,
    projection: Projection,
    *,
    ready: Callable[[], bool],
) -> EdgeFeed:
    """``ready`` says whether what this engine knows may be shown."""
    calls = LocalCalls(table)

    def call(key: str, scope: Scope) -> dict[str, Any] | None:
        found = calls.get(key, scope)
        return None if found is None else with_timeline(found)

    return EdgeFeed(
        table,
        encoder,
        encoder.records,
        context,
        partial(
            Connection,
            settings.nats_url,
            "livestate engine",
            credentials=settings.nats_creds,
            inbox=settings.nats_inbox,
            again_seconds=RIGHTS_AGAIN_SECONDS if settings.role == "all" else None,
        ),
        leadership=Leadership(projection.claim),
        ready=ready,
        call=call,
        renumbered=projection.mark_dirty,
        handed_over=projection.claim_soon,
        clock=now_ms,
        steady=steady_ms,
    )


def make_following(
    settings: Settings, redis: Redis, keys: Keys, table: ActiveCalls, projection: Projection
) -> Following:
    """What a warm engine keeps of the table that another one writes."""
    return Following(
        redis,
        keys,
        table,
        projection=projection,
        clock=steady_ms,
        ended_ms=int(settings.ended_seconds * 1000),
        ended_calls=settings.ended_calls,
    )


def make_edge_hub(
    settings: Settings,
    encoder: SseEncoder,
    loop: asyncio.AbstractEventLoop,
    *,
    inbox: str,
    again_seconds: float | None = None,
) -> EdgeHub:
    """The hub that follows the process which leads. ``inbox`` and ``again_seconds`` are of its
    :class:`~livestate.nats.connection.Connection`."""
    return EdgeHub(
        Replicas(),
        encoder,
        # Frames of the engine are paced already.
        rate=CommitRate(shortest=SOON_SECONDS, longest=settings.tick_ms / 1000),
        heartbeat_seconds=settings.heartbeat_seconds,
        loop=loop,
        clock=now_ms,
        steady=steady_ms,
        ended_ms=int(settings.ended_seconds * 1000),
        ended_calls=settings.ended_calls,
        snapshot_bytes=settings.snapshot_megabytes * 1_000_000,
        name=f"{socket.gethostname()} {settings.bind} {os.getpid()}",
        connect=partial(
            Connection,
            settings.nats_url,
            "livestate edge",
            credentials=settings.nats_creds,
            inbox=inbox,
            again_seconds=again_seconds,
        ),
    )


def make_served_hub(
    settings: Settings,
    own: Hub,
    table: ActiveCalls,
    feed: EdgeFeed,
    readiness: Readiness,
) -> ServedHub:
    """The hub of a single process."""
    encoder = SseEncoder(now_ms, steady_ms, lambda company: edge.figures(company))
    edge = make_edge_hub(
        settings,
        encoder,
        own.context.loop,
        # Of its own: so the NATS user of these processes needs no right to answer others, above all
        # not JetStream's answers about CDRs.
        inbox=f"{settings.nats_inbox}.peers",
        again_seconds=RIGHTS_AGAIN_SECONDS,
    )
    edge.named = False
    return ServedHub(
        own,
        table,
        edge,
        feed.leadership,
        started=readiness.started,
        fed=readiness.fed,
        steady=steady_ms,
    )
