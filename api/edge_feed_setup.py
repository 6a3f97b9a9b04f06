"""Makes what an engine does for its edges from the settings and the parts of the service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from redis.asyncio import Redis

from api.settings import Settings
from api.stream.encoder import SseEncoder
from api.stream.one_call import LocalCalls, with_timeline
from livestate.cluster.leadership import Leadership
from livestate.cluster.publisher import EdgeFeed
from livestate.fanout.context import FanoutContext
from livestate.nats.connection import Connection
from livestate.process.clock import now_ms, steady_ms
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.store.following import Following
from livestate.store.keys import Keys
from livestate.store.projection import Projection


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
