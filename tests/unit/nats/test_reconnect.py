"""Whatever NATS does to a connection: consumer, CDR reader and bridge come back by themselves, 5 s
after they may, and say why they were away. Each case once ended with a closed client and a page
that stayed stale until the service was restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sysconfig
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.child_service import Instance
from livestate.devtools.servers import Valkey
from livestate.nats.connection import Connection
from livestate.nats.jetstream import create_at
from tests.evapi import Peer
from tests.harness import metrics, until
from tests.nats_world import HEALED_SECONDS, Configured, Issuer, Trio, running

OPEN = ""
USERS = "authorization {{ users = [ {{user: boss, password: b}}, {}] }}"
ME = "{user: me, password: s3cret-pw}"
LIMIT = "max_connections: {}"


@contextlib.asynccontextmanager
async def world(
    server: Configured, tmp_path: Path, login: str = "me:s3cret-pw@"
) -> AsyncIterator[Trio]:
    await create_at(server.url)
    async with Trio(server.url.replace("://", f"://{login}"), tmp_path / "spool") as trio:
        await trio.works(10)
        yield trio


@pytest.mark.parametrize(("config", "kind"), [
    (USERS.format(""), "authorization"),
    (USERS.format("{user: me, password: another}"), "authorization"),
    (LIMIT.format(1), "limit"),
], ids=["the user is removed", "its password is changed", "connections are limited"])  # fmt: skip
async def test_a_reload_shuts_all_out_and_another_lets_them_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: str, kind: str
) -> None:
    server = Configured(tmp_path, OPEN)
    async with server, world(server, tmp_path) as trio:
        await server.reload(config)
        if kind == "limit":
            async with Connection(server.url, "holds the place").running():
                await until(lambda: sum(one.connected for one in trio.connections) == 0, 10)
                await asyncio.sleep(1)
        else:
            await trio.away(kind)
        failures = sum((one.failures for one in trio.connections), start=type(
            trio.connections[0].failures)())  # fmt: skip
        assert failures[kind] > 0, failures
        await server.reload(USERS.format(ME) if kind != "limit" else OPEN)
        await trio.works()
        assert trio.reconnected
        assert "s3cret-pw" not in caplog.text
        assert f"reason={kind}" in caplog.text
        assert all(one.trouble is None and one.last_trouble for one in trio.connections)


@contextlib.asynccontextmanager
async def with_credentials(
    tmp_path: Path, expires: int = 0
) -> AsyncIterator[tuple[Configured, Issuer, Trio]]:
    issuer = Issuer()
    server = Configured(tmp_path, issuer.config())
    path = issuer.credentials(tmp_path / "user.creds", expires=expires)
    async with server:
        await create_at(server.url, credentials=path)
        async with Trio(server.url, tmp_path / "spool", credentials=path) as trio:
            await trio.works(10)
            yield server, issuer, trio


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["_INBOX.>", "call.resync.>"])
async def test_a_right_to_hear_that_is_taken_and_given_back_counts_again(
    tmp_path: Path, subject: str
) -> None:
    """nats-server drops the subscription and keeps the connection: the client must notice."""

    def users(deny: str) -> str:
        return (
            'authorization { users = [{user: me, password: pw, permissions: {publish: [">"], '
            f'subscribe: {{allow: [">"], deny: [{deny}]}}}}}}] }}'
        )

    async with Configured(tmp_path, users("")) as server:
        url = f"nats://me:pw@127.0.0.1:{server.port}"
        await create_at(url)
        async with Trio(url, tmp_path / "spool") as trio:
            await trio.works()
            connections = trio.consumer.connection, trio.bridge.connection
            await server.reload(users(f'"{subject}"'))
            trio.peer.call(99)
            trio.peer.hang_up(99)  # the bridge wants a reply
            await until(lambda: trio.bridge.connection.missing_right, 5)
            await asyncio.sleep(3)  # asked for again meanwhile, and refused
            await server.reload(users(""))
            began, lists = time.monotonic(), trio.bridge.counts.lists
            await trio.works()
            while trio.bridge.counts.lists == lists:
                await trio.consumer.request_list(trio.bridge.source.node)
                await asyncio.sleep(0.1)
                assert time.monotonic() - began < HEALED_SECONDS
            assert [one.connects for one in connections] == [1, 1]
            await until(lambda: trio.bridge.connection.missing_right is None, 5)


@pytest.mark.slow
async def test_an_expired_user_jwt_is_read_again_from_disk(tmp_path: Path) -> None:
    async with with_credentials(tmp_path, int(time.time()) + 6) as (_, issuer, trio):
        await trio.away("credentials_expired")
        await asyncio.sleep(1.5)
        assert "expired" in str(trio.connections[0].trouble)
        issuer.credentials(tmp_path / "user.creds", expires=int(time.time()) + 3600)
        await trio.works()


@pytest.mark.slow
async def test_a_user_jwt_renewed_in_time_logs_no_outage(tmp_path: Path) -> None:
    async with with_credentials(tmp_path, int(time.time()) + 6) as (_, issuer, trio):
        issuer.credentials(tmp_path / "user.creds")
        await until(lambda: trio.connections[0].connects == 2, 10)
        await trio.works()


async def test_an_account_that_expires_is_renewed_by_a_reload(tmp_path: Path) -> None:
    async with with_credentials(tmp_path) as (server, issuer, trio):
        await server.reload(issuer.config(expires=int(time.time()) + 2))
        await until(lambda: not any(one.connected for one in trio.connections), 10)
        await server.reload(issuer.config())
        await trio.works()


async def test_a_revoked_user_gets_new_credentials(tmp_path: Path) -> None:
    async with with_credentials(tmp_path) as (server, issuer, trio):
        await server.reload(issuer.config(revoked={issuer.user_name: int(time.time())}))
        await until(lambda: not any(one.connected for one in trio.connections), 10)
        await server.reload(issuer.config())
        await trio.works()


@pytest.mark.parametrize("text", [
    "", "no credentials", "-----BEGIN NATS USER JWT-----\n", None,
    "-----BEGIN NATS USER JWT-----\nx.y.z\n------END NATS USER JWT------\n"
    "-----BEGIN USER NKEY SEED-----\nSUAA\n------END USER NKEY SEED------\n",
])  # fmt: skip
async def test_a_bad_credentials_file_is_named_and_a_good_one_counts_at_once(
    tmp_path: Path, text: str | None
) -> None:
    """Over a file without a JWT, nats-py's own reader never ends: the loop would stand still."""
    issuer = Issuer()
    path = tmp_path / "user.creds"
    if text is not None:
        path.write_text(text)
    async with Configured(tmp_path, issuer.config()) as server:
        connection = Connection(server.url, "test", credentials=str(path))
        async with connection.running():
            await until(lambda: connection.trouble and connection.trouble.kind == "credentials", 5)
            assert str(path) in str(connection.trouble)
            issuer.credentials(path)
            await asyncio.wait_for(connection.until_connected(), 5)


