"""Writes the log, and all other output, without ever holding the event loop.

A write to standard error blocks while its pipe is full: journald hangs, or a terminal is stopped by
Ctrl-S. In the event loop such a write would stop the service. So log
lines go into a bounded buffer, and a thread of its own writes them. When the buffer is full the
oldest lines are dropped and counted, and a line reports their number when the pipe is read again.

``sys.stderr`` becomes the same buffer, because tracebacks and warnings of Python are written to it.
Secrets of URLs are masked in every line, because libraries put addresses into their exceptions.
"""

from __future__ import annotations

import atexit
import faulthandler
import io
import logging
import os
import select
import sys
import threading
from collections import deque
from typing import Final

from livestate.process.masking import masked

MOST_BYTES: Final = 1024 * 1024
LONGEST: Final = 16 * 1024  # characters of one line; the rest of it is cut off
STDERR: Final = 2
CHUNK: Final = 4096  # PIPE_BUF: what a pipe that poll(2) calls writable takes without waiting
LOOK_SECONDS: Final = 0.2
LAST_WORDS_SECONDS: Final = 1.0  # how long the end of the process waits for the reader


class Output:
    """One file descriptor and its thread. ``put`` never waits; ``dropped`` counts lines."""

    def __init__(self, fd: int, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._fd = fd
        self._most_bytes = most_bytes
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._untold = 0  # dropped since the last such line
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"output-{fd}", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        """Hand some text to the thread."""
        if len(text) > LONGEST:
            text = text[:LONGEST] + " …\n"
        if self._fd == STDERR:
            text = masked(text)
        piece = text.encode("utf-8", "backslashreplace")
        with self._news:
            self._pieces.append(piece)
            self._bytes += len(piece)
            while self._bytes > self._most_bytes:
                self._drop(self._pieces.popleft())
            self._news.notify()

    def close(self, seconds: float = LAST_WORDS_SECONDS) -> None:
        """Write what is left, for at most a moment. Text put later is lost."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(seconds)

    def _drop(self, piece: bytes) -> None:
        lines = max(piece.count(b"\n"), 1)
        self._bytes -= len(piece)
        self.dropped += lines
        self._untold += lines

    def _run(self) -> None:
        while (piece := self._next()) is not None:
            while piece and self._wait():
                try:
                    piece = piece[os.write(self._fd, piece[:CHUNK]) :]
                except BlockingIOError:  # another program made the descriptor non-blocking
                    continue
                except OSError:  # the reader is gone, or the disk is full
                    with self._news:
                        self.dropped += max(piece.count(b"\n"), 1)
                    break

    def _next(self) -> bytes | None:
        """The next piece, and before it what was dropped meanwhile; None at the end."""
        with self._news:
            while not self._pieces:
                if self._closing:
                    return None
                self._news.wait()
            piece = self._pieces.popleft()
            self._bytes -= len(piece)
            if self._untold:
                piece = _lost_lines(self._untold) + piece
                self._untold = 0
            return piece

    def _wait(self) -> bool:
        """Wait until the descriptor is writable. False if the process ends first."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while not poll.poll(LOOK_SECONDS * 1000):
            if self._closing:
                return False
        return True


class Stream(io.TextIOBase):
    """``sys.stderr`` or ``sys.stdout`` into an :class:`Output`."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output: Output, fd: int) -> None:
        self._output = output
        self._fd = fd

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text is wanted, not bytes")
        if text:
            self._output.put(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


class Handler(logging.Handler):
    """Log records into an :class:`Output`."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # as logging's own handlers: a bad line must not raise
            self.handleError(record)


_outputs: list[Output] = []
_formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")  # of this module's own lines


def _lost_lines(count: int) -> bytes:
    text = "log lines dropped, standard error is not read: lines=%d"
    record = logging.LogRecord("livestate.logs", logging.WARNING, "", 0, text, (count,), None)
    return f"{_formatter.format(record)}\n".encode("utf-8", "backslashreplace")


def dropped() -> int:
    """Dropped lines of output since the start."""
    return sum(output.dropped for output in _outputs)


def set_up(level: str | int, form: str) -> None:
    """Write the log and ``sys.stderr`` to standard error by a thread from now on. A signal
    that kills for a stuck loop (SIGABRT of systemd's watchdog) prints where the loop stood.

    Call it before anything opens a connection: see :func:`_reserve_standard`."""
    _reserve_standard()
    logging.basicConfig(level=level, format=form, handlers=[Handler(_redirect("stderr", 2))])
    if sys.__stderr__ is not None:
        faulthandler.enable(file=2)


def use_formatter(formatter: logging.Formatter) -> None:
    """Replace the formatter that :func:`set_up` was given."""
    global _formatter
    _formatter = formatter
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


def unblock_stdout() -> None:
    """Write ``sys.stdout`` by a thread too, for commands that print from an event loop."""
    _redirect("stdout", 1)


def _reserve_standard() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed (``2>&-`` in a shell).

    The kernel would give these numbers to the next sockets otherwise, and the log would be written
    into a client's stream."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(fd)


def _redirect(name: str, fd: int) -> Output:
    # Python found the descriptor closed at its start. It is /dev/null now, or already something
    # else, such as a file of another library: nothing may be written to it.
    closed = getattr(sys, f"__{name}__") is None
    output = Output(os.open(os.devnull, os.O_WRONLY) if closed else fd)
    _outputs.append(output)
    atexit.register(output.close)
    setattr(sys, name, Stream(output, fd))
    return output
