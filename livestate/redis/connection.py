"""Connects to Redis: one server, the primary behind Sentinels, our node of a cluster; with TLS.

:func:`connect` makes the only client of Redis that livestate uses. It fails fast and repeats
nothing: by default redis-py 8.1 retries ten times without a sign of it, and runs a write twice when
only its reply was lost. A server that turns out not to be the primary (``READONLY``, ``MOVED``) is
left: the next command asks where the primary is.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    AskError,
    ConnectionError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
)

from livestate.redis.primary import Address, ClusterNode, Primary, Sentinels
from livestate.redis.url import RedisUrl, parse

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 3.0
# At most, and opened only when all others are in use. redis-py's pool does not wait: a command more
# fails. Ten tasks of a service use Redis, so where it is slow for a moment all of them hold one.
CONNECTIONS: Final = 16
_NOT_PRIMARY: Final = (ReadOnlyError, AskError, MasterDownError)


@dataclass(frozen=True, slots=True)
class Access:
    """A URL and what completes it. Each of the others, where it is given, takes the place of the
    part of the URL. ``prefix`` is of the names of all keys (:mod:`livestate.store.keys`)."""

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    prefix: str = ""


class Tls:
    """Makes the TLS context, and makes it anew when one of its files has changed.

    redis-py keeps the context of a connection for as long as the process lives, so that a client
    certificate that was renewed would never be used.
    """

    def __init__(self, access: Access, url: RedisUrl) -> None:
        self._ca = access.ca_file or url.ca_file
        self._certificate = access.cert_file or url.cert_file
        self._key = access.key_file or url.key_file
        self._verify = url.verify
        self._check_hostname = url.verify and url.check_hostname
        self._made_of: object = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ConnectionError for a file that cannot be used."""
        files = [_state(path) for path in (self._ca, self._certificate, self._key)]
        if self._context is None or files != self._made_of:
            self._context, self._made_of = self._make(), files
        return self._context

    def _make(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"the CA file {self._ca}: {_reason(error)}") from error
        context.check_hostname = self._check_hostname
        if not self._verify:
            context.verify_mode = ssl.CERT_NONE
        if self._certificate or self._key:
            try:
                context.load_cert_chain(self._certificate or "", self._key)
            except (OSError, ValueError) as error:
                pair = f"{self._certificate} and its key {self._key or '(in the same file)'}"
                raise ConnectionError(f"the client certificate {pair}: {_reason(error)}") from error
        return context


def _state(path: str | None) -> object:
    """What changes when a file is replaced."""
    if path is None:
        return None
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


class _Packer:
    """Packs commands in C. redis-py 8.1 does that on its blocking connections only; in Python it
    took a tenth of a flush."""

    _packer: Final = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        """As in redis-py."""
        packed: list[bytes] = self._packer.pack(*args)
        return packed


class _UnixConnection(_Packer, UnixDomainSocketConnection):
    pass


