"""Stalled clients are distinguished from slow ones, on real sockets; time is an argument."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from api.http.listener import listen
from api.http.tcp_progress import STALL_SECONDS, Stalls, unacknowledged
from tests.slow_reader import RECEIVE_BUFFER_BYTES


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection as the service accepts it, and its client with the smallest window."""
    with listen("127.0.0.1:0") as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            client.settimeout(10)
            yield server, client


def fill(server: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            server.send(b"x" * 65536)


def soon(wanted: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_acknowledged_is_not_pending(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    assert unacknowledged(server, 0) is None
    server.send(b"x" * 100)
    assert client.recv(100)
    soon(lambda: unacknowledged(server, 0) is None)
    assert unacknowledged(server, 5) is not None  # but there is more in this process


def test_a_client_that_reads_a_little_is_not_stalled(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    stalls: Stalls[str] = Stalls()
    fill(server)
    soon(lambda: unacknowledged(server, 1) == unacknowledged(server, 1) is not None)
    for turn in range(20):  # twenty times the patience with one who takes nothing
        before = unacknowledged(server, 1)

        def sipped(before: int | None = before) -> bool:
            client.recv(200)
            return unacknowledged(server, 1) != before

        soon(sipped)
        for late in (0, 0.9):
            now = (turn + late) * STALL_SECONDS
            assert not stalls.stalled("straw", unacknowledged(server, 1), now)
    assert list(stalls) == ["straw"]


def test_a_client_that_reads_nothing_is_stalled(pair: tuple[socket.socket, socket.socket]) -> None:
    server, _ = pair
    stalls: Stalls[str] = Stalls()
    fill(server)
    mark = None

    def settled() -> bool:  # what its kernel still takes is taken
        nonlocal mark
        before, mark = mark, unacknowledged(server, 1)
        time.sleep(0.2)
        return before == mark

    soon(settled)
    assert not stalls.stalled("deaf", unacknowledged(server, 1), 0.0)
    assert not stalls.stalled("deaf", unacknowledged(server, 1), STALL_SECONDS - 1)
    assert stalls.stalled("deaf", unacknowledged(server, 1), STALL_SECONDS)
    # It also owes where nothing waits in this process: that is all one sees of a half-open line.
    assert unacknowledged(server, 0) == unacknowledged(server, 1)


def test_progress_restarts_the_timer() -> None:
    stalls: Stalls[str] = Stalls()
    assert not stalls.stalled("a", 7, 0.0)
    assert not stalls.stalled("a", None, 1.0)
    assert not list(stalls)
    assert not stalls.stalled("a", 7, STALL_SECONDS)
    assert not stalls.stalled("a", 7, STALL_SECONDS + 1)
    stalls.forget("a")
    stalls.forget("a")
