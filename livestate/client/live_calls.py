"""The live calls of a service, kept right over one stream after another.

Used by ``livestate tail`` and by programs of others (docs/clients.md). The same in JavaScript:
``clients/js/src/livestate.js``; ``tests/vectors/client.json`` holds the two to the same behaviour.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final, NamedTuple, NoReturn, Self

import httpx
import orjson

from livestate.client.fold import Change, Fold, Record
from livestate.client.sse import Parser, ServerEvent
from livestate.client.states import ConnectionState

SILENCE_SECONDS: Final = 9.0  # heartbeats come every 4 s
FIRST_EVENT_SECONDS: Final = 5.0  # a stream begins with what it has
CONNECT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 4.0
HANDOVER_SECONDS: Final = 1.0  # to reconnect to another instance, without a change of state
REFUSED: Final = (400, 401, 403, 404, 406)  # by the service: trying again changes nothing
PROBLEM: Final = "application/problem+json"  # of the service's errors; a proxy's have other types

Token = str | Callable[[], Awaitable[str]] | None
Pause = Callable[[float], Awaitable[None]]


class Refused(Exception):
    """The service refuses this request for good: ``status``, and why (RFC 9457)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail


class _Lost(Exception):
    """The stream cannot be had, or has ended; the text says why."""


class Update(NamedTuple):
    """One event, or a changed state of the connection (``name`` is ``state``)."""

    name: str  # snapshot, diff, heartbeat, kpi, goodbye or state
    state: ConnectionState
    data: Any = None  # of the event, as decoded
    change: Change | None = None  # what a snapshot or a diff changed


