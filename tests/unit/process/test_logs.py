"""Unread output stops nothing: real pipes, filled to the brim, under real processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import demo_key
from api.cli.child_service import Instance
from livestate.devtools.child_process import bound, free_port
from livestate.process.logs import Output
from livestate.process.systemd import Systemd
from tests.conftest import World
from tests.evapi import Peer
from tests.harness import Node, Stream, agrees, bearer, metrics

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")


class FullPipe:
    """A named pipe that is full and has no reader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, 1031, 4096)  # F_SETPIPE_SZ: one page
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._fd, b"x" * 512)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._fd, b"x")

    def read(self, seconds: float = 3.0) -> str:
        """Read for so many seconds; everything that came."""
        output, deadline = b"", time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                output += os.read(self._fd, 65536)
            except BlockingIOError:
                time.sleep(0.02)
        return output.decode().lstrip("x")

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[FullPipe]:
    pipe = FullPipe(tmp_path / "unread")
    yield pipe
    pipe.close()


class Unread(Instance):
    """The service with standard output and error in a pipe."""

    pipe: FullPipe

    def _command(self) -> list[str]:
        return ["-c", f"exec {shlex.quote(LIVESTATE)} serve >{self.pipe.path} 2>&1"]


def unread(world: World, pipe: FullPipe, **settings: str) -> Unread:
    own = {"NATS_URL": world.nats.url, "REDIS_URL": world.redis.url, "READY_SECONDS": "1"}
    service = Unread(world.keys, own | settings)
    service.pipe, service.program = pipe, "/bin/sh"
    return service


async def test_an_unread_log_does_not_stop_the_service(world: World, full_pipe: FullPipe) -> None:
    async with unread(world, full_pipe, LOG_LEVEL="DEBUG") as service:
        await service.until_ready()
        async with (
            await Node.connect(world.nats.url) as node,
            await Stream.open(service.url, service.token()) as stream,
        ):
            for number in range(5):
                await node.call(f"{number}.1")
                await node.client.publish(f"call.events.odd{number}", b"{}")  # a line each
            await world.redis.kill()
            await world.redis.start()
            await stream.until(lambda s: len(s.dashboard.calls) == 5)
            await stream.until(lambda s: s.dashboard.source == "live")
            await agrees(service, stream, service.token())
            assert (await metrics(service))["livestate_log_lines_dropped_total"] == 0
            began = time.monotonic()
            service._signal(signal.SIGTERM)
            await asyncio.wait_for(stream.over.wait(), 5)
            await asyncio.wait_for(service._wait_for_end(), 5)
            assert time.monotonic() - began < 5


class WithoutStandard(Instance):
    """The service started by something that closed standard descriptors."""

    closed: str

    def _command(self) -> list[str]:
        return ["-c", f"exec {shlex.quote(LIVESTATE)} serve {self.closed}"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
async def test_a_closed_standard_error_never_becomes_a_connection(
    world: World, closed: str
) -> None:
    """The kernel gives the number 2 to the next socket: the log would be written into that."""
    own = {"NATS_URL": world.nats.url, "REDIS_URL": world.redis.url, "READY_SECONDS": "1"}
    service = WithoutStandard(world.keys, own | {"LOG_LEVEL": "DEBUG"})
    service.closed, service.program = closed, "/bin/sh"
    async with service:
        await service.until_ready()
        for fd in range(3):
            target = os.readlink(f"/proc/{service.pid}/fd/{fd}")
            assert target.startswith("/"), f"descriptor {fd} is {target}"
        async with (
            await Node.connect(world.nats.url) as node,
            await Stream.open(service.url, service.token()) as stream,
        ):
            await node.client.publish("call.events.odd", b"{}")  # a line
            await node.call("1.1")
            await stream.until(lambda s: len(s.dashboard.calls) == 1)
            await agrees(service, stream, service.token())


async def test_a_log_read_late_is_complete(world: World, full_pipe: FullPipe) -> None:
    async with unread(world, full_pipe) as service:
        await service.until_ready()
        output = await asyncio.to_thread(full_pipe.read)
    assert "livestate: serving http://" in output


async def test_an_unread_log_does_not_stop_the_bridge(
    world: World, full_pipe: FullPipe, tmp_path: Path
) -> None:
    heard = asyncio.Event()
    async with Peer() as peer, await Node.connect(world.nats.url) as node:

        async def on_beat(message: Any) -> None:
            if peer.name.encode() in message.data:
                heard.set()

        await node.client.subscribe("call.events.heartbeat", cb=on_beat)
        command = [LIVESTATE, "bridge", "--evapi", f"127.0.0.1:{peer.port}", "--nats-url",
                   world.nats.url, "--spool", str(tmp_path / "spool")]  # fmt: skip
        script = f"exec {shlex.join(command)} >{full_pipe.path} 2>&1"
        running = await asyncio.create_subprocess_exec(*bound("/bin/sh", "-c", script))
        try:
            await asyncio.wait_for(heard.wait(), 15)
            peer.cut()  # it says so, and comes back
            heard.clear()
            await asyncio.wait_for(heard.wait(), 15)
        finally:
            running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.wait(), 8) == 0


