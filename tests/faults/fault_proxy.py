"""A line between a client and a server, to be cut, frozen, slowed, shredded or robbed.

A TCP proxy on a port of its own. What it does to bytes it does to those of every connection,
also of those that are open already; it never looks at what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from random import Random
from typing import Final, Self

AT_ONCE: Final = 64 * 1024
SMALL_BUFFER: Final = 8 * 1024  # a throttled line must not hide megabytes in the kernel


class FaultProxy:
    """``async with FaultProxy(port) as line``: connect to ``line.port`` instead.

    ``delay_seconds`` and ``bytes_a_second`` are for what the server says; ``refusing`` turns new
    connections away; ``shreds`` breaks every read into pieces of a few bytes.
    """

    def __init__(self, target: int | Callable[[], int], *, seed: int = 1) -> None:
        self.target = target
        self.delay_seconds = 0.0
        self.bytes_a_second: float | None = None
        self.refusing = False
        self.shreds = False
        self.carried = 0  # connections so far
        self.robbed = 0
        self._rob = 0
        self._chance = Random(seed)
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> Self:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listener, backlog=4096)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        while self._open:
            self.cut()
            for task in self._open:
                task.cancel()
            await asyncio.wait(self._open)

    def cut(self) -> None:
        """Reset every connection there is."""
        for ends in tuple(self._open.values()):
            for end in ends:
                end.transport.abort()

    def freeze(self) -> None:
        """Half-open: both sides are connected, also new ones, and nothing comes through."""
        self._flows.clear()

    def thaw(self) -> None:
        """Deliver now, late, what was held back."""
        self._flows.set()

    def rob(self, replies: int = 1) -> None:
        """Let the next replies vanish, each with its connection: the server has done the work."""
        self._rob += replies

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._open[task] = (writer,)  # known before it runs: it may be cut first
        task.add_done_callback(self._open.pop)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if self.refusing:
                return
            port = self.target() if callable(self.target) else self.target
            inner, outer = await self._connect(port)
            self._open[task] = (writer, outer)
            there = asyncio.create_task(self._pass(reader, outer, answers=False))
            back = asyncio.create_task(self._pass(inner, writer, answers=True))
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        except OSError:
            pass  # no server: the client sees a reset
        finally:
            for end in self._open[task]:
                end.transport.abort()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.bytes_a_second is None:
            return await asyncio.open_connection("127.0.0.1", port)
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=narrow, limit=SMALL_BUFFER)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        free_at = 0.0
        with contextlib.suppress(OSError):
            while True:
                rate = self.bytes_a_second if answers else None
                data = await reader.read(AT_ONCE if rate is None else SMALL_BUFFER // 4)
                await self._flows.wait()
                if not data:
                    return
                if answers and self._rob:
                    self._rob -= 1
                    self.robbed += 1
                    return
                if answers and self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if rate is not None:
                    free_at = max(free_at, loop.time()) + len(data) / rate
                    await asyncio.sleep(max(free_at - loop.time(), 0))
                for piece in self._pieces(data):
                    writer.write(piece)
                    await writer.drain()

    def _pieces(self, data: bytes) -> list[bytes]:
        if not self.shreds:
            return [data]
        # Most of it goes on whole, or a snapshot would take minutes: torn are its first bytes.
        cut = [self._chance.randrange(1, 4) for _ in range(8)]
        starts = [sum(cut[:n]) for n in range(len(cut) + 1)]
        return [
            p for a, b in zip(starts, [*starts[1:], len(data)], strict=True) if (p := data[a:b])
        ]
