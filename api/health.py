"""The admin application: liveness, readiness, state and metrics. For the inside only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from quart import Quart, Response

from api.problem import problem, register


def create_admin(
    numbers: Collector, *, ready: Callable[[], str | None], status: Callable[[], dict[str, Any]]
) -> Quart:
    """``ready`` gives None, or why this instance should get no traffic yet."""
    app = Quart(__name__, static_folder=None)
    register(app)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(numbers)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("alive\n", content_type="text/plain")  # the event loop turns

    @app.get("/readyz")
    async def readyz() -> Response:
        reason = ready()
        return problem(503, reason) if reason else Response("ready\n", content_type="text/plain")

    @app.get("/statusz")
    async def statusz() -> Response:
        return Response(orjson.dumps(status(), option=orjson.OPT_INDENT_2),
                        content_type="application/json")  # fmt: skip

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return app
