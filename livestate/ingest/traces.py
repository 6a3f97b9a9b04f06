"""Optional traces: of one message in N, spans of its way, sent to an OpenTelemetry collector.

    message  from its arrival until every sink has its change
    ├── fold     parsing, order, the call's new state
    └── publish  the change handed to the Redis writer, the streams and the key figures

:mod:`api.service` makes a :class:`Traces` only where ``LIVESTATE_OTLP_URL`` is set; then it puts
:meth:`Traces.handle` before the pipeline and two marks around its sinks. Without it the pipeline is
called as before. While a message is handled, four times are noted. :meth:`Traces.run` makes spans
of them later and sends them as OTLP/HTTP JSON (OpenTelemetry Protocol 1.x). The OpenTelemetry SDK
is not used: three of its spans cost 250 µs, the fold 10 µs. While a collector is away, a bounded
queue keeps what was traced last.

Spans name the node, the phase and the numbers of the message: no caller, callee or company.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from typing import Any, Final, NamedTuple

from livestate.ingest.backlog import Handle
from livestate.ingest.sinks import Sink
from livestate.process.masking import masked
from livestate.state.active_calls import Change

log = logging.getLogger("livestate.traces")

SEND_SECONDS: Final = 2.0
MOST: Final = 1_000  # traces that wait to be sent; further ones are dropped
_INTERNAL, _CONSUMER = 1, 5  # SpanKind of opentelemetry/proto/trace/v1/trace.proto


class Trace(NamedTuple):
    """Times in ns since the epoch. ``folded`` and ``published`` are 0 for a message that changed
    nothing."""

    subject: str
    node: str
    begun: int
    folded: int
    published: int
    ended: int


class Mark:
    """A sink that notes when the first change of a traced message passes it."""

    def __init__(self) -> None:
        self.at = 0
        self.armed = False
        self.node = ""

    def on_change(self, change: Change) -> None:
        if self.armed:
            self.at, self.node, self.armed = time.time_ns(), change.after.node, False


class Traces:
    """``before`` and ``behind`` are the first and the last sink of the pipeline that is given to
    :meth:`begin`. ``every``: one message in so many is traced."""

    def __init__(self, url: str, every: int, version: str) -> None:
        self.before, self.behind = Mark(), Mark()
        self.sent = 0
        self.dropped = 0  # because the collector was away
        self._url = url
        self._every = every
        self._left = 1  # the first message is traced: a wrong URL shows at once
        self._version = version
        self._waiting: deque[Trace] = deque(maxlen=MOST)
        self._handle: Handle = _none

    def begin(self, handle: Handle) -> Handle:
        """What the consumer calls in place of ``handle``, the pipeline's."""
        self._handle = handle
        return self.handle

    def handle(self, subject: str, data: bytes, waited_ms: int) -> None:
        """Fold one message as the pipeline does; one in N is traced."""
        self._left -= 1
        if self._left:
            self._handle(subject, data, waited_ms)
            return
        self._left = self._every
        before, behind = self.before, self.behind
        before.at, before.armed, behind.at, behind.armed = 0, True, 0, True
        begun = time.time_ns()
        self._handle(subject, data, waited_ms)
        ended = time.time_ns()
        before.armed = behind.armed = False
        self.dropped += len(self._waiting) == MOST
        self._waiting.append(
            Trace(subject, before.node if before.at else "", begun, before.at, behind.at, ended)
        )

    async def run(self) -> None:
        """Send what was traced, for ever."""
        import httpx  # only where traces are sent: it takes 20 ms of a start

        away = False
        async with httpx.AsyncClient(timeout=SEND_SECONDS) as client:
            while True:
                await asyncio.sleep(SEND_SECONDS)
                batch = list(self._waiting)
                if not batch:
                    continue
                try:
                    answer = await client.post(self._url, json=request(batch, self._version))
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    if not away:
                        log.warning("traces cannot be sent: %s", masked(str(error) or repr(error)))
                    away = True
                    continue
                away = False
                self.sent += len(batch)
                for _ in batch:
                    self._waiting.popleft()


def traced(sinks: tuple[Sink, ...], traces: Traces | None) -> tuple[Sink, ...]:
    """The sinks of a pipeline, between the two marks where there are traces."""
    return sinks if traces is None else (traces.before, *sinks, traces.behind)


def _none(subject: str, data: bytes, waited_ms: int) -> None:
    """The handler before ``begin``."""


def request(batch: list[Trace], version: str) -> dict[str, Any]:
    """ExportTraceServiceRequest in the JSON encoding of OTLP: ids are hex, 64-bit numbers text."""
    resource = {"attributes": attributes({"service.name": "livestate", "service.version": version})}
    spans = [span for trace in batch for span in spans_of(trace)]
    scope = {"scope": {"name": "livestate.ingest"}, "spans": spans}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def spans_of(trace: Trace) -> list[dict[str, Any]]:
    """The spans of one message: its own, and the two below it if it changed a call."""
    identity, root = secrets.token_hex(16), secrets.token_hex(8)
    values = {"messaging.system": "nats", "messaging.destination.name": trace.subject}
    values |= {"livestate.node": trace.node} if trace.node else {}
    own = _span(identity, root, "message", trace.begun, trace.ended, _CONSUMER)
    spans = [own | {"attributes": attributes(values)}]
    if trace.folded and trace.published:
        for name, begun, ended in (
            ("fold", trace.begun, trace.folded),
            ("publish", trace.folded, trace.published),
        ):
            span = _span(identity, secrets.token_hex(8), name, begun, ended, _INTERNAL)
            spans.append(span | {"parentSpanId": root})
    return spans


def _span(identity: str, own: str, name: str, begun: int, ended: int, kind: int) -> dict[str, Any]:
    return {
        "traceId": identity,
        "spanId": own,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(ended),
    }


def attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    """Attributes as OTLP has them."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
