"""Redis as others run it: with TLS, behind Sentinels, as a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from api.cli.child_service import Instance
from livestate.devtools.child_process import Server, free_port
from livestate.devtools.servers import Redis, Valkey, redis_program, valkey_program
from tests.conftest import absent

AWKWARD = "p@ss:w/o%r#d ?&=é"
# What ElastiCache, Memorystore, Upstash and the like disable, and what an operator renames.
DISABLED = ("CONFIG", "CLIENT", "DEBUG", "MONITOR", "SCRIPT", "INFO", "HELLO", "COMMAND", "KEYS")


class Authority:
    """A CA whose certificates lie in a directory as PEM files."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._serial = 1
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        own = self._builder(self._name, self._key, days=10).add_extension(constraints, True)
        self.file = self._write(f"{name}.crt", own.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, *hosts: str, days: int = 10, begun: int = 1) -> tuple[Path, Path]:
        """Certificate and key for these DNS names and addresses. Files of the same name are
        replaced, as a renewal does."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([_general(host) for host in hosts or ("localhost",)])
        built = self._builder(subject, key, days=days, begun=begun).add_extension(names, False)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self.directory / f"{name}.key"
        path.write_bytes(pem)
        return self._write(f"{name}.crt", built.sign(self._key, hashes.SHA256())), path

    def _builder(
        self, subject: x509.Name, key: Any, *, days: int, begun: int = 1
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        self._serial += 1
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - datetime.timedelta(days=begun))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class TlsRedis(Redis):
    """Debian's Redis with TLS on ``tls_port``, and without it on ``port`` for the test."""

    def __init__(self, authority: Authority, *hosts: str, clients: str = "no") -> None:
        if redis_program() is None:
            absent("redis-server")
        self.tls_port = free_port()
        certificate, key = authority.issue("server", *hosts)
        super().__init__(
            arguments=(
                *("--tls-port", str(self.tls_port), "--tls-auth-clients", clients),
                *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
                *("--tls-ca-cert-file", str(authority.file)),
            )
        )


class Sentinel(Server):
    """A Sentinel that watches one group, ``mymaster``. ``quorum`` Sentinels start a failover."""

    name = "redis-sentinel"

    def __init__(
        self, primary: Redis, *, quorum: int = 1, password: str = "", lines: Sequence[str] = ()
    ) -> None:
        super().__init__(primary.program)
        self.password = password or None
        self._lines = (
            f"sentinel monitor mymaster 127.0.0.1 {primary.port} {quorum}",
            "sentinel down-after-milliseconds mymaster 1000",
            "sentinel failover-timeout mymaster 3000",
            *(
                (f"requirepass {password}", f"sentinel sentinel-pass {password}")
                if password
                else ()
            ),
            *lines,
        )

    def _command(self) -> list[str]:
        path = self.data / "sentinel.conf"
        if not path.exists():  # a Sentinel keeps what it knows in its configuration
            lines = (f"port {self.port}", "bind 127.0.0.1", f"dir {self.data}", *self._lines)
            path.write_text("\n".join(lines) + "\n")
        return [str(path), "--sentinel"]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"PING\r\n")
        return (await reader.readline())[:1] in (b"+", b"-")  # -NOAUTH with a password


async def replicate(primary: Redis, replica: Redis) -> None:
    """Make ``replica`` one, and wait until it is in step."""
    async with Client.from_url(replica.url) as redis:
        async with Client.from_url(primary.url) as source:
            await source.config_set("repl-diskless-sync-delay", "0")
        await redis.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        async with asyncio.timeout(30):
            while (await redis.info("replication")).get("master_link_status") != "up":
                await asyncio.sleep(0.05)


class ClusterOfTwo:
    """Two nodes that share the slots. ``await move(slot, to)`` hands one over, without its keys."""

    def __init__(self, kind: type[Redis]) -> None:
        self.nodes = tuple(
            kind(
                arguments=(
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
                    *("--cluster-port", str(free_port())),
                )
            )
            for _ in range(2)
        )
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> ClusterOfTwo:
        try:
            for node in self.nodes:
                await self._stack.enter_async_context(node)
            await self._join()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _join(self) -> None:
        async with self.clients() as (first, second):
            await first.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
            await second.execute_command("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
            bus = (await second.config_get("cluster-port"))["cluster-port"]
            meet = ("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[1].port), bus)
            await first.execute_command(*meet)
            async with asyncio.timeout(30):
                for client in (first, second):
                    while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
                        await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[Client, Client]]:
        first, second = (Client.from_url(node.url) for node in self.nodes)
        async with first, second:
            yield first, second

    async def move(self, slot: int, to: int) -> None:
        async with self.clients() as clients:
            name = await clients[to].execute_command("CLUSTER", "MYID")
            await clients[1 - to].flushall()
            for client in (clients[to], clients[1 - to]):
                await client.execute_command("CLUSTER", "SETSLOT", str(slot), "NODE", name)


class Managed(Redis):
    """A Redis with a password and without the commands that managed services disable."""

    def __init__(self, kind: type[Redis]) -> None:
        renamed = [word for name in DISABLED for word in ("--rename-command", name, "")]
        super().__init__(kind._find(), arguments=("--requirepass", AWKWARD, *renamed))

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"-NOAUTH Authentication required.\r\n"

    def admin(self, db: int) -> Client:
        return Client(port=self.port, db=db, password=AWKWARD, protocol=2, driver_info=None)


async def remarked(service: Instance, words: str) -> None:
    """Wait until ``/statusz`` and the log have a remark."""
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        while True:
            status = (await client.get(f"{service.admin_url}/statusz")).json()["redis"]
            if words in " ".join(status["remarks"]) and words in service._log.read_text():
                return
            await asyncio.sleep(0.05)


async def cardinality(admin: Client, live: int) -> None:
    """Wait for this many live calls."""
    async with asyncio.timeout(30):
        while await admin.zcard("active_calls") != live:
            await asyncio.sleep(0.05)


async def eventually(command: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    """The result of a command once it works."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(RedisError, OSError):
                return await command()
            await asyncio.sleep(0.1)


def kinds() -> list[type[Redis]]:
    """Valkey of the wheel and Redis of the system, as far as they are here."""

    found: list[type[Redis]] = [Valkey] if valkey_program() else []
    return found + ([Redis] if redis_program() else [])
