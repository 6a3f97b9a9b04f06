"""CDRs on this machine's disk until NATS has them: what ``kill -9`` must not take away.

A segment is a file of lines ``<crc32> <message id> <CDR as JSON>``; what was delivered is noted in
a file beside it (``<segment>.done``), and both go when all of it is. ``append`` is one ``write``:
in the kernel's hands when it returns, so it outlives our death. It outlives the machine's after
``sync``, which the bridge calls at least once a second, in a thread.
"""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final
from zlib import crc32

from livestate.errors import LivestateError

SEGMENT_BYTES: Final = 4 * 1024 * 1024
_REMEMBERED: Final = 100_000  # ids of CDRs that were delivered: a source may tell them again


class SpoolUnusable(LivestateError):
    """The directory cannot be used; the reason says why."""


class Spool:
    """A bounded queue on disk, the oldest first. One process at a time: the directory is locked."""

    def __init__(
        self, directory: Path, *, most_bytes: int, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.lost = 0  # found no room, or the disk refused
        self.damaged = 0  # lines that could not be read back
        self.bytes = 0
        self._directory = directory
        self._most = most_bytes
        self._segment_bytes = segment_bytes
        self._waiting: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._delivered: OrderedDict[str, None] = OrderedDict()
        self._open: dict[int, int] = {}  # segment → CDRs of it that are not delivered
        self._size: dict[int, int] = {}
        self._full: list[int] = []  # segments that are written, but not on the disk for certain
        self._number = 0  # of the segment that is being written
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._names = os.open(directory, os.O_RDONLY)  # a new file's name must last, too
            for path in sorted(directory.glob("*.cdr")):
                self._load(int(path.stem))
        except BlockingIOError:
            raise SpoolUnusable(f"{directory} is in use by another bridge") from None
        except (OSError, ValueError) as error:
            raise SpoolUnusable(f"{directory}: {error}") from None
        self._number = max(self._size, default=0)
        self._begin()

    def __len__(self) -> int:
        return len(self._waiting)

    def knows(self, name: str) -> bool:
        """Whether this CDR waits here, or was delivered of late."""
        return name in self._waiting or name in self._delivered

    def append(self, name: str, data: bytes) -> bool:
        """Keep a CDR. False if it could not be kept: no room, or the disk refuses."""
        line = _line(name, data)
        if self.bytes + len(line) > self._most:
            self.lost += 1
            return False
        try:
            written = os.write(self._segment, line)
            if written != len(line):  # the disk is full: what is torn is no line
                os.ftruncate(self._segment, self._size[self._number])
                raise OSError("short write")
        except OSError:
            self.lost += 1
            return False
        # A copy: what orjson gives lies in a block of 4 KB.
        self._waiting[name] = (self._number, line[-1 - len(data) : -1])
        self._open[self._number] += 1
        self._grown(self._number, len(line))
        if self._size[self._number] >= self._segment_bytes:
            self._full.append(self._segment)
            self._begin()
        return True

    def waiting(self, most: int) -> list[tuple[str, bytes]]:
        """The oldest CDRs that were not delivered."""
        found: list[tuple[str, bytes]] = []
        for name, (_, data) in self._waiting.items():
            if len(found) == most:
                break
            found.append((name, data))
        return found

    def delivered(self, name: str) -> None:
        """NATS has it. Should this note be lost, it is sent again, and NATS knows its id."""
        number, _ = self._waiting.pop(name)
        self._delivered[name] = None
        if len(self._delivered) > _REMEMBERED:
            self._delivered.popitem(last=False)
        self._open[number] -= 1
        if self._open[number] == 0:
            self._forget(number)
        else:
            with (self._directory / f"{number:012}.done").open("ab", buffering=0) as done:
                done.write(_line(name, b""))

    def sync(self) -> None:
        """Make what was appended outlive the machine. Waits for the disk: call it in a thread."""
        # In this order: a segment that gets full between these lines is in one of them.
        now = os.dup(self._segment)
        full, self._full = self._full, []
        try:
            for segment in (*full, now, self._names):
                os.fsync(segment)
        except OSError:
            self._full += full
            raise
        finally:
            os.close(now)
        for segment in full:
            os.close(segment)

    def close(self) -> None:
        for file in (*self._full, self._segment, self._names, self._lock):
            os.close(file)

    def _begin(self) -> None:
        self._number += 1
        self._open[self._number] = self._size[self._number] = 0
        path = self._directory / f"{self._number:012}.cdr"
        self._segment = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _grown(self, number: int, by: int) -> None:
        self._size[number] += by
        self.bytes += by

    def _forget(self, number: int) -> None:
        if number == self._number:  # the one being written: empty it
            os.ftruncate(self._segment, 0)
            self._grown(number, -self._size[number])
            (self._directory / f"{number:012}.done").unlink(missing_ok=True)
            return
        # The CDRs go before the note that they were delivered, or they would come again.
        (self._directory / f"{number:012}.cdr").unlink(missing_ok=True)
        (self._directory / f"{number:012}.done").unlink(missing_ok=True)
        self.bytes -= self._size.pop(number)
        del self._open[number]

    def _load(self, number: int) -> None:
        done = self._directory / f"{number:012}.done"
        delivered = {name for name, _ in self._lines(done)} if done.exists() else set()
        path = self._directory / f"{number:012}.cdr"
        self._open[number] = 0
        self._size[number] = 0
        self._grown(number, path.stat().st_size)
        for name, data in self._lines(path):
            if name in delivered:
                self._delivered[name] = None
            elif name not in self._waiting:
                self._waiting[name] = (number, data)
                self._open[number] += 1
        if self._open[number] == 0:
            self._forget(number)

    def _lines(self, path: Path) -> list[tuple[str, bytes]]:
        found = []
        for line in path.read_bytes().split(b"\n")[:-1]:
            told, _, rest = line.partition(b" ")
            name, _, data = rest.partition(b" ")
            if told == b"%08x" % crc32(rest):
                found.append((name.decode(), data))
            else:
                self.damaged += 1
        return found


def _line(name: str, data: bytes) -> bytes:
    rest = b"%b %b" % (name.encode(), data)
    return b"%08x %b\n" % (crc32(rest), rest)
