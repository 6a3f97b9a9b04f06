"""The routes are as ``docs/openapi.json`` says, whatever schemathesis asks of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from api.cli.child_service import Instance
from api.openapi import document
from tests.examples import examples
from tests.harness import STREAM, Node, Stream, bearer

PROMISES = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
    checks.unsupported_method, checks.ignored_auth,
]  # fmt: skip


def documented() -> Any:
    """The routes but the stream: that is endless, and has tests of its own."""
    whole = document()
    del whole["paths"][STREAM]
    return schemathesis.openapi.from_dict(whole)


@pytest.fixture(scope="session")
def with_calls(_service_process: Instance) -> tuple[Instance, list[str]]:
    """The service, and the keys of two calls: a live one and one that is over."""

    async def fill(service: Instance) -> list[str]:
        async with (
            await Node.connect(service.environment["LIVESTATE_NATS_URL"]) as node,
            await Stream.open(service.url, service.token()) as stream,
        ):
            await stream.until(lambda s: s.dashboard.complete)
            known = set(stream.dashboard.calls)
            facts = {"company_id": "openapi", "from_": "\u2028<b>", "trunk": "gw-a"}
            for dialog in ("1.1", "2.2"):
                await node.call(dialog, "held", **facts, direction="inbound", sip_code=200)
            await stream.until(lambda s: len(s.dashboard.calls.keys() - known) == 2)
            keys = sorted(stream.dashboard.calls.keys() - known)
            await node.say("ended", "1.1", outcome="answered", by="caller", ended_at=node.epoch)
            await stream.until(lambda s: len(s.dashboard.calls.keys() - known) == 1)
            return keys

    service = _service_process
    return service, asyncio.run(fill(service))


json_routes = documented()


@json_routes.parametrize()
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_every_json_route_is_as_documented(
    case: schemathesis.Case, with_calls: tuple[Instance, list[str]]
) -> None:
    service, keys = with_calls
    inside = case.path in ("/healthz", "/readyz", "/statusz", "/metrics")
    if "key" in (case.path_parameters or {}) and len(str(case.path_parameters["key"])) % 3:
        case.path_parameters["key"] = keys[len(str(case.path_parameters["key"])) % 3 - 1]
    case.call_and_validate(
        base_url=service.admin_url if inside else service.url,
        headers={} if inside else bearer(service.token()),
        checks=PROMISES,
    )
