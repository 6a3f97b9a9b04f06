"""JetStream without rights, off, full, or with its stream deleted: each has its clear line for the
reader and for a bridge's delivery, loses no CDR, and heals by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import DiscardPolicy, RePublish, StreamConfig

from livestate.devtools.servers import NatsServer
from livestate.ingest.cdr_reader import CdrReader
from livestate.nats.connection import connect
from livestate.nats.jetstream import CDRS, DEAD_SUBJECT, STREAM, create_at
from tests.conftest import World
from tests.harness import until
from tests.nats_world import Configured, Trio, running
from tests.unit.nats.test_rights import PASSWORDS, SHIPPED, Guarded

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")
ACCOUNT = """
accounts {{
  APP {{ users = [{{user: me, password: pw}}], {jetstream} }}
  SYS {{ users = [{{user: sys, password: pw}}] }}
}}
system_account: SYS
"""


@pytest.fixture
async def trio(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Trio]:
    async with Trio(nats_server.url, tmp_path / "spool") as trio:
        yield trio


async def test_a_stream_that_is_missing_is_named_and_waited_for(
    nats_server: NatsServer, trio: Trio
) -> None:
    trio.peer.call(100)
    await until(lambda: trio.cdrs.trouble and "streams --create" in trio.cdrs.trouble, 5)
    await until(lambda: len(trio.events) > 3, 5)
    trio.peer.hang_up(100)
    await until(lambda: "streams --create" in (trio.bridge.cdr_publisher.trouble or ""), 5)
    assert trio.cdrs.caught_up, "a service without CDRs is ready all the same"
    await create_at(nats_server.url)
    await until(lambda: trio.read, 5)
    assert trio.cdrs.trouble is trio.bridge.cdr_publisher.trouble is None
    await trio.works()


@pytest.mark.slow
async def test_a_recreated_stream_is_read_and_filled_again(
    nats_server: NatsServer, trio: Trio
) -> None:
    await create_at(nats_server.url)
    await trio.works()
    client = await connect(nats_server.url, "operator")
    await client.jetstream().delete_stream(STREAM)
    trio.peer.call(200)
    await until(lambda: any(b'"200@' in event for event in trio.events), 5)
    trio.peer.hang_up(200)
    await until(lambda: "no stream stores cdr.raw" in (trio.cdrs.trouble or ""), 6)
    await until(lambda: "no stream stores cdr.raw" in (trio.bridge.cdr_publisher.trouble or ""), 5)
    await create_at(nats_server.url)
    await until(lambda: any(b'"200@' in cdr for cdr in trio.read), 5)
    await client.leave()


async def test_bad_cdrs_wait_for_their_stream_and_delay_no_others(world: World) -> None:
    client = await connect(world.nats.url, "operator")
    streams = client.jetstream()
    await streams.add_stream(StreamConfig(name=STREAM, subjects=["cdr.raw"]))
    good: list[bytes] = []

    def take(data: bytes) -> str | None:
        if data == b"poison":
            return "no CDR"
        good.append(data)
        return None

    reader = CdrReader(world.nats.url, take, back_seconds=60)
    async with running(reader.run()):
        for data in (b"poison", b"one", b"poison", b"two"):
            await streams.publish("cdr.raw", data)
        await until(lambda: good == [b"one", b"two"], 5)
        await until(lambda: "streams --create" in (reader.dead_letters.trouble or ""), 5)
        await create_at(world.nats.url)
        await until(lambda: reader.dead_letters.stored == 2, 5)
    letters = await (await streams.pull_subscribe(DEAD_SUBJECT)).fetch(3, timeout=1)
    assert [letter.data for letter in letters] == [b"poison"] * 2
    await client.leave()


async def test_jetstream_switched_off_is_reported_and_survived(tmp_path: Path) -> None:
    on, off = ACCOUNT.format(jetstream="jetstream: enabled"), ACCOUNT.format(jetstream="")
    server = Configured(tmp_path, off)
    async with server:
        url = server.url.replace("://", "://me:pw@")
        async with Trio(url, tmp_path / "spool") as trio:
            await until(lambda: "JetStream is off" in (trio.cdrs.trouble or ""), 8,
                        lambda: trio.cdrs.trouble)  # fmt: skip
            trio.peer.call(1)
            await until(lambda: len(trio.events) > 3, 5)
            trio.peer.hang_up(1)
            await until(lambda: "JetStream is off" in (trio.bridge.cdr_publisher.trouble or ""), 8,
                        lambda: trio.bridge.cdr_publisher.trouble)  # fmt: skip
            await server.reload(on)
            await create_at(url)
            publisher = trio.bridge.cdr_publisher
            await until(lambda: trio.read, 5, lambda: (trio.cdrs.trouble, publisher.trouble))


@pytest.mark.slow
async def test_missing_rights_on_jetstream_are_named_and_count_when_given(tmp_path: Path) -> None:
    """A refused request is not answered: without the refusal it is no more than a time-out."""
    shipped = server_config(tmp_path)
    less = shipped.replace('"$JS.API.STREAM.NAMES", ', "").replace('"call.events.*", "cdr.raw"',
                                                                   '"call.events.*"')  # fmt: skip
    configured = Configured(tmp_path, shipped)
    configured.environment = os.environ | PASSWORDS
    async with configured:
        await create_at(configured.url.replace("://", "://streams:pw-of-streams@"))
        await configured.reload(less)
        urls = {user: configured.url.replace("://", f"://{user}:pw-of-{user}@")
                for user in ("livestate", "bridge")}  # fmt: skip
        reader = CdrReader(urls["livestate"], lambda data: None, back_seconds=60,
                           inbox="_INBOX.livestate")  # fmt: skip
        async with running(reader.run()):
            await until(lambda: "no right" in (reader.trouble or ""), 10, lambda: reader.trouble)
            assert "stream.names" in (reader.trouble or "").lower()
            await configured.reload(shipped)
            await until(lambda: reader.trouble is None, 8, lambda: reader.trouble)


def server_config(directory: Path) -> str:
    return SHIPPED.read_text().replace("store_dir: /var/lib/nats, ", "")


async def test_a_full_stream_is_reported_and_loses_no_cdr(
    nats_server: NatsServer, trio: Trio
) -> None:
    client = await connect(nats_server.url, "operator")
    streams = client.jetstream()
    full = StreamConfig(name=STREAM, subjects=["cdr.raw"], max_bytes=1500,
                        discard=DiscardPolicy.NEW)  # fmt: skip
    await streams.add_stream(full)
    await until(lambda: all(one.connected for one in trio.connections), 5)
    trio.peer.call(*range(1, 11))
    await until(lambda: len(trio.events) > 30, 5)
    trio.peer.hang_up(*range(1, 11))
    await until(lambda: "maximum bytes exceeded" in (trio.bridge.cdr_publisher.trouble or ""), 8,
                lambda: trio.bridge.cdr_publisher.trouble)  # fmt: skip
    full.max_bytes = -1
    await streams.update_stream(full)
    await until(lambda: len(trio.read) == 10, 8, lambda: len(trio.read))
    await client.leave()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB. To mount one takes root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
async def test_a_full_disk_of_nats_server_loses_no_cdr(tmp_path: Path, small_disk: Path) -> None:
    """nats-server switches JetStream off when its disk is full, until it is restarted."""
    server = Configured(tmp_path)
    server.data.symlink_to(small_disk)
    async with server:
        client = await connect(server.url, "operator")
        await client.jetstream().add_stream(StreamConfig(name=STREAM, subjects=["cdr.raw"]))
        await client.leave()
        async with Trio(server.url, tmp_path / "spool") as trio:
            await trio.works()
            ballast = small_disk / "ballast"
            with pytest.raises(OSError, match="space"):
                ballast.write_bytes(b"x" * 4 * 1024**2)
            publisher = trio.bridge.cdr_publisher
            for number in range(1000, 1400):
                trio.peer.say("setup", number)
                trio.peer.hang_up(number)
            await until(lambda: publisher.trouble, 20, lambda: len(trio.read))
            assert publisher.trouble is not None
            assert "disk" in publisher.trouble or "JetStream" in publisher.trouble, (
                publisher.trouble
            )
            ballast.unlink()
            await server.restart()
            await until(
                lambda: len(trio.read) >= 401, 20, lambda: (len(trio.read), publisher.trouble)
            )
            assert len(trio.bridge.spool) == 0
            await trio.works()


async def run(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.mark.slow
async def test_only_an_operator_can_create_the_streams(tmp_path: Path) -> None:
    async with Guarded(tmp_path, streams=False) as server:
        for user in ("livestate", "bridge"):
            code, output = await run("streams", "--create", "--nats-url", server.url_of(user),
                                   "--nats-inbox", f"_INBOX.{user}")  # fmt: skip
            assert code == 1
            assert "permissions violation" in output
            assert "user `streams`" in output
            assert f"pw-of-{user}" not in output
        code, output = await run("streams", "--nats-url", server.url_of("streams"))
        assert (code, "--create` makes it" in output) == (1, True), output
        code, output = await run("streams", "--create", "--nats-url", server.url_of("streams"))
        assert (code, "created CDR and CDR_DEAD" in output) == (0, True), output
        code, output = await run("streams", "--create", "--nats-url", server.url_of("streams"))
        assert (code, "both exist" in output) == (0, True), output


@pytest.mark.parametrize(("option", "objection"), [
    ({"allow_rollup_hdrs": True}, "can delete all its messages"),
    ({"allow_msg_ttl": True}, "may be gone before it is read"),
    ({"allow_msg_schedules": True}, "can write under other subjects"),
    ({"republish": RePublish(src="cdr.raw", dest="call.events.setup")}, "can invent calls"),
    ({}, None),
])  # fmt: skip
async def test_a_stream_whose_writers_can_do_more_than_write_is_reported(
    nats_server: NatsServer, option: dict[str, Any], objection: str | None
) -> None:
    client = await connect(nats_server.url, "operator")
    streams = client.jetstream()
    config = replace(CDRS.config(1), **option)
    info = await streams.add_stream(config)
    found = CDRS.objections(info)
    await client.leave()
    assert not found if objection is None else any(objection in one for one in found)
