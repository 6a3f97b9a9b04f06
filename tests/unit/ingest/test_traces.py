"""Traces of messages, received by a collector's OTLP/HTTP door."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from api.cli.child_service import Instance
from api.environment import from_environment
from api.service import Service
from livestate.devtools.servers import NatsServer, Valkey
from livestate.ingest.traces import MOST, Traces
from tests.harness import Node

NANO = 1_000_000_000


class Collector(HTTPServer):
    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[Any] = []
        super().__init__(("127.0.0.1", 0), Door)


class Door(BaseHTTPRequestHandler):
    """POST /v1/traces, as in the OTLP specification."""

    server: Collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
        for one in body["resourceSpans"]:
            self.server.resources.append(one["resource"])
            for scope in one["scopeSpans"]:
                self.server.spans += scope["spans"]
        self.send_response(200 if right else 400)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_message_is_traced_to_its_sinks(collector: Collector, tmp_path: Path) -> None:
    began = time.time_ns()
    async with NatsServer() as queue, Valkey() as redis:
        settings = {"NATS_URL": queue.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
                    "OTLP_URL": f"http://127.0.0.1:{collector.server_port}/v1/traces",
                    "OTLP_EVERY": "1"}  # fmt: skip
        async with Instance(tmp_path, settings) as service, await Node.connect(queue.url) as node:
            await service.until_ready()
            await node.call("1.1", company_id="company-9", **{"from": "alice", "to": "robert"})
            async with asyncio.timeout(20):
                while not any(span["name"] == "publish" for span in collector.spans):
                    await asyncio.sleep(0.05)
    by_id = {span["spanId"]: span for span in collector.spans}
    published = next(span for span in collector.spans if span["name"] == "publish")
    message = by_id[published["parentSpanId"]]
    fold = next(s for s in collector.spans
                if s["name"] == "fold" and s["traceId"] == message["traceId"])  # fmt: skip
    assert (len(message["traceId"]), len(message["spanId"])) == (32, 16)
    times = [int(at) for at in (
        message["startTimeUnixNano"], fold["endTimeUnixNano"], published["endTimeUnixNano"],
        message["endTimeUnixNano"],
    )]  # fmt: skip
    assert times == sorted(times)
    assert began < times[0] < time.time_ns()
    told = {one["key"]: one["value"]["stringValue"] for one in message["attributes"]}
    assert told["messaging.destination.name"].startswith("call.events.")
    assert told["livestate.node"]
    everything = json.dumps([collector.spans, collector.resources])
    assert '"livestate"' in everything
    for secret in ("company-9", "alice", "robert"):
        assert secret not in everything


async def test_nothing_is_in_the_way_while_it_is_off() -> None:
    settings, _ = from_environment({})
    service = Service(settings)
    assert service.traces is None
    assert service.consumer._handle == service.pipeline.handle
    assert len(service.pipeline._callbacks) == 4


def test_one_in_n_is_traced_and_a_collector_that_is_away_costs_a_bounded_queue() -> None:
    traces, handled = Traces("http://127.0.0.1:1/v1/traces", 10, "0"), []
    handle = traces.begin(lambda subject, data, waited_ms: handled.append(data))
    for _ in range(95):
        handle("call.events.setup", b"{}", 0)
    assert (len(handled), len(traces._waiting)) == (95, 10)
    for _ in range(10 * MOST):
        handle("call.events.setup", b"{}", 0)
    assert len(traces._waiting) == MOST
    assert traces.dropped == 10
