"""A node to speak as, a stream to listen with, and a service to put between them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import zlib
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import h11
import httpx
import nats
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig

from api.instance import Instance
from livestate.client import Dashboard, Parser, ServerEvent
from livestate.runtime.ending import end

STREAM = "/api/v1/live/calls"
# To read a whole stream with: NATS stops at a thousand messages that nobody acknowledges.
UNACKED = ConsumerConfig(ack_policy=AckPolicy.NONE)
_names = itertools.count(1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """A SIP node as a test plays it: numbers its events and beats by itself."""

    def __init__(self, client: Client, name: str | None = None) -> None:
        self.name = name or f"node-{next(_names)}"
        self.epoch = now_ms()
        self.seq = 0
        self.lists = 0
        self.hurried = False  # do not wait until NATS has each message
        self.client = client
        self._silent = False
        self._beating = asyncio.create_task(self._beat())

    @classmethod
    async def connect(cls, url: str, name: str | None = None) -> Self:
        client = await nats.connect(
            url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_quiet
        )
        return cls(client, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.silence()
        await end(self._beating)  # one cancellation can be lost in a flush of nats-py
        with contextlib.suppress(OSError):
            await self.client.close()

    def silence(self) -> None:
        self._silent = True
        self._beating.cancel()

    async def say(self, phase: str, dialog: str, /, **facts: Any) -> None:
        """One event; ``from_`` is from."""
        self.seq += 1
        if "from_" in facts:
            facts["from"] = facts.pop("from_")
        facts.setdefault("call_id", f"{dialog}@{self.name}")
        await self.publish(phase, self.envelope() | {"dialog": dialog} | facts)

    async def call(self, dialog: str, /, state: str = "answered", **facts: Any) -> None:
        """A call from its setup to ``state``."""
        await self.say("setup", dialog, setup_at=now_ms(), **facts)
        for phase, reached in (("ringing", "ringing"), ("answered", "answered"), ("hold", "held")):
            await self.say(phase, dialog, **facts)
            if reached == state:
                return

    async def write_cdr(self, dialog: str, /, **facts: Any) -> None:
        """The call's end told durably, and only so."""
        self.seq += 1
        await self.client.jetstream().publish("cdr.raw", orjson.dumps(cdr(self, dialog, **facts)))

    async def list(self, *calls: dict[str, Any]) -> None:
        self.lists += 1
        told = {"sync_id": str(self.lists), "part": 1, "parts": 1, "calls": calls}
        await self.publish("sync", self.envelope() | told)

    async def publish(self, phase: str, message: dict[str, Any]) -> None:
        await self.client.publish(f"call.events.{phase}", orjson.dumps(message | {"phase": phase}))
        if not self.hurried:
            await self.client.flush()

    def envelope(self) -> dict[str, Any]:
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": self.seq, "ts": now_ms()}

    async def _beat(self) -> None:
        while not self._silent:
            with contextlib.suppress(NatsError, OSError):
                await self.publish("heartbeat", self.envelope())
            await asyncio.sleep(1)


def cdr(node: Node, dialog: str, /, **facts: Any) -> dict[str, Any]:
    """A CDR as a bridge writes it: the call's terminal event."""
    told = {"phase": "ended", "call_id": f"{dialog}@{node.name}", "dialog": dialog,
            "ended_at": now_ms()}  # fmt: skip
    return node.envelope() | told | facts


async def _quiet(error: Exception) -> None:
    """NATS is killed in some tests; the node comes back by itself."""