async def test_a_message_that_became_too_long_costs_one_reconnect(tmp_path: Path) -> None:
    """After a reload the server's limit is lower than what INFO said at the connection's begin."""
    async with Configured(tmp_path, OPEN) as server:
        connection = Connection(server.url, "test")
        async with connection.running():
            client = await asyncio.wait_for(connection.until_connected(), 5)
            await server.reload("max_payload: 1000")
            await client.publish("call.events.setup", b"x" * 2000)
            await until(lambda: connection.connects == 2, 5)
            assert connection.failures["limit"] == 1
            assert (await connection.until_connected()).max_payload == 1000


async def test_a_subscription_limit_is_reported_and_survived(tmp_path: Path) -> None:
    async with Configured(tmp_path, "max_subscriptions: 1") as server:
        await create_at(server.url)
        async with Trio(server.url, tmp_path / "spool") as trio:
            await until(lambda: trio.cdrs.connection.failures["limit"] > 0, 10)
            await server.stop()
            server.write(OPEN)
            await server.start()
            await trio.works()


async def test_a_slow_login_is_timed_out_by_the_server_and_tried_again(tmp_path: Path) -> None:
    """The server's own clock runs while TLS is negotiated; here it is set to nothing."""
    slow = "authorization { user: me, password: s3cret-pw, timeout: 0.00001 }"
    async with Configured(tmp_path, slow) as server:
        connection = Connection(server.url.replace("://", "://me:s3cret-pw@"), "test")
        async with running(connection.run()):
            await asyncio.sleep(1)
            await server.reload("authorization { user: me, password: s3cret-pw, timeout: 2 }")
            await asyncio.wait_for(connection.until_connected(), 5)


