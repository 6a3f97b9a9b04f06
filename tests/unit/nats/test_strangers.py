"""Servers that are none, or other ones than they were: garbage, TLS, names. The connection says
what is wrong, sends no password to a stranger, and comes back when the right server answers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from livestate.devtools.servers import NatsServer
from livestate.nats.connection import Connection, Unreachable, connect
from tests.faults.fault_proxy import FaultProxy
from tests.harness import until
from tests.nats_world import Configured

INFO = (
    b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"proto":1,"headers":true}\r\n'
)


class Stranger(FaultProxy):
    """Answers each connection with bytes of the test's, until it has a ``target``: then it passes
    all on to that server."""

    def __init__(self, says: bytes, after_login: bytes = b"") -> None:
        super().__init__(0)
        self.says, self.after_login = says, after_login
        self.received = bytearray()
        self.closes = True

    @property
    def url(self) -> str:
        return f"nats://me:s3cret-pw@127.0.0.1:{self.port}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.target:
            await super()._carry(reader, writer)
            return
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(self.says)
            if self.after_login:
                while b"PING" not in (piece := await reader.read(65536)) and piece:
                    self.received += piece
                self.received += piece
                writer.write(b"PONG\r\n")
                await asyncio.sleep(0.1)
                writer.write(self.after_login)
            await writer.drain()
            if self.says.startswith(INFO) and not self.after_login:
                # A server that talks, then ends.
                await asyncio.wait_for(reader.read(65536), 0.5)
                await asyncio.sleep(0.1)
            if not self.closes or self.after_login:
                while piece := await reader.read(65536):
                    self.received += piece
        writer.transport.abort()


@contextlib.asynccontextmanager
async def kept(connection: Connection) -> AsyncIterator[Connection]:
    async with connection.running():
        yield connection


@pytest.mark.parametrize(("says", "kind", "text"), [
    (b"", "closed", ""), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol", ""),
    (b"INFO not json\r\n", "protocol", ""), (b"INFO []\r\n", "protocol", ""),
    (b"INFO 7\r\n", "protocol", ""), (b"\xff\xfe" * 40_000, "protocol", ""),
    (b'INFO {"connect_urls":7}\r\n', "protocol", ""), (b"SSH-2.0-OpenSSH_9\r\n", "protocol", ""),
    (b"-ERR 'maximum connections exceeded'\r\n", "limit", "maximum connections exceeded"),
    (b"-ERR 'Authentication Timeout'\r\n", "authentication_timeout", "Timeout"),
    (INFO + b"-ERR 'Something Nobody Knows'\r\n", "other", "Something Nobody Knows"),
    (INFO + b"-ERR 'Attempted To Connect To Route Port'\r\n", "other", "Route Port"),
    (INFO + b"hello\r\n", "other", ""),
])  # fmt: skip
async def test_garbage_instead_of_info_is_reported_and_survived(
    nats_server: NatsServer, says: bytes, kind: str, text: str
) -> None:
    async with Stranger(says) as stranger, kept(Connection(stranger.url, "test")) as connection:
        await until(lambda: connection.failures.total() >= 2, 5, lambda: connection.failures)
        assert connection.trouble is not None
        assert text in connection.trouble.text
        assert connection.trouble.kind == kind or not text, connection.trouble
        stranger.target = nats_server.port
        await asyncio.wait_for(connection.until_connected(), 5)


@pytest.mark.parametrize("says", [
    b"-ERR \r\n", b"-ERR 'Something Nobody Knows'\r\n", b"-ERR 'User Authentication Expired'\r\n",
    b"INFO {bad\r\n", b"INFO 7\r\n", b"MSG a b c d e\r\n", b"nonsense\r\n", b"\xff" * 20_000,
    b"HMSG a 1 99999999 5\r\nhello\r\n", b"MSG x 1 99999999999999999999999\r\n", b"nonsense",
    b"x" * 5_000 + b"\r\n", b"+OK" + b"x" * 5_000 + b"\r\n", b"HTTP/1.1 200", b"\x16\x03\x01",
])  # fmt: skip
async def test_garbage_in_the_middle_of_a_connection_ends_it(
    nats_server: NatsServer, says: bytes
) -> None:
    """nats-py ends its read loop on some of these and stays connected, deaf; others it keeps, and
    waits for more."""
    async with (
        Stranger(INFO, after_login=says) as stranger,
        kept(Connection(stranger.url, "test")) as connection,
    ):
        await until(lambda: connection.connects == 1, 5)
        stranger.target = nats_server.port
        await until(lambda: connection.connects == 2 and connection.connected, 5)


@pytest.mark.slow
async def test_a_server_that_accepts_and_says_nothing_is_given_up(nats_server: NatsServer) -> None:
    async with Stranger(b"") as stranger:
        stranger.closes = False
        both = f"{stranger.url},nats://127.0.0.1:{nats_server.port}"
        async with kept(Connection(both, "test")) as connection:
            await asyncio.wait_for(connection.until_connected(), 5)
        async with kept(Connection(stranger.url, "test")) as connection:
            await until(lambda: connection.trouble and connection.trouble.kind == "silent", 5)
            stranger.target = nats_server.port
            await asyncio.wait_for(connection.until_connected(), 5)


@pytest.mark.slow
async def test_four_servers_that_hang_do_not_add_up(nats_server: NatsServer) -> None:
    async with Stranger(b"") as one, Stranger(b"") as two, Stranger(b"") as three:
        for stranger in (one, two, three):
            stranger.closes = False
        urls = ",".join((one.url, two.url, three.url, f"nats://127.0.0.1:{nats_server.port}"))
        for _ in range(3):  # in any order
            async with kept(Connection(urls, "test")) as connection:
                await asyncio.wait_for(connection.until_connected(), 5)


# -- TLS ------------------------------------------------------------------------------------------


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, for one name or address; it and its key as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    return cert_file, key_file


def tls(files: tuple[Path, Path]) -> str:
    return f'tls {{ cert_file: "{files[0]}", key_file: "{files[1]}" }}'


async def test_a_wrong_certificate_is_reported_until_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "127.0.0.9")
    monkeypatch.setenv("SSL_CERT_FILE", str(right[0]))
    server = Configured(tmp_path, tls(wrong))
    async with server, kept(Connection(server.url.replace("nats:", "tls:"), "test")) as connection:
        await until(lambda: connection.trouble and connection.trouble.kind == "tls", 5,
                    lambda: connection.trouble)  # fmt: skip
        await server.reload(tls(right))
        await asyncio.wait_for(connection.until_connected(), 5)


async def test_no_password_is_sent_to_a_server_without_tls_where_the_url_demands_it() -> None:
    """nats-py looks at what the server offers, not at the URL: a proxy between could read it."""
    async with Stranger(INFO, after_login=b"+OK\r\n") as stranger:
        url = stranger.url.replace("nats:", "tls:")
        with pytest.raises(Unreachable, match="offers no TLS"):
            await connect(url, "test")
        assert b"s3cret" not in stranger.received


# -- names ----------------------------------------------------------------------------------------


async def test_each_attempt_resolves_the_name_again(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name has no address, then a wrong one, then the right one, then moves."""
    addresses: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        if host not in ("nats.test", b"nats.test"):
            return real(host, *arguments, **more)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(addresses[-1], *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"nats://nats.test:{nats_server.port}"
    async with kept(Connection(url, "test")) as connection:
        await until(lambda: connection.trouble and connection.trouble.kind == "unresolved", 5,
                    lambda: connection.trouble)  # fmt: skip
        addresses.append("127.0.0.3")  # no server listens there
        await until(lambda: connection.trouble and connection.trouble.kind == "unreachable", 5,
                    lambda: connection.trouble)  # fmt: skip
        addresses.append("127.0.0.1")
        await asyncio.wait_for(connection.until_connected(), 5)
