"""A proxy between clients and service that plants one fault into streams.

It changes events of streams and nothing else. :mod:`loadtest.self_test` checks that the load test
catches each fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import jwt
import orjson

from api.cli.child_service import Instance
from loadtest import wire

READ_BYTES: Final = 64 * 1024
WARM_SECONDS: Final = 6.0  # after the first frame: all clients have joined, measuring has begun
LATE_SECONDS: Final = 2.0
FOREIGN: Final = "999"  # a company without clients


class Made(NamedTuple):
    """A forwarded event: its bytes, and its delay."""

    event: bytes
    late_seconds: float = 0.0


class Diff:
    """One diff for a client; ``company`` is None for a client that sees all calls."""

    def __init__(self, event: bytes, company: str | None) -> None:
        self.event = event
        self.company = company
        self._head, _, data = event.partition(b"data: ")
        self.data = orjson.loads(data)

    @property
    def changes(self) -> list[tuple[str, dict[str, object]]]:
        return [(key, one) for key, one in self.data["calls"].items() if one is not None]

    def again(self) -> bytes:
        """The event, encoded again from ``data``."""
        return self._head + b"data: " + orjson.dumps(self.data) + b"\n\n"


# Returns the changed diff; None if the fault does not apply to it.
Spoil = Callable[[Diff], Made | None]


def lost(diff: Diff) -> Made | None:
    """Drop a diff."""
    return Made(b"")


def late(diff: Diff) -> Made | None:
    """Delay one frame by two seconds, and everything behind it. Slow readers, which see all calls,
    are left out."""
    return Made(diff.event, LATE_SECONDS) if diff.company is not None and diff.changes else None


def foreign(diff: Diff) -> Made | None:
    """Add a call of another company to one diff."""
    for key, change in diff.changes:
        if diff.company is not None and "node" in change:
            diff.data["calls"][f"{key}x"] = change | {"company_id": FOREIGN}
            return Made(diff.again())
    return None


def altered(diff: Diff) -> Made | None:
    """Change one field of one diff, under the correct version."""
    for _, change in diff.changes:
        if change.get("state") == "answered" and "answered_at" in change:
            change["state"] = "ringing"
            return Made(diff.again())
    return None


class Fault:
    """Applies ``spoil`` once in the middle of a run, or to every ``every``-th diff."""

    def __init__(
        self, spoil: Spoil | None, every: int | None = None, warm_seconds: float = WARM_SECONDS
    ) -> None:
        self.done = 0
        self._spoil = spoil
        self._every = every
        self._warm = warm_seconds
        self._seen = 0
        self._first_at: float | None = None

    def pass_on(self, event: bytes, company: str | None) -> Made:
        whole = Made(event)
        if self._spoil is None or not event.startswith(b"event: diff\n"):
            return whole
        self._seen += 1
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
        due = self._seen % self._every == 0 if self._every else now - self._first_at > self._warm
        if not due or (self._every is None and self.done):
            return whole
        made = self._spoil(Diff(event, company))
        self.done += made is not None
        return made or whole


class Proxy:
    """An HTTP/1.1 proxy, one request per connection as the loader sends them.
    ``async with Proxy(service, fault) as url``."""

    def __init__(self, service: Instance, fault: Fault) -> None:
        self._port = service.port
        self._fault = fault
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outer: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
                outer.write(head.replace(b"Accept-Encoding: gzip\r\n", b""))
                answering = asyncio.create_task(self._answer(inner, writer, _company(head)))
                leaving = asyncio.create_task(reader.read())  # ends when the client closes
                try:
                    await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    answering.cancel()
                    leaving.cancel()
                    await asyncio.gather(answering, leaving, return_exceptions=True)
            finally:
                for end in (writer, outer):
                    if end is not None:
                        end.close()

    async def _answer(
        self, inner: asyncio.StreamReader, writer: asyncio.StreamWriter, company: str | None
    ) -> None:
        head = await inner.readuntil(b"\r\n\r\n")
        writer.write(head)
        answer = wire.Answer()
        answer.feed(head)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            await self._stream(inner, writer, answer, company)
            return
        while piece := await inner.read(READ_BYTES):
            writer.write(piece)
            await writer.drain()

    async def _stream(
        self,
        inner: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: wire.Answer,
        company: str | None,
    ) -> None:
        """Forward event by event, each as a chunk."""
        rest = b""
        while not answer.over and (piece := await inner.read(READ_BYTES)):
            *events, rest = (rest + answer.feed(piece)).split(b"\n\n")
            for event in events:
                made = self._fault.pass_on(event + b"\n\n", company)
                if made.late_seconds:
                    await asyncio.sleep(made.late_seconds)
                if made.event:
                    writer.write(b"%x\r\n%b\r\n" % (len(made.event), made.event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _company(head: bytes) -> str | None:
    """The company in a request's token. The service verifies the token, this proxy does not."""
    token = head.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0]
    if token.count(b".") != 2:
        return None  # no login; the service says so
    claims = jwt.decode(token.decode(), options={"verify_signature": False})
    found: str | None = claims.get("company_id")
    return found
