"""Opens one connection to the first NATS server that accepts it.

:class:`~livestate.nats.connection.Connection` keeps one :class:`Dialer` and dials again after each
outage; commands dial once. Each attempt reads the credentials file and resolves names again, so
renewed credentials and a moved server need no restart. The reason of each refusal is kept by the
server's address.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Final

from livestate.nats.credentials import read
from livestate.nats.failure import Trouble, trouble
from livestate.nats.session import Session
from livestate.nats.url import NatsUrl, parse

CONNECT_SECONDS: Final = 3.0  # name, TCP, INFO, TLS, login, first PONG
STAGGER_SECONDS: Final = 1.0  # then the next server is tried beside one that hangs


class Dialer:
    """How to reach NATS: servers, the name of the connection, credentials, inbox, buffer size.

    ``on_error`` is called with errors of the connection that arrive later, ``on_refused`` with the
    address and the reason of each refusal. Raises ValueError for invalid ``urls``.
    """

    def __init__(
        self,
        urls: str | tuple[NatsUrl, ...],
        name: str,
        *,
        credentials: str | None,
        inbox: str,
        pending_bytes: int,
        on_error: Callable[[Exception], None],
        on_refused: Callable[[str, Trouble], None],
    ) -> None:
        self.urls = parse(urls) if isinstance(urls, str) else urls
        self.name = name
        self.refusals: dict[str, Trouble] = {}  # of the last round, by address
        self.discovered: tuple[NatsUrl, ...] = ()  # other servers that the cluster reported
        self.left: str | None = None  # the server of the connection before
        self._secrets = tuple(secret for url in self.urls for secret in url.secrets)
        self._credentials = credentials
        self._inbox = inbox
        self._pending_bytes = pending_bytes
        self._on_error = on_error
        self._on_refused = on_refused

    # The next server is tried when the one before refused, or did not answer for a second (as
    # RFC 8305 does for addresses). So the timeouts of hanging servers of a cluster do not add up.
    async def dial(self) -> Session | None:
        """The first session that a server grants, or None: ``refusals`` then has the reasons."""
        self.refusals = {}
        waiting: set[asyncio.Task[Session | None]] = set()
        servers = iter(self._candidates())
        try:
            while True:
                server = next(servers, None)
                if server is not None:
                    waiting.add(asyncio.create_task(self._open(server)))
                elif not waiting:
                    return None
                done, waiting = await asyncio.wait(
                    waiting,
                    timeout=STAGGER_SECONDS if server else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                granted = [session for task in done if (session := task.result()) is not None]
                for spare in granted[1:]:
                    await spare.leave()
                if granted:
                    return granted[0]
        finally:
            for task in waiting:
                task.cancel()
            for late in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(late, Session):
                    await late.leave()

    def reason(self, cause: BaseException | str, hint: str = "") -> Trouble:
        """What went wrong, in plain text and without secrets."""
        if hint:
            cause = f"credentials expired: {hint}: {trouble(cause)}"
        return trouble(cause, self._secrets)

    def _candidates(self) -> Iterable[NatsUrl]:
        """Each server once: the configured ones in random order, then those that the cluster
        reported; the server of the connection before comes last."""
        configured = random.sample(self.urls, len(self.urls))
        return sorted((*configured, *self.discovered), key=lambda url: url.address == self.left)

    async def _open(self, server: NatsUrl) -> Session | None:
        hint = ""
        session = Session(server, self._on_error)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                login = None
                if self._credentials is not None:
                    login = await asyncio.to_thread(read, self._credentials)
                    hint = login.expired(time.time()) or ""
                await session.open(self.name, login, self._inbox, self._pending_bytes)
            return session
        except asyncio.CancelledError:
            session.end("another server was faster")
            raise
        except Exception as error:  # noqa: BLE001  # nats-py raises anything at garbage of a server
            reason = self.reason(session.reason or error, hint)
            self.refusals[server.address] = reason
            self._on_refused(server.address, reason)
        await session.leave()
        return None
