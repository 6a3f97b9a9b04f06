r"""Keeps a connection to NATS; everything in livestate that speaks NATS connects through it.

The service, the bridge and the simulated nodes each run :class:`Connection`\ s; commands,
``doctor`` and ``--check`` call :func:`connect`, which makes one connection and gives up. The
guarantee: as long as ``run()`` runs, a lost connection is made again, whatever ended it. Each
connection is a new client of nats-py, which may not reconnect by itself: nats-py 2.16 closes a
client for good on each ``-ERR`` that it does not know (nats.py#1019, #193), and hears nothing more
after an exception in its read loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError

from livestate.nats.dialer import Dialer
from livestate.nats.failure import KINDS, Trouble
from livestate.nats.session import CLOSE_SECONDS, Session
from livestate.nats.url import NatsUrl
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait, keep_running

log = logging.getLogger("livestate.nats")

AGAIN_SECONDS: Final = 0.5
BEGIN_SECONDS: Final = 3.0
MOST_DISCOVERED: Final = 16  # servers that a cluster reports in INFO
LOGGED: Final = 8  # different reasons in one outage
SUBSCRIBE_AGAIN_SECONDS: Final = 1.0
MOST_REFUSED: Final = 64  # refused subscriptions that are tried again
SETTLED_SECONDS: Final = 10.0  # a connection that ends sooner is part of the outage before
PENDING_BYTES: Final = 2 * 1024 * 1024
Result = TypeVar("Result")
AWAY: Final = (NatsError, OSError, asyncio.TimeoutError)


class NotConnected(NatsError):
    """There is no connection now; the text says why."""


class Unreachable(NatsError):
    """No server accepted the connection. ``troubles`` has the reasons by the servers' addresses."""

    def __init__(self, troubles: dict[str, Trouble]) -> None:
        super().__init__("; ".join(f"{where}: {one}" for where, one in troubles.items()))
        self.troubles = troubles


async def connect(
    urls: str | tuple[NatsUrl, ...],
    name: str,
    *,
    credentials: str | None = None,
    inbox: str = "_INBOX",
    pending_bytes: int = PENDING_BYTES,
    failed: Callable[[Exception], None] | None = None,
) -> Session:
    """One connection to the first server that accepts it. ``failed`` is called with errors that
    arrive later. Raises :class:`Unreachable`; ValueError for invalid ``urls``."""
    connection = Connection(
        urls, name, credentials=credentials, inbox=inbox, pending_bytes=pending_bytes, failed=failed
    )
    return await connection.dial_once()