class PrimaryConnection(_Packer, Connection):
    """A connection to the primary, wherever it is now. ``primary`` is None for one fixed server,
    ``tls`` without TLS. ``on_former`` is called when the server is not the primary."""

    def __init__(
        self,
        *,
        primary: Primary | None = None,
        tls: Tls | None = None,
        on_former: Callable[[], None] | None = None,
        **kwargs: Any,
    ) -> None:
        self._primary = primary
        self._tls = tls
        self._on_former = on_former
        super().__init__(**kwargs)

    async def _connect(self) -> None:
        if self._primary is not None:
            self.host, self.port = await self._primary.address()
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except TimeoutError:
            if self._tls is None:
                raise
            # A Redis without TLS waits for the rest of what it takes for a command.
            raise ConnectionError(f"no TLS handshake with {self._host_error()} in time") from None

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = dict(super()._connection_arguments())
        if self._tls is not None:
            arguments["ssl"] = self._tls.context()
        return arguments

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As in redis-py; a server that is not the primary is left."""
        try:
            return await super().read_response(*args, **kwargs)
        except _NOT_PRIMARY:
            if self._on_former is not None:
                self._on_former()
            raise


class PrimaryPool(ConnectionPool):
    """The connections of one client. ``primary`` is None for one fixed server."""

    def __init__(self, *, primary: Primary | None = None, **kwargs: Any) -> None:
        self.primary = primary
        self.lookup_trouble: str | None = None
        if issubclass(kwargs["connection_class"], PrimaryConnection):
            kwargs |= {"primary": primary, "on_former": self._mark_all}
        super().__init__(**kwargs)

    def _mark_all(self) -> None:
        """Close each connection before its next use, not now: the rest of a pipeline is still to
        be read."""
        for one in (*self._available_connections, *self._in_use_connections):
            one.mark_for_reconnect()  # type: ignore[no-untyped-call]

    async def ensure_connection(self, connection: Any) -> None:
        """As in redis-py, and a connection that is marked is made anew."""
        if connection.should_reconnect():
            await connection.disconnect()
        await super().ensure_connection(connection)

    async def leave_former_primary(self) -> None:
        """Make all connections anew if the primary is another server by now. A primary that was cut
        off from its Sentinels, but not from us, says nothing itself."""
        everyone = (*self._available_connections, *self._in_use_connections)
        connected = {
            (one.host, one.port)
            for one in everyone
            if isinstance(one, PrimaryConnection) and one.is_connected
        }
        if self.primary is None or not connected:
            return
        try:
            if connected != {await self.primary.address()}:
                self._mark_all()
            self.lookup_trouble = None
        except (RedisError, OSError) as error:  # the connections that are there still work
            self.lookup_trouble = str(error)


def follows(redis: Redis) -> bool:
    """Whether this client finds the primary by itself."""
    pool = redis.connection_pool
    return isinstance(pool, PrimaryPool) and pool.primary is not None


async def leave_former_primary(redis: Redis) -> None:
    """See :meth:`PrimaryPool.leave_former_primary`; nothing for a client of another kind."""
    if isinstance(redis.connection_pool, PrimaryPool):
        await redis.connection_pool.leave_former_primary()


def lookup_trouble(redis: Redis) -> str | None:
    """Why the primary cannot be looked up at the moment, though it answers."""
    pool = redis.connection_pool
    return pool.lookup_trouble if isinstance(pool, PrimaryPool) else None


def connect(access: Access | str, *, slot_key: str = "active_calls") -> Redis:
    """A client. ``slot_key`` is a key of the cluster slot that holds all keys. Nothing is sent
    before the first command. Raises ValueError for a URL that :func:`livestate.redis.url.parse`
    refuses."""
    if isinstance(access, str):
        access = Access(access)
    url = parse(access.url)
    tls = Tls(access, url) if url.tls else None
    login: dict[str, Any] = {
        "username": url.username,
        "password": access.password or url.password,
        "db": url.db,
    }
    if url.kind == "unix":
        return _client(connection_class=_UnixConnection, path=url.path, **login)
    if url.kind == "server":
        return _client(host=url.hosts[0][0], port=url.hosts[0][1], tls=tls, **login)
    primary: Primary
    if url.kind == "sentinel":
        sentinel: dict[str, Any] = {
            "username": url.sentinel_username,
            "password": access.sentinel_password or url.sentinel_password,
        }
        primary = Sentinels(url.hosts, url.master, _asking(tls, sentinel))
    else:
        primary = ClusterNode(url.hosts, slot_key, _asking(tls, login))
    return _client(primary=primary, tls=tls, **login)


def _asking(tls: Tls | None, login: dict[str, Any]) -> Any:
    def ask(address: Address) -> Redis:
        return _client(host=address[0], port=address[1], tls=tls, **login)

    return ask


def _client(
    *, connection_class: type[AbstractConnection] = PrimaryConnection, **kwargs: Any
) -> Redis:
    pool = PrimaryPool(
        connection_class=connection_class,
        **kwargs,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        max_connections=CONNECTIONS,
        protocol=2,  # no HELLO: proxies in front of a managed Redis may not know it
        driver_info=None,  # no CLIENT SETINFO: deploy/redis-acl.conf need not allow it
    )
    return Redis.from_pool(pool)