class Stream:
    """One SSE connection on a raw socket: every byte kept, every event folded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.raw = bytearray()
        self.events: list[ServerEvent] = []
        self.dashboard = Dashboard()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.packed = bytearray()  # the body as it came: compressed, if it was
        self.over = asyncio.Event()
        self._parser = Parser()
        self._inflate: Callable[[bytes], bytes] = bytes
        self._reader, self._writer = reader, writer
        self._news = asyncio.Condition()
        self._http = h11.Connection(h11.CLIENT)
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        token: str | None,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        dashboard: Dashboard | None = None,
        source: str | None = None,
    ) -> Self:
        """Like an EventSource it comes back while the service says that it is starting.
        ``source``: the address of this machine to come from."""
        deadline = time.monotonic() + 10
        while True:
            stream = await cls._open(url, token, query, headers, dashboard, source)
            with contextlib.suppress(AssertionError):
                await stream.until(lambda s: s.events or s.status not in (0, 200))
            if not stream.named("goodbye") or stream.named("goodbye")[0]["reason"] != "starting":
                return stream
            assert time.monotonic() < deadline, "it starts and starts"
            await stream.close()
            await asyncio.sleep(0.05)

    @classmethod
    async def _open(
        cls,
        url: str,
        token: str | None,
        query: dict[str, str] | None,
        headers: dict[str, str] | None,
        dashboard: Dashboard | None,
        source: str | None,
    ) -> Self:
        parts = urlsplit(url)
        stream = cls(*await asyncio.open_connection(
            parts.hostname, parts.port, local_addr=(source, 0) if source else None
        ))  # fmt: skip
        if dashboard is not None:
            stream.dashboard = dashboard
        path = STREAM + (f"?{urlencode(query)}" if query else "")
        told = {"Host": parts.netloc, **(headers or {})}
        if token:
            told["Authorization"] = f"Bearer {token}"
        request = h11.Request(method="GET", target=path, headers=list(told.items()))
        stream._writer.write(stream._http.send(request) or b"")
        stream._writer.write(stream._http.send(h11.EndOfMessage()) or b"")
        stream._task = asyncio.create_task(stream._read())
        return stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._writer.transport.abort()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def until(self, wanted: Callable[[Stream], object], seconds: float = 5.0) -> None:
        """Wait until ``wanted(self)``; the failure says where it stands."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: wanted(self))
        except TimeoutError:
            tail = bytes(self.raw[-1500:]).decode("utf-8", "replace")
            raise AssertionError(f"not within {seconds} s; the stream's end is:\n{tail}") from None

    def named(self, name: str) -> list[dict[str, Any]]:
        return [orjson.loads(event.data) for event in self.events if event.name == name]

    @property
    def states(self) -> dict[str, str]:
        """call_id → state of what this stream shows."""
        return {one["call_id"]: one["state"] for one in self.dashboard.calls.values()}

    async def _read(self) -> None:
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    piece = await self._reader.read(65536)
                    self.raw += piece
                    self._http.receive_data(piece)
                    continue
                async with self._news:
                    if isinstance(event, h11.Response):
                        self.status = event.status_code
                        self.headers = {k.decode(): v.decode() for k, v in event.headers}
                        if self.headers.get("content-encoding") == "gzip":
                            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
                    elif isinstance(event, h11.Data):
                        self.packed += event.data
                        data = self._inflate(bytes(event.data))
                        self.body += data
                        for one in self._parser.feed(data):
                            self.events.append(one)
                            self.dashboard.fold(one)
                    self._news.notify_all()
                if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    return
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            self.over.set()
            async with self._news:
                self._news.notify_all()


async def snapshot(
    service: Instance, token: str, query: dict[str, str] | None = None
) -> dict[str, Any]:
    """The table as JSON, as the service has it now."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            f"{service.url}{STREAM}/snapshot", params=query, headers=bearer(token)
        )
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


async def agrees(
    service: Instance, stream: Stream, token: str, query: dict[str, str] | None = None
) -> None:
    """Promise V: the stream's fold is what the service has, call for call and field for field."""
    deadline = time.monotonic() + 8
    while True:
        told = await snapshot(service, token, query)
        if stream.dashboard.last_id == told["id"]:
            break
        at = f"the stream is at {stream.dashboard.last_id}, the service at {told['id']}"
        assert time.monotonic() < deadline, f"{at}; its end:\n{stream.raw[-1500:].decode()}"
        await asyncio.sleep(0.02)
    mine, theirs = stream.dashboard.calls, told["calls"]
    assert mine == theirs, {
        key: (mine.get(key), theirs.get(key))
        for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)
    }  # fmt: skip
    assert stream.dashboard.digest == told["digest"]
    assert stream.dashboard.diverged == 0, stream.raw[-3000:].decode()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def metrics(service: Instance) -> dict[str, float]:
    """``/metrics`` by sample name with labels, as in its text."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.admin_url}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