@pytest.mark.timeout(180)
async def test_unread_output_does_not_stop_the_demo(tmp_path: Path, full_pipe: FullPipe) -> None:
    port, keys = free_port(), tmp_path / "keys"
    command = [LIVESTATE, "demo", "--port", str(port), "--keys", str(keys)]
    script = f"exec {shlex.join(command)} >{full_pipe.path} 2>&1"
    running = await asyncio.create_subprocess_exec(*bound("/bin/sh", "-c", script))
    url = f"http://127.0.0.1:{port}/api/v1/live/calls/snapshot"
    calls: dict[str, Any] = {}
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while not calls:
                await asyncio.sleep(0.3)
                with contextlib.suppress(httpx.HTTPError, KeyError, ValueError, OSError):
                    token = demo_key.mint(keys, "noc")
                    calls = (await client.get(url, headers=bearer(token))).json()["calls"]
    finally:
        running.send_signal(signal.SIGINT)
        await asyncio.wait_for(running.wait(), 20)


# -- the buffer itself ---------------------------------------------------------------------


def test_what_does_not_fit_is_dropped_oldest_first_and_counted() -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 4096)
    output = Output(write, most_bytes=10_000)
    for number in range(2_000):
        output.put(f"line {number:04}\n")
    assert output.dropped > 500
    read_back = b""
    reading = threading.Thread(target=lambda: output.close(5))
    reading.start()
    while not read_back.endswith(b"line 1999\n"):
        read_back += os.read(read, 4096)
    reading.join()
    lines = read_back.decode().splitlines()
    notices = [line for line in lines if "lines dropped" in line]
    assert sum(int(line.rpartition("=")[2]) for line in notices) == output.dropped
    assert len(lines) - len(notices) == 2_000 - output.dropped, "every other line is there"
    assert sorted(set(lines) - set(notices)) == [line for line in lines if line not in notices]
    os.close(read)
    os.close(write)


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    output = Output(write)
    for _ in range(3):
        output.put("nobody hears this\n")
    output.close()
    assert output.dropped == 3
    os.close(write)


def test_a_non_blocking_descriptor_loses_nothing() -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 4096)
    os.set_blocking(write, False)
    output = Output(write)
    text = "".join(f"{number:05}\n" for number in range(2_000))
    output.put(text[:6_000])
    output.put(text[6_000:])
    read_back = b""
    while len(read_back) < len(text):
        read_back += os.read(read, 4096)
    assert read_back.decode() == text
    output.close()
    os.close(read)
    os.close(write)


def test_an_endless_line_is_cut() -> None:
    read, write = os.pipe()
    output = Output(write)
    threading.Thread(target=lambda: (output.put("x" * 10_000_000 + "\n"), output.close())).start()
    read_back = b""
    while not read_back.endswith(b"\n"):
        read_back += os.read(read, 65536)
    assert len(read_back) < 20_000
    os.close(read)
    os.close(write)


# -- systemd -------------------------------------------------------------------------------


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """systemd's end of its socket."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(path)
        ours.setblocking(False)
        yield path, ours


def received_by(ours: socket.socket) -> list[str]:
    """The notifications since the last call."""
    lines = []
    with contextlib.suppress(BlockingIOError):
        while True:
            lines += ours.recv(4096).decode().splitlines()
    return lines


@pytest.mark.slow
async def test_the_watchdog_follows_the_event_loop(
    world: World, notified: tuple[str, socket.socket]
) -> None:
    path, ours = notified
    service = world.service()
    service.environment = {**(service.environment or {}), "NOTIFY_SOCKET": path,
                           "WATCHDOG_USEC": "900000"}  # fmt: skip
    async with service:
        await asyncio.sleep(2)
        first = received_by(ours)
        assert first[0] == "READY=1"
        assert first.count("WATCHDOG=1") >= 4
        service.pause()
        received_by(ours)
        await asyncio.sleep(1.5)
        assert received_by(ours) == []
        service.resume()
        await asyncio.sleep(1)
        assert "WATCHDOG=1" in received_by(ours)
        service._signal(signal.SIGTERM)
        await asyncio.wait_for(service._wait_for_end(), 8)
        assert "STOPPING=1" in received_by(ours)


async def test_a_service_that_the_watchdog_kills_says_where_it_stood(world: World) -> None:
    service = world.service()
    async with service:
        service._signal(signal.SIGABRT)
        await asyncio.wait_for(service._wait_for_end(), 8)
        log = service._log.read_text()
        assert "Fatal Python error: Aborted" in log
        assert "most recent call first" in log


async def test_a_full_notify_socket_stops_nothing(
    notified: tuple[str, socket.socket],
) -> None:
    path, _ = notified
    systemd = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000"})
    feeding = asyncio.create_task(systemd.run())
    await asyncio.sleep(1)  # more than the socket holds
    feeding.cancel()
    for nowhere in ("", "/does/not/exist", "@nobody"):
        Systemd({"NOTIFY_SOCKET": nowhere}).ready()


def test_the_watchdog_of_another_process_is_not_fed() -> None:
    theirs = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    asyncio.run(Systemd(theirs).run())  # ends at once


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="pipes of a known size, abstract sockets")
