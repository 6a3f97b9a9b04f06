"""One connection of nats-py, which never reconnects and says why it ended.

It overrides inner methods of nats-py 2.16 (hence the version in pyproject.toml): what a server
says with ``-ERR`` is kept as the reason; ``tls://`` demands TLS, where nats-py would send the
password in plain text to a server that offers none; the end of the read loop, also by an
exception, is the end of the connection, where nats-py would stay connected and deaf; and no message
that a publisher made ends it (:mod:`livestate.nats.parser`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.errors import UnexpectedEOF

from livestate.nats.credentials import Credentials
from livestate.nats.failure import TlsMissing
from livestate.nats.parser import Parser, plain
from livestate.nats.url import NatsUrl, parse

log = logging.getLogger("livestate.nats")

PING_SECONDS: Final = 3
PINGS: Final = 2  # unanswered: a half-open connection is noticed after 9 s
CLOSE_SECONDS: Final = 2.0  # a half-open peer does not answer the last flush
LAST_WORDS: Final = 1000


class Transport(TcpTransport):
    """Keeps the server's last line: what nats-server says instead of INFO (``maximum connections
    exceeded``) nats-py reports as an empty response."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.line = b""
        self.full_reads = 0  # in a row: each left more behind

    def __bool__(self) -> bool:
        return True  # else nats-py replaces it by one of its own

    async def read(self, buffer_size: int) -> bytes:
        data: bytes = await super().read(buffer_size)
        self.full_reads = self.full_reads + 1 if len(data) == buffer_size else 0
        return data

    async def readline(self) -> bytes:
        self.line = b""
        line: bytes = await super().readline()  # type: ignore[no-untyped-call]
        self.line = line[:LAST_WORDS]
        return line

    def abort(self) -> None:
        """Close without waiting for anything: a peer that hangs reads no goodbye."""
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                writer.transport.abort()


class Session(Client):
    """One connection: ``open()`` it once. When it ends, ``over`` is set and ``reason`` says why."""

    def __init__(self, url: NatsUrl, failed: Callable[[Exception], None]) -> None:
        super().__init__()
        self.url = url
        self.over = asyncio.Event()
        self.reason: BaseException | str | None = None
        self._tcp = self._transport = Transport()
        parser = self._ps = Parser(self)
        self._handlers = parser.handlers
        self._own_inbox = b""
        self._on_failed = failed

    async def open(
        self, name: str, login: Credentials | None, inbox: str, pending_bytes: int
    ) -> None:
        """Connect and log in. Raises what nats-py raises; ``reason``, where set, says more."""
        url = self.url
        self._own_inbox = inbox.encode() + b"."
        try:
            await self.connect(
                url.address,
                name=name,
                inbox_prefix=inbox,
                pending_size=pending_bytes,
                user=url.user or None,
                password=url.password if url.user else None,
                token=url.token or None,
                tls_hostname=url.tls_name or None,
                user_jwt_cb=(lambda: login.jwt) if login else None,
                signature_cb=login.signer() if login else None,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=3,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS,
                error_cb=self._on_error,
                lame_duck_mode_cb=self._on_lame_duck,
            )
        except Exception:
            if self._tcp.line.startswith(b"-ERR"):
                self.reason = self._tcp.line[4:].decode("utf-8", "replace").strip(" '\r\n")
            raise
        if not self.is_connected:  # an unexpected first answer: nats-py would stay "connecting"
            raise NatsError("unexpected answer to the first PING")

    @property
    def full_reads(self) -> int:
        """How many times in a row 32 KB were read and more was waiting."""
        return self._tcp.full_reads

    async def subscribe_directly(
        self, subject: str, handle: Callable[[str, bytes], bool]
    ) -> Subscription:
        """Subscribe; ``handle(subject, data)`` is called while a read is parsed, in the order of
        the connection. It returns whether the event loop shall have a turn before the next message.
        Meanwhile nothing else is read, so nothing piles up here: it waits in the socket."""

        def handled(subject: str, data: bytes) -> bool:
            try:
                return handle(subject, data)
            except Exception as error:  # noqa: BLE001  # it would end the read loop
                self._on_failed(error)
                return False

        # Set before anything is sent: no message comes earlier.
        self._handlers[self._sid + 1] = handled
        return await self.subscribe(subject, cb=_never_called)

    def end(self, reason: str) -> None:
        """Close the connection at once; call ``leave()`` afterwards to clean up."""
        self.reason = self.reason or reason
        self._tcp.abort()
        self.over.set()

    async def leave(self) -> None:
        """Send what waits, then close; takes ``CLOSE_SECONDS`` at most and raises nothing."""
        with contextlib.suppress(Exception):  # whatever state nats-py is in, its tasks must end
            await asyncio.wait_for(self.close(), CLOSE_SECONDS)
        # nats-py 2.16 forgets them when its last flush fails: each would leave a task behind.
        for subscription in self._subs.values():
            subscription._stop_processing()
        self._subs.clear()
        self._tcp.abort()
        self.over.set()

    async def subscribe_again(self, refused: str) -> None:
        """Repeat the subscriptions that the server refused with this text (in lower case). It
        drops them for good, also where a reload takes a right away and another one gives it back.
        If the server refuses again, the error arrives before this returns."""
        for subscription in tuple(self._subs.values()):
            if f'"{subscription.subject.lower()}"' in refused:
                await self._send_subscribe(subscription)
        await self.flush()

    def discovered(self, known: Iterable[NatsUrl]) -> tuple[NatsUrl, ...]:
        """The other servers of the cluster that this one reported, with the login of this
        connection. They come as addresses; certificates are checked for the configured name."""
        have = {url.address for url in known}
        found = []
        for uri in self.discovered_servers:
            with contextlib.suppress(ValueError):
                (one,) = parse(f"{self.url.scheme}://{uri.netloc}")
                if one.address not in have:
                    found.append(
                        replace(
                            self.url,
                            host=one.host,
                            port=one.port,
                            tls_name=self.url.tls_name or self.url.host,
                        )
                    )
        return tuple(found)

    # Called by nats-py; an exception in any of them would end its read loop unseen.

    async def _on_error(self, error: Exception) -> None:
        if not self.is_connected or isinstance(error, UnexpectedEOF):
            self.reason = self.reason or error
            return
        try:
            self._on_failed(error)
        except Exception:
            log.exception("cannot handle a NATS error")

    async def _on_lame_duck(self) -> None:
        self.reason = "lame duck mode: the server is shutting down"

    # -- overridden ---------------------------------------------------------------------------

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" not in err_msg:
            self.reason = err_msg.strip("'")
        await super()._process_err(err_msg)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self.url.scheme == "tls" and not info.get("tls_required"):
            raise TlsMissing("the URL says tls://, but the server offers no TLS")
        await super()._process_info(info, initial_connection)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        if headers is not None and not subject.startswith(self._own_inbox):
            headers = plain(headers)
        await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._handlers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, LookupError):  # of a reply: it is delivered without headers
            return None

    async def _read_loop(self) -> None:
        try:
            await super()._read_loop()
        finally:
            if self.reason is None:
                self.reason = self.last_error
            self.over.set()


async def _never_called(message: Msg) -> None:
    """The parser has the handler; nats-py does not subscribe without one."""
