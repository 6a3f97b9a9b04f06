"""TLS to a real Redis: which certificates are trusted, renewed, and what an error says."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from livestate.redis.connection import Access, connect
from livestate.redis.trouble import explain
from tests.redis_world import Authority, TlsRedis
from tests.unit.cli.test_cli import run


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
async def server(ours: Authority) -> AsyncIterator[TlsRedis]:
    async with TlsRedis(ours, "localhost", clients="yes") as server:
        yield server


async def said(access: Access) -> str:
    """What is said of the error; OK without one."""
    client = connect(access)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return explain(error).what
    finally:
        await client.aclose()
    return "OK"


async def test_each_fault_of_tls_is_named(
    server: TlsRedis, ours: Authority, tmp_path: Path
) -> None:
    url = f"rediss://localhost:{server.tls_port}"
    certificate, key = map(str, ours.issue("client"))
    strangers = Authority(tmp_path / "strangers", "another")
    theirs, their_key = map(str, strangers.issue("client"))
    expired, expired_key = map(str, ours.issue("expired", days=-1, begun=5))
    ca = str(ours.file)
    known = Access(url, ca_file=ca, cert_file=certificate, key_file=key)
    assert await said(known) == "OK"
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    cases = {
        "not trusted": Access(url, cert_file=certificate, key_file=key),
        "for another name": Access(url.replace("localhost", "127.0.0.1"), ca_file=ca),
        "wants a client certificate": Access(url, ca_file=ca),
        "not trusted ": Access(url, ca_file=ca, cert_file=theirs, key_file=their_key),
        "has expired": Access(url, ca_file=ca, cert_file=expired, key_file=expired_key),
        "closes the connection": Access(url.replace("rediss", "redis")),
        "does not speak TLS": Access(f"rediss://localhost:{server.port}", ca_file=ca),
        "No such file": Access(url, ca_file="/none/ca.pem"),
        "client certificate": Access(url, ca_file=ca, cert_file=str(broken)),
    }
    # Where the server refuses: whether its alert of TLS or the end of the connection is read first
    # is a race of the kernel.
    by_server = ("wants a client certificate", "not trusted ", "has expired", "does not speak TLS")
    for words, access in cases.items():
        output = await said(access)
        closed = words in by_server and "it closes the connection" in output
        assert words.strip() in output or closed, (words, output)
    unchecked = f"rediss://127.0.0.1:{server.tls_port}?ssl_check_hostname=no"
    assert await said(Access(unchecked, ca_file=ca, cert_file=certificate, key_file=key)) == "OK"


async def test_doctor_names_the_mismatch_and_the_mend(
    server: TlsRedis, ours: Authority, tmp_path: Path
) -> None:
    code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                          REDIS_URL=f"rediss://127.0.0.1:{server.tls_port}",
                          REDIS_CA_FILE=str(ours.file))  # fmt: skip
    assert code == 1
    assert "its certificate is for another name than the one that is connected to" in out
    assert "announce-hostnames" in out


async def test_a_renewed_client_certificate_is_used_without_a_restart(
    server: TlsRedis, ours: Authority
) -> None:
    url = f"rediss://localhost:{server.tls_port}"
    certificate, key = ours.issue("client")
    client = connect(
        Access(url, ca_file=str(ours.file), cert_file=str(certificate), key_file=str(key))
    )
    try:
        await client.ping()
        ours.issue("client", days=-1, begun=5)  # in its place: one that has expired
        await client.connection_pool.disconnect()
        with pytest.raises(RedisError) as refused:
            await client.ping()
        assert "expired" in explain(refused.value).what
        ours.issue("client")
        os.utime(certificate, ns=(1, 1))  # even where the clock of its files stands still
        await client.ping()
    finally:
        await client.aclose()
