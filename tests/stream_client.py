"""An SSE client for tests, on a raw socket: it keeps every byte and folds every event."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import h11
import orjson

from livestate.client import Fold, Parser, ServerEvent

STREAM = "/api/v1/live/calls"


class Stream:
    """One SSE connection on a raw socket: every byte kept, every event folded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.raw = bytearray()
        self.events: list[ServerEvent] = []
        self.dashboard = Fold()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.packed = bytearray()  # the body as it came: compressed, if it was
        self.over = asyncio.Event()
        self.ended_in_order = False  # the last chunk came, and the end of the gzip before it
        self._parser = Parser()
        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
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
        dashboard: Fold | None = None,
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
        dashboard: Fold | None,
        source: str | None,
    ) -> Self:
        parts = urlsplit(url)
        stream = cls(*await asyncio.open_connection(
            parts.hostname, parts.port, local_addr=(source, 0) if source else None
        ))  # fmt: skip
        if dashboard is not None:
            stream.dashboard = dashboard
        path = STREAM + (f"?{urlencode(query)}" if query else "")
        sent_headers = {"Host": parts.netloc, **(headers or {})}
        if token:
            sent_headers["Authorization"] = f"Bearer {token}"
        request = h11.Request(method="GET", target=path, headers=list(sent_headers.items()))
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

    @property
    def compressed(self) -> bool:
        return self.headers.get("content-encoding") == "gzip"

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
                    elif isinstance(event, h11.Data):
                        self.packed += event.data
                        data = bytes(event.data)
                        if self.compressed:
                            data = self._gzip.decompress(data)
                        self.body += data
                        for one in self._parser.feed(data):
                            self.events.append(one)
                            self.dashboard.fold(one)
                    self._news.notify_all()
                if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    ended = isinstance(event, h11.EndOfMessage)
                    self.ended_in_order = ended and (self._gzip.eof or not self.compressed)
                    return
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            self.over.set()
            async with self._news:
                self._news.notify_all()
