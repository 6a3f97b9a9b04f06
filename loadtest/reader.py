"""A socket read in gevent's own loop: when bytes are there, a function gets them.

A greenlet that waits in ``recv`` costs two switches, two changes of epoll and a timer for each
frame: more than everything that is checked about it. Here the loop calls us, and nobody waits but
for the end.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from gevent import get_hub
from gevent.event import Event

# Python makes room for all of it before it knows how little comes. From 256 KB on the C library
# asks the kernel for that room each time: a small frame then costs several times as much.
READ_BYTES: Final = 64 * 1024
_READABLE: Final = 1  # libev's EV_READ


class Reader:
    """Reads until it is closed, the other side ends, or ``take`` says why it is enough.

    ``take`` is called in the loop: it must not wait. What it raises ends the reading too."""

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
        """Whether it is over, after so long at most."""
        return bool(self._over.wait(seconds))

    def close(self, why: str) -> None:
        """No more of it; the first reason stays. The socket is its owner's to close."""
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
        except Exception as error:  # noqa: BLE001  in gevent's loop nobody else would see it
            self.error = error
            why = type(error).__name__
        if why:
            self.close(why)

    def _pieces(self) -> str:
        """What can be read now; why there will be no more, or nothing."""
        sock = self._sock
        while True:
            piece = sock.recv(READ_BYTES)
            if not piece:
                return "closed"
            self.read_at = time.monotonic()
            why = self._take(piece)
            # TLS may hold what epoll no longer sees.
            if why or not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                return why
