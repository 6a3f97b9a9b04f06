"""Real nats-servers whose configuration a test writes and reloads, their JWTs, and the three
programs' parts that must come back from whatever is done to them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Self

import nkeys
import orjson

from livestate.bridge.kamailio.source import KamailioSource
from livestate.bridge.relay import Bridge
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.process.tasks import cancel_and_wait
from tests.evapi import Peer
from tests.harness import now_ms, until

HEALED_SECONDS: Final = 5.0  # after the server lets us in again


class Configured(NatsServer):
    """nats-server with a configuration of the test's, which may be another one later."""

    def __init__(self, directory: Path, text: str = "", **options: Any) -> None:
        self.file = directory / f"nats-{free_port()}.conf"
        super().__init__(arguments=("-c", str(self.file)), **options)
        self.write(text)

    def write(self, text: str) -> None:
        # What came by a flag must stand in a file that is reloaded.
        self.file.write_text(f"server_name: {self._tag}\n{text}\n")

    async def reload(self, text: str) -> None:
        """As `nats-server --signal reload`; back when the server has done it."""
        self.write(text)
        before = self._log.read_text("utf-8", "replace").count("Reloaded server configuration")
        self._signal(signal.SIGHUP)
        async with asyncio.timeout(5):
            while (self._log.read_text("utf-8", "replace").count("Reloaded server configuration")
                   == before):  # fmt: skip
                await asyncio.sleep(0.02)

    def lame_duck(self) -> None:
        """As `nats-server --signal ldm`."""
        self._signal(signal.SIGUSR2)


class Issuer:
    """An operator that signs accounts, and accounts that sign users, as nsc does."""

    def __init__(self) -> None:
        self.operator = _pair(nkeys.PREFIX_BYTE_OPERATOR)
        self.account = _pair(nkeys.PREFIX_BYTE_ACCOUNT)
        self.system = _pair(nkeys.PREFIX_BYTE_ACCOUNT)
        self.user = _pair(nkeys.PREFIX_BYTE_USER)
        # A server reloads everything but its operator.
        self._operator = _jwt(self.operator, self.operator, {"type": "operator", "version": 2})

    def config(self, *, expires: int = 0, connections: int = -1,
               revoked: dict[str, int] | None = None) -> str:  # fmt: skip
        """The server's side. ``expires`` (seconds since 1970) is of the account."""
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                  "wildcards": True, "conn": connections, "leaf": -1,
                  "mem_storage": -1, "disk_storage": -1}  # fmt: skip
        plain = {
            "limits": limits | {"conn": -1, "mem_storage": 0, "disk_storage": 0},
            "type": "account",
            "version": 2,
        }
        nats = {"limits": limits, "type": "account", "version": 2}
        if revoked:
            nats["revocations"] = revoked
        system = _jwt(self.operator, self.system, plain)
        account = _jwt(self.operator, self.account, nats, expires)
        return (f"operator: {self._operator}\nresolver: MEMORY\n"
                f"system_account: {_name(self.system)}\n"
                f"resolver_preload: {{ {_name(self.system)}: {system}\n"
                f"{_name(self.account)}: {account} }}\n")  # fmt: skip

    def credentials(self, path: Path, *, expires: int = 0) -> str:
        """Write the file that LIVESTATE_NATS_CREDS names; its path."""
        claims = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
                  "issuer_account": _name(self.account), "pub": {}, "sub": {}}  # fmt: skip
        jwt = _jwt(self.account, self.user, claims, expires)
        beside = path.with_suffix(".new")
        beside.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.user.seed.decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        beside.replace(path)
        return str(path)

    @property
    def user_name(self) -> str:
        return _name(self.user)


def _pair(kind: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))


def _name(pair: Any) -> str:
    name: str = pair.public_key.decode()
    return name


def _jwt(issuer: Any, subject: Any, nats: dict[str, Any], expires: int = 0) -> str:
    """nats-server's JWT: Ed25519 over header and claims (nats-io/jwt v2)."""
    claims = {"iss": _name(issuer), "sub": _name(subject), "iat": int(time.time()) - 10,
              "name": nats["type"], "nats": nats}  # fmt: skip
    if expires:
        claims["exp"] = expires
    claims["jti"] = base64.b32encode(hashlib.sha256(orjson.dumps(claims)).digest()).decode()
    parts = [_url64(orjson.dumps({"typ": "JWT", "alg": "ed25519-nkey"})),
             _url64(orjson.dumps(claims))]  # fmt: skip
    parts.append(_url64(issuer.sign(".".join(parts).encode())))
    return ".".join(parts)


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Trio:
    """The service's consumer and CDR reader, and a bridge with a node: ``async with Trio(…)``."""

    def __init__(self, url: str, spool: Path, *, credentials: str | None = None) -> None:
        self.events: list[bytes] = []
        self.read: list[bytes] = []
        self.peer = Peer()
        self.reconnected = 0
        self._url, self._spool, self._credentials = url, spool, credentials
        self._calls = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.peer)
        login = {"credentials": self._credentials}
        self.consumer = Consumer(
            self._url, lambda subject, data, waited_ms: self.events.append(data),
            lambda lost, node: None, self._on_return, inbox="_INBOX.livestate", **login,
        )  # fmt: skip
        self.cdrs = CdrReader(self._url, self._take, back_seconds=600,
                              inbox="_INBOX.livestate", **login)  # fmt: skip
        self.bridge = Bridge(
            KamailioSource("127.0.0.1", self.peer.port), self._url, self._spool, clock=now_ms,
            spool_bytes=1024 * 1024, list_seconds=60, inbox="_INBOX.bridge", **login,
        )  # fmt: skip
        await self._stack.enter_async_context(
            running(self.consumer.run(), self.cdrs.run(), self.bridge.run())
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _take(self, data: bytes) -> None:
        self.read.append(data)

    def _on_return(self) -> None:
        self.reconnected += 1

    @property
    def connections(self) -> tuple[Any, ...]:
        return (self.consumer.connection, self.cdrs.connection, self.bridge.connection)

    async def works(self, seconds: float = HEALED_SECONDS) -> float:
        """How long it takes until a new call is heard and its CDR is read."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while not all(one.connected for one in self.connections):
                await asyncio.sleep(0.02)
            self._calls += 1
            name = f'"{self._calls}@{self.peer.name}"'.encode()
            while not any(name in event for event in self.events):
                self.peer.call(self._calls)
                await asyncio.sleep(0.1)
            self.peer.hang_up(self._calls)
            while not any(name in cdr for cdr in self.read):
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def away(self, kind: str, seconds: float = 12) -> None:
        """Wait until none is connected, and each says why."""
        await until(lambda: all(not one.connected and one.trouble and one.trouble.kind == kind
                                for one in self.connections), seconds,
                    lambda: [(one.connected, one.trouble) for one in self.connections])  # fmt: skip


@contextlib.asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        await cancel_and_wait(*tasks)
