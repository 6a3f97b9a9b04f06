"""A dashboard that drinks its stream through a straw: the smallest window there is, and as little
at a time as it likes."""

from __future__ import annotations

import asyncio
import socket
from typing import Self
from urllib.parse import urlsplit

import h11

from livestate.client import Fold, Parser
from tests.harness import STREAM

# Less than the kernel's least, so it takes that: far less than one segment between two sockets of
# this machine (64 KB), which is when a window is probed and never fits.
RECEIVE_BUFFER_BYTES = 1024


class SlowReader:
    """``with await SlowReader.open(url, token) as straw``."""

    def __init__(self, line: socket.socket) -> None:
        self.taken = 0  # bytes
        self.cut = False
        self.dashboard = Fold()
        self._line = line
        self._http = h11.Connection(h11.CLIENT)
        self._parser = Parser()

    @classmethod
    async def open(cls, url: str, token: str) -> Self:
        parts = urlsplit(url)
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        line.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(line, (parts.hostname, parts.port))
        straw = cls(line)
        sent_headers = {"Host": parts.netloc, "Authorization": f"Bearer {token}"}
        request = h11.Request(method="GET", target=STREAM, headers=list(sent_headers.items()))
        asked = straw._http.send(request) or b""
        await loop.sock_sendall(line, asked + (straw._http.send(h11.EndOfMessage()) or b""))
        return straw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def sip(self, most: int) -> int:
        """How many bytes it took of those that are here; they are folded."""
        try:
            piece = self._line.recv(most)
        except BlockingIOError:
            return 0
        except OSError:
            piece = b""
        if not piece:
            self.cut = True
            return 0
        self.taken += len(piece)
        self._http.receive_data(piece)
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                for one in self._parser.feed(bytes(event.data)):
                    self.dashboard.fold(one)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                self.cut = True
                break
        return len(piece)