class Connection:
    """One connection at a time, from ``run()`` until it is cancelled.

    ``begin(client)`` is awaited with each new client before it counts as connected, to make
    subscriptions. ``failed(error)`` is called with errors that do not end the connection (a slow
    consumer, a missing right). Neither may block; an exception of theirs ends that connection only.
    A refused subscription is tried again every ``again_seconds``.
    """

    def __init__(
        self,
        urls: str | tuple[NatsUrl, ...],
        name: str,
        *,
        credentials: str | None = None,
        inbox: str = "_INBOX",
        pending_bytes: int = PENDING_BYTES,
        begin: Callable[[Session], Awaitable[None]] | None = None,
        failed: Callable[[Exception], None] | None = None,
        again_seconds: float | None = None,
    ) -> None:
        self.connects = 0
        self.failures: Counter[str] = Counter(dict.fromkeys(KINDS, 0))  # by kind
        self.trouble: Trouble | None = Trouble("other", "not connected yet")
        self.trouble_since = now_ms()
        self.last_trouble: Trouble | None = None  # also while connected
        self.last_trouble_at = 0
        self.missing_right: Trouble | None = None  # what the server refused on this connection
        self._dialer = Dialer(
            urls,
            name,
            credentials=credentials,
            inbox=inbox,
            pending_bytes=pending_bytes,
            on_error=self._on_error,
            on_refused=self._note,
        )
        self._begin = begin
        self._failed = failed
        self._again_seconds = again_seconds or SUBSCRIBE_AGAIN_SECONDS
        self._session: Session | None = None
        self._logged: set[tuple[str, str]] = set()
        self._quiet = False
        self._flapping = False  # the last connection ended within SETTLED_SECONDS
        self._up = asyncio.Event()
        self._refused: set[str] = set()  # texts of refused subscriptions of this connection
        self._right_is_back = asyncio.Event()  # replaced each time it is set

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.is_connected

    @property
    def client(self) -> Session:
        """The current client; do not keep it. Raises :class:`NotConnected`."""
        if self._session is None or not self._session.is_connected:
            raise NotConnected(str(self.trouble or "the connection ends"))
        return self._session

    def status(self) -> dict[str, Any]:
        """For ``/statusz``: whether there is a connection, to which server, and why not."""
        right, trouble, last = self.missing_right, self.trouble, self.last_trouble
        refusals = {} if trouble is None else self._dialer.refusals
        shown = None
        if last is not None:
            at = self.last_trouble_at
            shown = {"at": at, "kind": last.kind, "text": last.text, "mend": last.mend}
        return {
            "connected": self.connected,
            "server": self._session.url.address if self._session else None,
            "trouble": None if trouble is None else trouble.text,
            "trouble_since": None if trouble is None else self.trouble_since,
            "refusals": {server: one.text for server, one in refusals.items()},
            "missing_right": None if right is None else right.text,
            "last_trouble": shown,
        }

    async def use(self, work: Callable[[Session], Coroutine[Any, Any, Result]]) -> Result:
        """Await ``work(client)``; cancel it when the connection ends, or when a lost right to
        receive replies is back: nats-py would wait the whole timeout of a request for a reply that
        is lost. Raises :class:`NotConnected`, or what ``work`` raises."""
        session = self.client
        working = asyncio.create_task(work(session))
        over = asyncio.create_task(session.over.wait())
        again = asyncio.create_task(self._right_is_back.wait())
        try:
            await asyncio.wait((working, over, again), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if not over.done():
                raise NotConnected("the right to receive replies is back; earlier replies are lost")
            raise NotConnected(str(self._dialer.reason(session.reason or "the connection ended")))
        finally:
            await cancel_and_wait(working, over, again)

    async def until_connected(self) -> Session:
        """Wait for a connection; return its client."""
        while not self.connected:
            await self._up.wait()
            await asyncio.sleep(0)
        return self.client

    @contextlib.asynccontextmanager
    async def running(self, *, patient: bool = True) -> AsyncIterator[None]:
        """Run ``run()`` while the block runs. Not ``patient``: raises :class:`Unreachable` if no
        server accepts the first attempt; a connection that is lost later is made again anyway."""
        first = None if patient else await self.dial_once()
        firsts = iter([first])
        keeping = keep_running("nats", lambda: self.run(next(firsts, None)))
        try:
            yield
        finally:
            await cancel_and_wait(keeping)

    async def run(self, first: Session | None = None) -> None:
        """Keep a connection until cancelled; begin with ``first`` if there is one."""
        while True:
            session, first = first or await self._dialer.dial(), None
            if session is not None:
                try:
                    await self._serve(session)
                finally:
                    self._session = None
                    self._up.clear()
                    await session.leave()
            await asyncio.sleep(AGAIN_SECONDS)

    def renew(self, reason: str) -> None:
        """End this connection and make another one; ``reason`` is for the log."""
        if self._session is not None:
            self._session.end(reason)

    async def _serve(self, session: Session) -> None:
        """Serve one connection until it ends."""
        self.missing_right = None
        self._refused.clear()
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                if self._begin is not None:
                    await self._begin(session)
        except AWAY as error:
            self._note(session.url.address, self._dialer.reason(session.reason or error))
            return
        if session.over.is_set():
            self._note(session.url.address, self._dialer.reason(session.reason or "unexpected EOF"))
            return
        self._dialer.discovered = session.discovered(self._dialer.urls)[:MOST_DISCOVERED]
        self._session = session
        self.connects += 1
        self.trouble = None
        self._up.set()
        if not self._flapping:
            log.info(
                "connected to NATS: connection=%s server=%s after_seconds=%.1f",
                self._dialer.name,
                session.url.address,
                (now_ms() - self.trouble_since) / 1000,
            )
        self._flapping = True
        asking = keep_running("nats rights", partial(self._subscribe_again, session))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_SECONDS):
                    await session.over.wait()
            if not session.over.is_set():
                self._flapping = False
                self._logged.clear()
                await session.over.wait()
        finally:
            await cancel_and_wait(asking)
        self._dialer.left = session.url.address
        reason = self._dialer.reason(session.reason or "unexpected EOF")
        self._note(session.url.address, reason)
        self.trouble_since = now_ms()

    async def _subscribe_again(self, session: Session) -> None:
        """Try refused subscriptions again. When a reload of nats-server gives a right back, the
        connection stays as it is, and only another attempt shows it: without this, replies and
        requests would be missed until a restart."""
        while True:
            await asyncio.sleep(self._again_seconds)
            refused = tuple(self._refused)
            self._refused.clear()
            with contextlib.suppress(*AWAY):
                for text in refused:
                    await session.subscribe_again(text)
            if refused and not self._refused:
                right = self.missing_right
                self.missing_right = None if right and right.text in refused else right
                self._right_is_back.set()
                self._right_is_back = asyncio.Event()

    async def dial_once(self) -> Session:
        """One connection for a caller that reports failures itself: nothing is logged. Raises
        :class:`Unreachable`."""
        self._quiet = True
        try:
            session = await self._dialer.dial()
        finally:
            self._quiet = False
        if session is None:
            raise Unreachable(self._dialer.refusals)
        return session

    def _note(self, server: str, reason: Trouble) -> None:
        """Count a failure and keep its reason; log each reason once per outage."""
        self.failures[reason.kind] += 1
        self.trouble = self.last_trouble = reason
        self.last_trouble_at = now_ms()
        known = (server, reason.text)
        if self._quiet:
            return
        if known not in self._logged and len(self._logged) < LOGGED:
            self._logged.add(known)
            log.warning(
                "NATS connection lost or refused; trying again: connection=%s server=%s reason=%s "
                "text=%s",
                self._dialer.name,
                server,
                reason.kind,
                reason.text,
            )

    def _on_error(self, error: Exception) -> None:
        reason = self._dialer.reason(error)
        if reason.kind == "permission":
            self.missing_right = self.last_trouble = reason
            self.last_trouble_at = now_ms()
            self.failures[reason.kind] += 1
            if "for subscription" in reason.text and len(self._refused) < MOST_REFUSED:
                self._refused.add(reason.text)
        if self._failed is not None:
            self._failed(error)


async def close(client: Client) -> None:
    """Close a client that :func:`connect` made, after sending what it still has to send."""
    with contextlib.suppress(*AWAY):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)