async def test_no_task_is_left_of_a_connection_that_ended(tmp_path: Path) -> None:
    async with Configured(tmp_path, OPEN) as server:
        await create_at(server.url)
        async with Trio(server.url, tmp_path / "spool") as trio:
            await trio.works(10)
            before = len(asyncio.all_tasks())
            for turn in range(2, 12):
                for one in trio.connections:
                    one.renew("a test wants another one")
                await until(lambda: all(one.connects == turn for one in trio.connections), 10)  # noqa: B023
            await trio.works(10)
            assert len(asyncio.all_tasks()) <= before + 3


async def test_the_reason_is_in_statusz_metrics_and_doctor(tmp_path: Path) -> None:
    server = Configured(tmp_path, USERS.format(ME))
    async with server, Valkey() as redis, Peer() as peer:
        url = server.url.replace("://", "://me:s3cret-pw@")
        await create_at(url)
        service = Instance(
            tmp_path, {"NATS_URL": url, "REDIS_URL": redis.url, "READY_SECONDS": "1"}
        )
        async with service:
            await service.until_ready()
            await server.reload(USERS.format("{user: me, password: another}"))
            async with asyncio.timeout(10):
                while (nats := (await status(service))["nats"])["connected"]:
                    await asyncio.sleep(0.1)
                while (nats := (await status(service))["nats"])["trouble"] is None or (
                    nats["last_trouble"]["kind"] != "authorization"
                ):
                    await asyncio.sleep(0.1)
            assert nats["trouble"].lower() == "authorization violation"
            assert "password" in nats["last_trouble"]["mend"]
            cdrs = (await status(service))["cdrs"]["trouble"]
            assert "authorization violation" in cdrs.lower()
            counted = await metrics(service)
            assert counted['livestate_nats_failures_total{reason="authorization"}'] > 0
            assert counted["livestate_cdrs_readable"] == 0
            doctor = await livestate("doctor", LIVESTATE_NATS_URL=url)
            check = await livestate(
                "bridge", "--check", "--evapi", f"127.0.0.1:{peer.port}", "--spool", str(tmp_path),
                LIVESTATE_BRIDGE_NATS_URL=url,
            )  # fmt: skip
            for text in (doctor, check):
                assert "Authorization Violation (authorization)" in text
                assert "compare user and password" in text
            for text in (doctor, check, str(nats), cdrs):
                assert "s3cret-pw" not in text
            await server.reload(USERS.format(ME))
            async with asyncio.timeout(5):
                while not (await status(service))["nats"]["connected"]:
                    await asyncio.sleep(0.1)
                while (await metrics(service))["livestate_cdrs_readable"] != 1:
                    await asyncio.sleep(0.1)


async def status(service: Instance) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        status: dict[str, Any] = (await client.get(f"{service.admin_url}/statusz")).json()
        return status


async def livestate(*arguments: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        Path(sysconfig.get_path("scripts")) / "livestate", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | environment,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()
