"""The outlet of a stream that a task of the server writes, through ASGI.

For what :class:`~api.http.connection.Connection` cannot take over: HTTP/1.0, another ASGI server,
``LIVESTATE_DIRECT=no``. Five times dearer, and the same frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Final

from livestate.fanout.compression import GZIP_HEADER, WindowCursor
from livestate.fanout.frame import Frame

# What one delivery costs later, through ASGI, h11 and drain(): docs/decisions/0006.
DELIVERY_MICROSECONDS: Final = 75


def _ignore() -> None:
    """No callback is set yet."""


class TaskOutlet:
    """Holds what was written until its task, which iterates over :meth:`pieces`, has sent it."""

    unacknowledged = None  # unknown: the task itself waits for the client
    unsent = 0  # unknown too

    def __init__(self, *, gzip: bool) -> None:
        self.on_sent: Callable[[], None] = _ignore  # called if ``ready`` was not, but is now
        self.closing = False
        self._cursor = WindowCursor() if gzip else None
        self._head = GZIP_HEADER if gzip else b""
        self._rest: Iterator[Frame] = iter(())
        self._last: Frame | None = None
        self._ready = True
        self._asked = False
        self._on_lost: Callable[[], None] = _ignore
        self._wake = asyncio.Event()

    def begin(
        self, head: bytes, frames: Iterable[Frame], *, gzip: bool, on_lost: Callable[[], None]
    ) -> None:
        """The first frames; the server has sent the head itself."""
        self._on_lost = on_lost
        self.write(frames)

    def ready(self) -> bool:
        self._asked |= not self._ready
        return self._ready

    def write(self, frames: Iterable[Frame]) -> None:
        self._rest, self._ready = iter(frames), False
        self._wake.set()

    def finish(self, frame: Frame) -> None:
        """A last frame; the rest of the others is dropped."""
        self._last = frame
        self.abort()

    def abort(self) -> None:
        self.closing = True
        self._wake.set()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What goes to the client, until the stream is over. The caller closes it."""
        try:
            while not self._is_over():
                self._wake.clear()
                for frame in self._rest:
                    yield self._form(frame)
                    if self._is_over():
                        break
                else:
                    self._ready = True
                    if self._asked:
                        self._asked = False
                        self.on_sent()
                    await self._wake.wait()
            if self._last is not None:
                last = self._form(self._last)
                yield last if self._cursor is None else last + self._cursor.trailer()
        finally:
            self._on_lost()

    def _is_over(self) -> bool:
        return self.closing

    def _form(self, frame: Frame) -> bytes:
        head, self._head = self._head, b""
        return head + (frame if self._cursor is None else frame.deflated(self._cursor))
