"""Keys at an HTTPS address whose certificate a company's own authority signed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.auth import demo_key
from api.auth.keys import KeySet, trusted
from tests.conftest import World
from tests.harness import bearer
from tests.interop import certificates
from tests.unit.cli.test_cli import run


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    return certificates.write(tmp_path / "tls")


@pytest.fixture
async def url(tls: Path, tmp_path: Path) -> AsyncIterator[str]:
    """Where a JWKS with one key is."""
    body = demo_key.jwks(tmp_path / "keys").read_bytes()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls / "noc.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


async def test_the_systems_store_or_a_given_file_is_trusted(
    url: str, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = KeySet(url)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        await unknown.refresh()
    given = KeySet(url, ca_file=str(tls / "noc.crt"))
    await given.refresh()
    assert len(given.keys) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tls / "noc.crt"))  # is the system's store then
    await unknown.refresh()
    assert len(unknown.keys) == 1


async def test_keys_that_cannot_be_read_are_said_everywhere(
    world: World, url: str, tmp_path: Path
) -> None:
    """A login is neither good nor bad before keys were read: 503, not 401."""
    service = world.service(JWT_JWKS=url)
    async with service, httpx.AsyncClient() as client, asyncio.timeout(60):
        while True:
            status = (await client.get(f"{service.admin_url}/statusz")).json()
            if "CERTIFICATE_VERIFY_FAILED" in str(status["logins"]):
                break
            await asyncio.sleep(0.1)
        metrics = (await client.get(f"{service.admin_url}/metrics")).text
        assert "\nlivestate_login_keys_unreadable 1" in metrics
        who = await client.get(f"{service.url}/api/v1/session", headers=bearer(service.token()))
        assert who.status_code == 503, who.text
    code, out = await run("doctor", cwd=tmp_path, JWT_JWKS=url, NATS_URL=world.nats.url,
                          REDIS_URL=world.redis.url)  # fmt: skip
    assert code == 1
    assert f"JWKS {url}" in out
    assert "CERTIFICATE_VERIFY_FAILED" in out


def test_certificates_are_read_again_only_where_their_file_was_replaced(tls: Path) -> None:
    """To read a system's 140 takes 26 ms, for which the event loop stands still."""
    path = tls / "noc.crt"
    read = trusted(str(path))
    assert trusted(str(path)) is read
    renewed = path.with_suffix(".new")
    renewed.write_bytes(path.read_bytes())
    renewed.replace(path)
    assert trusted(str(path)) is not read
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        trusted(str(path))
