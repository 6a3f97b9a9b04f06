"""The admin application: liveness, readiness, state and metrics.

Kubelets, load balancers and Prometheus read it, and engineers. From the loopback all of it is
readable. From beyond it, ``/healthz`` and ``/readyz`` give no reasons, and
``/statusz`` and ``/metrics`` answer only the bearer of ``LIVESTATE_ADMIN_TOKEN``: they name nodes
and trunks.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from quart import Quart, Response, request

from api.http.problem import problem, register
from livestate.process.masking import masked

_CONFIDENTIAL: Final = frozenset({"/statusz", "/metrics"})


def create_admin(
    *numbers: Collector,
    ready: Callable[[], str | None],
    status: Callable[[], dict[str, Any]],
    token: str | None = None,
) -> Quart:
    """``ready`` gives None, or why this instance should get no traffic yet. ``token`` lets clients
    beyond the loopback read what is confidential; without one they cannot."""
    app = Quart(__name__, static_folder=None)
    register(app)
    registry = CollectorRegistry(auto_describe=False)
    for each in numbers:
        registry.register(each)

    @app.before_request
    async def refuse() -> Response | None:
        if request.path not in _CONFIDENTIAL or _is_local() or _bears(token):
            return None
        if token is None:
            return problem(403, "Set LIVESTATE_ADMIN_TOKEN to read this from another machine.")
        return problem(
            401,
            "Send the bearer token of LIVESTATE_ADMIN_TOKEN.",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("alive\n", content_type="text/plain")  # the event loop turns

    @app.get("/readyz")
    async def readyz() -> Response:
        reason = ready()
        if reason is None:
            return Response("ready\n", content_type="text/plain")
        return problem(503, reason if _is_local() or _bears(token) else "not ready")

    @app.get("/statusz")
    async def statusz() -> Response:
        return Response(
            orjson.dumps(_masked(status()), option=orjson.OPT_INDENT_2),
            content_type="application/json",
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return app


def _is_local() -> bool:
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _bears(token: str | None) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return (
        token is not None
        and scheme.lower() == "bearer"
        and hmac.compare_digest(given.strip().encode(), token.encode())
    )


def _masked(value: Any) -> Any:
    """Without the secrets of URLs: reasons in it are texts of libraries."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list) else value
