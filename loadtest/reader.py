"""Reads a socket from gevent's loop and passes the bytes to a function.

A greenlet that waits in ``recv`` costs two switches, two epoll changes and a timer per frame, more
than all verification of the frame. Here the loop calls the reader, and a greenlet waits only for
the end of the stream.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from gevent import get_hub
from gevent.event import Event

# Python allocates this before it reads. From 256 KB on, the C library requests the memory from the
# kernel each time, and a small frame costs several times as much.
READ_BYTES: Final = 64 * 1024
_READABLE: Final = 1  # libev's EV_READ


class Reader:
    """Reads until it is closed, the peer closes, or ``take`` returns a reason to stop.

    ``take`` runs in the loop and must not block. An exception from it stops the reading too."""

    def __init__(self, sock: Any, take: Callable[[bytes], str]) -> None:
        self.why = ""
        self.error: Exception | None = None
        self.read_at = time.monotonic()
        self._sock = sock
        self._take = take
        self._over = Event()
        sock.setblocking(False)
        self._watcher = get_hub().loop.io(sock.fileno(), _READABLE)
        self._watcher.start(self._read)

    def wait(self, seconds: float) -> bool:
        """Whether reading has ended, after ``seconds`` at most."""
        return bool(self._over.wait(seconds))

    def close(self, why: str) -> None:
        """Stop reading; the first reason is kept. The caller closes the socket."""
        if not self._over.is_set():
            self.why = why
            self._watcher.stop()
            self._watcher.close()
            self._over.set()

    def _read(self) -> None:
        try:
            why = self._pieces()
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except Exception as error:  # noqa: BLE001  gevent's loop would swallow it
            self.error = error
            why = type(error).__name__
        if why:
            self.close(why)

    def _pieces(self) -> str:
        """Read what is available; the reason to stop, or nothing."""
        sock = self._sock
        while True:
            piece = sock.recv(READ_BYTES)
            if not piece:
                return "closed"
            self.read_at = time.monotonic()
            why = self._take(piece)
            # TLS may have buffered bytes that epoll does not report.
            if why or not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                return why
