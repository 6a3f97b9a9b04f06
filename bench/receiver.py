"""Thousands of clients in one small process of their own: raw sockets on epoll that count bytes and
look for stamps, and do nothing else, so that they cost little beside any server.

A frame carries ``"detail":"t<19 digits>``: when it was published, by the monotonic clock that all
processes of a machine share. Whatever frames it (SSE, WebSocket, a JSON answer), the same search
finds it. A client that polls asks again by itself, ``poll_seconds`` after it asked last.

    async with Receiver() as receiver:
        await receiver.connect(("127.0.0.1", port), requests)
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import multiprocessing
import os
import select
import socket
import time
from array import array
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from bench.machine import OTHER_CORES, many_files
from bench.receiver_messages import MARK, STAMPED, Ask, Report, stamped_at

_READ: Final = 256 * 1024
_AT_ONCE: Final = 400  # connections that are under way, unless it is a storm
_CLIENTS_AN_ADDRESS: Final = 5_000  # ports of one source address run out at 28,000


class Client:
    """One connection as the loop sees it."""

    __slots__ = ("ask", "asked", "bytes", "last", "number", "request", "sock", "tail")

    def __init__(self, number: int, sock: socket.socket, ask: Ask, request: bytes) -> None:
        self.number = number
        self.sock = sock
        self.ask = ask
        self.request = request
        self.last = 0  # newest stamp seen
        self.bytes = 0
        self.tail = b""
        self.asked = 0.0


class Loop:
    """The child process: commands come by a pipe, everything else by epoll."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.poll = select.epoll()
        self.poll.register(pipe.fileno(), select.EPOLLIN)
        self.clients: dict[int, Client] = {}
        self.waiting: list[tuple[Ask, bytes]] = []  # to be connected
        self.pending = 0  # connecting now
        self.refused = 0
        self.due: list[tuple[float, int]] = []  # who polls next, when
        self.wanted = 0  # the stamp that ``until`` waits for; 0: none
        self.deadline = 0.0
        self.behind = 0  # clients without that stamp; counted as they get it, not at each read
        self.opened = False  # ``connect`` waits until all are connected
        self.buffer = bytearray(_READ)
        self.reset()

    def reset(self) -> None:
        self.deliveries = 0
        self.bytes = 0
        self.latencies: array[float] = array("d")
        self.cpu = time.process_time()
        self.began = time.perf_counter()

    def run(self) -> None:
        while True:
            for number, event in self.poll.poll(self.patience(), 4096):
                if number == self.pipe.fileno():
                    if not self.obey():
                        return
                    continue
                client = self.clients.get(number)
                if client is None:
                    continue  # cut by a command that came in the same batch
                if event & select.EPOLLOUT:
                    self.connected(client)
                else:
                    self.read(client)
            self.connect_more()
            self.ask_again()
            self.answer()

    def patience(self) -> float:
        if self.due:
            return max(0.0, min(self.due[0][0] - time.perf_counter(), 0.05))
        return 0.02 if self.wanted else 1.0

    # -- connections -----------------------------------------------------------------------

    def connect_more(self) -> None:
        while self.waiting and (self.waiting[-1][0].storm or self.pending < _AT_ONCE):
            ask, request = self.waiting.pop()
            sock = socket.socket()
            sock.setblocking(False)
            if not ask.reads:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # The kernel chooses the port at connect(): 28,000 for each pair of addresses.
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((f"127.0.0.{2 + len(self.clients) // _CLIENTS_AN_ADDRESS}", 0))
            with contextlib.suppress(BlockingIOError):
                sock.connect(ask.address)
            self.clients[sock.fileno()] = Client(sock.fileno(), sock, ask, request)
            self.poll.register(sock.fileno(), select.EPOLLOUT)
            self.pending += 1

    def connected(self, client: Client) -> None:
        self.pending -= 1
        error = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.lose(client)
            return
        client.sock.send(client.request)
        client.asked = time.perf_counter()
        if client.ask.reads:
            self.poll.modify(client.number, select.EPOLLIN)
        else:
            self.poll.unregister(client.number)
        if client.ask.poll_seconds:  # each at a moment of its own
            first = client.asked + client.ask.poll_seconds * (client.number % 997) / 997
            heapq.heappush(self.due, (first, client.number))

    def lose(self, client: Client) -> None:
        """Refused or cut by the server: counted, for then the run says nothing."""
        self.refused += 1
        self.behind -= client.ask.reads and client.last < self.wanted
        del self.clients[client.number]
        client.sock.close()

    def cut_all(self) -> None:
        """Reset: no TIME_WAIT, so that the ports are free again."""
        for client in self.clients.values():
            client.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
            )  # on, 0 s
            client.sock.close()
        self.clients.clear()
        self.waiting.clear()
        self.due.clear()
        self.pending = 0

    def ask_again(self) -> None:
        now = time.perf_counter()
        while self.due and self.due[0][0] <= now:
            at, number = heapq.heappop(self.due)
            client = self.clients.get(number)
            if client is not None:
                client.sock.send(client.request)
                client.asked = now
                heapq.heappush(self.due, (at + client.ask.poll_seconds, number))

    # -- what comes ------------------------------------------------------------------------

    def read(self, client: Client) -> None:
        buffer = self.buffer
        try:
            size = client.sock.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.lose(client)
            return
        now = time.perf_counter_ns()
        self.bytes += size
        client.bytes += size
        data: bytes | bytearray = buffer
        if client.tail:
            data = client.tail + data[:size]
            size = len(data)
            client.tail = b""
        at = data.find(MARK, 0, size)
        while at >= 0:
            if at + STAMPED > size:
                break
            stamped = int(data[at + len(MARK) : at + STAMPED])
            if stamped > client.last:  # a poller sees the same one twice
                self.behind -= client.last < self.wanted <= stamped
                client.last = stamped
                self.deliveries += 1
                self.latencies.append((now - stamped) / 1e6)
            at = data.find(MARK, at + STAMPED, size)
        if data[size - 1] != 10:  # not the end of a frame: a stamp may be cut in two
            client.tail = bytes(data[max(0, size - STAMPED + 1) : size])

    # -- commands --------------------------------------------------------------------------

    def obey(self) -> bool:
        try:
            command, value = self.pipe.recv()
        except EOFError:
            return False
        if command == "connect":
            if value.reconnect:
                self.cut_all()
            self.waiting = [(value, request) for request in reversed(value.requests)]
            self.opened = True
        elif command == "until":
            self.wanted, self.deadline = value[0], time.perf_counter() + value[1]
            self.behind = sum(
                client.ask.reads and client.last < self.wanted for client in self.clients.values()
            )
        elif command == "reset":
            self.reset()
            self.pipe.send(None)
        elif command == "report":
            self.pipe.send(
                Report(
                    self.deliveries,
                    self.bytes,
                    time.process_time() - self.cpu,
                    time.perf_counter() - self.began,
                    self.latencies,
                )
            )
        elif command == "read":  # the slow ones wake up
            for client in self.clients.values():
                if not client.ask.reads:
                    client.ask.reads = True
                    self.poll.register(client.number, select.EPOLLIN)
            self.pipe.send(None)
        elif command == "close":
            self.cut_all()
            self.refused = 0
            self.pipe.send(None)
        return True

    def answer(self) -> None:
        if self.opened and not self.waiting and not self.pending:
            self.opened = False
            self.pipe.send((len(self.clients), self.refused))
        if self.wanted:
            behind = self.behind + len(self.waiting) + self.refused
            if not behind or time.perf_counter() > self.deadline:
                self.wanted = 0
                self.pipe.send((behind, time.perf_counter_ns()))