class LiveCalls:
    """``async with LiveCalls(url, token) as live: async for update in live: …``

    ``url`` is that of the stream. ``token`` may be a coroutine function that gives a current one;
    it is called for every request. ``query`` has the filters of the service, as pairs.
    ``calls`` is to be believed while ``state`` is ``live``, and as of ``stale_since`` (ms) while it
    is ``stale``. Iterating raises :class:`Refused`; every other failure is retried for ever, also a
    refusal by a proxy.
    """

    def __init__(
        self,
        url: str,
        token: Token = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        client: httpx.AsyncClient | None = None,
        on_bytes: Callable[[bytes], None] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.url = url
        self.fold = Fold()
        self.state: ConnectionState = "connecting"
        self.stale_since: int | None = None
        self.stale_reason: str | None = None
        self.goodbye: str | None = None  # until the next event
        self.problem: str | None = None  # why the last stream ended
        self.reconnects = 0
        self._token = token
        # A proxy may keep the stream before open: the service ends it when this reader comes back.
        self._query = httpx.QueryParams([*query, ("reader", secrets.token_hex(8))])
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(CONNECT_SECONDS, read=None)
        )
        self._on_bytes = on_bytes
        self._silence = silence_seconds
        self._pause = pause
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._renewing = False  # the service is there, but another stream is wanted at once
        self._served = False  # this stream has sent an event other than a goodbye
        self._open = AsyncExitStack()

    @property
    def calls(self) -> dict[str, Record]:
        return self.fold.calls

    async def __aenter__(self) -> Self:
        if self._own_client:
            await self._open.enter_async_context(self._client)
        self._updates = await self._open.enter_async_context(aclosing(self._follow()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def __aiter__(self) -> AsyncIterator[Update]:
        return self._updates

    async def _follow(self) -> AsyncGenerator[Update, None]:
        while True:
            parser = Parser()
            at_least = 0.0
            try:
                async with aclosing(self._stream(parser)) as updates:
                    async for update in updates:
                        yield update
                self.problem = "the stream ended"
            except (httpx.HTTPError, httpx.StreamError, _Lost, TimeoutError, ValueError) as error:
                self.problem = str(error) or type(error).__name__
            if not self._renewing:
                at_least = (parser.retry or 0) / 1000
            pause = max(at_least, self._pause_seconds * random.uniform(0.5, 1))
            # The instance shuts down. Another one will answer soon, and the calls held are fresh.
            handover = self.goodbye == "drain" and self._served and pause <= HANDOVER_SECONDS
            if not self._renewing and not handover:
                starting = self.goodbye == "starting"
                for update in self._enter("starting" if starting else "disconnected"):
                    yield update
            await self._pause(pause)
            self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
            self.reconnects += 1

    async def _stream(self, parser: Parser) -> AsyncGenerator[Update, None]:
        """The updates of one response; it returns where the stream ends or must end."""
        self.goodbye, self._renewing, self._served = None, False, False
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        token = await self._token() if callable(self._token) else self._token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if self.fold.last_id:
            headers["Last-Event-ID"] = self.fold.last_id
        request = self._client.build_request("GET", self.url, params=self._query, headers=headers)
        async with asyncio.timeout(CONNECT_SECONDS):
            response = await self._client.send(request, stream=True)
        async with aclosing(response):
            media_type = _media_type(response)
            if media_type == PROBLEM and response.status_code in (401, 403):
                for update in self._enter("signed out"):
                    yield update
            if response.status_code != 200:
                await self._refuse(response, media_type)
            if media_type != "text/event-stream":
                raise _Lost(f"the response is {media_type or 'untyped'}")
            async with aclosing(self._events(response, parser)) as events:
                async for event in events:
                    for update in self._receive(event):
                        yield update
                    if self._renewing:
                        return

    async def _events(
        self, response: httpx.Response, parser: Parser
    ) -> AsyncGenerator[ServerEvent, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + min(FIRST_EVENT_SECONDS, self._silence)
        pieces = response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise _Lost(f"no event for {self._silence:g} s") from None
            if piece is None:
                return
            if self._on_bytes is not None:
                self._on_bytes(piece)
            for event in parser.feed(piece):
                deadline = clock() + self._silence
                yield event

    def _receive(self, event: ServerEvent) -> list[Update]:
        data = orjson.loads(event.data)
        if not isinstance(data, dict):
            raise _Lost(f"the data of a {event.name} is no object")
        self.goodbye = data.get("reason") if event.name == "goodbye" else None
        self._renewing = self.goodbye == "rotation"
        self._served = self._served or self.goodbye is None
        change = self.fold.apply(event.name, data, event.id)
        updates = [Update(event.name, self.state, data, change)]
        if event.name == "heartbeat":
            updates[:0] = self._judge(data)
        return updates

    def _judge(self, heartbeat: dict[str, Any]) -> list[Update]:
        if not (self.fold.agrees(heartbeat) and self.fold.complete):
            self.fold.diverged += 1
            self.fold.invalidate()
            self._renewing = True
            return self._enter("resyncing")
        live = heartbeat["source"] == "live"
        self.stale_since = None if live else heartbeat.get("stale_since")
        self.stale_reason = None if live else heartbeat.get("stale_reason")
        self._pause_seconds = FIRST_PAUSE_SECONDS
        return self._enter("live" if live else "stale")

    async def _refuse(self, response: httpx.Response, media_type: str) -> NoReturn:
        """Raises Refused where the service itself refuses for good. A proxy's own 403 or 404 passes
        when its login is renewed or its route is back."""
        if media_type != PROBLEM:
            raise _Lost(f"a proxy answered {response.status_code} instead of the service")
        if response.status_code not in REFUSED:
            raise _Lost(f"the service answered {response.status_code}")
        try:
            problem = orjson.loads(await response.aread())
            detail = f"{problem['title']}: {problem['detail']}"
        except (ValueError, KeyError, TypeError):
            detail = response.reason_phrase
        raise Refused(response.status_code, detail)

    def _enter(self, state: ConnectionState) -> list[Update]:
        if state == self.state:
            return []
        self.state = state
        return [Update("state", state)]


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).split(";")[0].strip().lower()