def _child(pipe: Connection) -> None:
    many_files()
    os.sched_setaffinity(0, OTHER_CORES)
    Loop(pipe).run()


class Receiver:
    """The parent's side. One command at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pipe.close()
        await asyncio.to_thread(self._process.join, 10)
        if self._process.is_alive():
            self._process.kill()

    async def connect(
        self, address: tuple[str, int], requests: list[bytes], **more: Any
    ) -> tuple[int, int]:
        """How many are connected now, and how many were refused or cut so far."""
        connected: tuple[int, int] = await self._ask("connect", Ask(address, requests, **more))
        return connected

    async def until(self, mark: bytes, seconds: float) -> tuple[int, int]:
        """Wait until every client that reads has this stamp; how many still had not at the end,
        and when that was (ns)."""
        missing: tuple[int, int] = await self._ask("until", (stamped_at(mark), seconds))
        return missing

    async def reset(self) -> None:
        await self._ask("reset")

    async def report(self) -> Report:
        report: Report = await self._ask("report")
        return report

    async def read(self) -> None:
        """Those who did not read begin to."""
        await self._ask("read")

    async def close_all(self) -> None:
        await self._ask("close")

    async def _ask(self, command: str, value: Any = None) -> Any:
        def exchange() -> Any:
            self._pipe.send((command, value))
            return self._pipe.recv()

        return await asyncio.to_thread(exchange)
