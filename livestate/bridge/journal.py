"""Stores one queue of CDRs on disk in segments: files that are appended to and deleted whole.

:class:`~livestate.bridge.spool.Spool` uses two journals and decides how much room each has. A
segment is a file of lines ``<crc32> <message id> <CDR as JSON>``; the ids of delivered CDRs are
noted in a file beside it (``….done``), and both are deleted when all CDRs are delivered. Memory
holds the place of each CDR, and the CDR itself only until it is synced to the disk. The guarantees:
what ``append`` has written survives a crash of the process, what ``sync`` has written a crash of
the machine, and a torn or edited line costs that CDR only.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple
from urllib.parse import quote, unquote
from zlib import crc32

_NAME_SAFE: Final = "-_.~:@+"  # other characters of a message id are escaped, the space above all


class Place(NamedTuple):
    """Where a CDR is stored; ``order`` grows with each CDR that is appended."""

    segment: int
    at: int
    length: int
    order: int


class _Segment:
    """One open file; ``waiting`` counts its CDRs that are not delivered."""

    __slots__ = ("file", "note", "path", "size", "torn", "waiting")

    def __init__(self, path: Path, note: Path) -> None:
        self.path = path
        self.note = note
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = os.fstat(self.file).st_size
        self.waiting = 0
        self.torn = False  # it ends within a line and could not be truncated


class Journal:
    """CDRs in the order in which they were appended. Files of two journals in one directory differ
    by their ``suffix``. ``order`` gives the numbers of :class:`Place`; two journals may share it.

    The constructor reads what is stored, and raises OSError if the directory cannot be used."""

    def __init__(
        self, directory: Path, suffix: str, *, segment_bytes: int, order: Iterator[int]
    ) -> None:
        self.bytes = 0  # size of the segments on the disk
        self.damaged = 0  # lines and files that could not be read back
        self.places: OrderedDict[str, Place] = OrderedDict()
        self.delivered_before: list[str]  # noted as delivered in files that are still there
        self._directory = directory
        self._suffix = suffix
        self._segment_bytes = segment_bytes
        self._order = order
        self._segments: dict[int, _Segment] = {}
        self._current: int | None = None  # the segment that is being written
        self._last = 0  # the highest number of any file
        # CDRs that are not synced yet: data by message id. The lock lets ``sync`` run in a thread.
        self._unsynced: dict[str, bytes] = {}
        self._written: list[int] = []  # descriptors of full segments that are not synced
        self._lock = Lock()
        numbers = [
            int(path.stem)
            for path in sorted(directory.glob(f"*.{suffix}"))
            if path.stem.isascii() and path.stem.isdigit()  # other files are left alone
        ]
        self._last = max(numbers, default=0)
        # All notes before all CDRs: a CDR may be in two segments (see ``rewrite``).
        delivered = {name for number in numbers for name in self._noted(number)}
        for number in numbers:
            try:
                self._load(number, delivered)
            except OSError:  # a bad sector, or another user's file: go on with the others
                self.damaged += 1
        self.delivered_before = list(delivered)

    def begin(self) -> None:
        """Begin a segment now, so that a directory without write permission shows at the start.
        Raises OSError."""
        self._begin()

    @property
    def dirty(self) -> bool:
        """Whether anything was appended since the last ``sync``."""
        return bool(self._unsynced)

    def append(self, name: str, data: bytes) -> None:
        """Append a CDR: the kernel has it when this returns. Raises OSError if the disk refuses;
        the CDRs before it are unaffected."""
        line = _line(name, data)
        number, segment = self._writable()
        if os.write(segment.file, line) != len(line):  # the disk is full
            try:
                os.ftruncate(segment.file, segment.size)
            except OSError:
                segment.torn = True  # nothing may be appended to half a line
            raise OSError("short write")
        at = segment.size + len(line) - 1 - len(data)
        with self._lock:
            # A slice is a copy: the bytes that orjson returned occupy a block of 4 KB.
            self._unsynced[name] = line[-1 - len(data) : -1]
        self.places[name] = Place(number, at, len(data), next(self._order))
        segment.waiting += 1
        segment.size += len(line)
        self.bytes += len(line)

    def read(self, name: str) -> bytes | None:
        """A CDR that waits. None if its line does not match its checksum any more: then it is
        counted as damaged and removed."""
        unsynced = self._unsynced.get(name)
        if unsynced is not None:
            return unsynced
        place = self.places[name]
        head = b"%08x %b " % (0, _escaped(name))
        segment = self._segments[place.segment]
        try:
            line = os.pread(segment.file, len(head) + place.length, place.at - len(head))
        except OSError:
            line = b""
        checksum, _, rest = line.partition(b" ")
        if checksum == b"%08x" % crc32(rest) and len(line) == len(head) + place.length:
            return line[len(head) :]
        self.damaged += 1
        self.remove(name)
        return None

    def remove(self, name: str) -> bool:
        """Remove a delivered CDR; False if it does not wait here. If the note of it is lost in a
        crash, the CDR waits again after the restart and is delivered twice under one id."""
        place = self.places.pop(name, None)
        if place is None:
            return False
        self._unsynced.pop(name, None)
        segment = self._segments[place.segment]
        segment.waiting -= 1
        with contextlib.suppress(OSError):
            if segment.waiting == 0:
                self._delete(place.segment)
            else:
                with segment.note.open("ab", buffering=0) as note:
                    note.write(_line(name, b""))
        return True

    def drop_oldest(self) -> list[str]:
        """Delete the oldest segment with its undelivered CDRs; return their message ids."""
        number = min(self._segments, default=None)
        if number is None:
            return []
        dropped = [name for name, place in self.places.items() if place.segment == number]
        for name in dropped:
            del self.places[name]
            self._unsynced.pop(name, None)
        self._segments[number].waiting = 0
        with contextlib.suppress(OSError):
            self._delete(number)
        return dropped

    def sync(self) -> None:
        """Sync to the disk what was appended. Blocks: call it in a thread.

        Raises OSError. Linux then marks pages that it could not write as clean, so another fsync
        of the same file would succeed without writing them (PostgreSQL's "fsyncgate", 2018). So
        call :meth:`rewrite` before the next ``sync``.
        """
        with self._lock:
            taken, self._unsynced = self._unsynced, {}
            files, self._written = self._written, []
            if self._current is not None:
                files.append(os.dup(self._segments[self._current].file))
        try:
            for file in files:
                os.fsync(file)
        except OSError:
            with self._lock:
                self._unsynced = taken | self._unsynced
            raise
        finally:
            for file in files:
                os.close(file)

    def rewrite(self) -> None:
        """Append what is not synced once more, to a new segment. Raises OSError."""
        self._close_current()
        for name, data in list(self._unsynced.items()):
            if (place := self.places.get(name)) is None:
                continue
            self.append(name, data)
            segment = self._segments[place.segment]
            segment.waiting -= 1
            if segment.waiting == 0:
                with contextlib.suppress(OSError):
                    self._delete(place.segment)

    def close(self) -> None:
        """Close all files."""
        for file in (*self._written, *(segment.file for segment in self._segments.values())):
            os.close(file)

    def _writable(self) -> tuple[int, _Segment]:
        if self._current is not None:
            segment = self._segments[self._current]
            if not segment.torn and segment.size < self._segment_bytes:
                return self._current, segment
        return self._begin()

    def _begin(self) -> tuple[int, _Segment]:
        number = self._last + 1
        segment = _Segment(*self._paths(number))
        self._close_current()
        self._segments[number] = segment
        self._current = self._last = number
        return number, segment

    def _close_current(self) -> None:
        if self._current is None:
            return
        segment, number = self._segments[self._current], self._current
        with self._lock:
            self._written.append(os.dup(segment.file))
            self._current = None
        if segment.waiting == 0:
            with contextlib.suppress(OSError):
                self._delete(number)

    def _paths(self, number: int) -> tuple[Path, Path]:
        note = "done" if self._suffix == "cdr" else f"{self._suffix}.done"
        stem = self._directory / f"{number:012}"
        return stem.with_suffix(f".{self._suffix}"), stem.with_suffix(f".{note}")

    def _delete(self, number: int) -> None:
        """Delete a segment, or empty the current one. Raises OSError: then the file stays until the
        next start."""
        segment = self._segments[number]
        if number == self._current:
            os.ftruncate(segment.file, 0)
            self.bytes -= segment.size
            segment.size, segment.torn = 0, False
            segment.note.unlink(missing_ok=True)
            return
        # CDRs before notes: after a crash between the two, the CDRs would be delivered again.
        segment.path.unlink(missing_ok=True)
        segment.note.unlink(missing_ok=True)
        os.close(segment.file)
        self.bytes -= segment.size
        del self._segments[number]

    def _noted(self, number: int) -> Iterator[str]:
        _, note = self._paths(number)
        try:
            noted = note.read_bytes() if note.exists() else b""
        except OSError:  # its CDRs are sent again
            self.damaged += 1
            return
        yield from (name for name, _, _ in self._lines(noted))

    def _load(self, number: int, delivered: set[str]) -> None:
        segment = _Segment(*self._paths(number))
        try:
            written = segment.path.read_bytes()
        except OSError:
            os.close(segment.file)
            raise
        self._segments[number] = segment
        self.bytes += segment.size
        for name, at, length in self._lines(written):
            if name not in delivered and name not in self.places:
                self.places[name] = Place(number, at, length, next(self._order))
                segment.waiting += 1
        if segment.waiting == 0:
            with contextlib.suppress(OSError):
                self._delete(number)

    def _lines(self, text: bytes) -> Iterator[tuple[str, int, int]]:
        """Message id, offset and length of the data of each line. The last line of a file may be
        torn: it is skipped. Others that do not match their checksum are counted as damaged."""
        at = 0
        for line in text.split(b"\n")[:-1]:
            checksum, _, rest = line.partition(b" ")
            name, space, data = rest.partition(b" ")
            if space and checksum == b"%08x" % crc32(rest):
                yield unquote(name.decode("ascii")), at + len(line) - len(data), len(data)
            elif line:
                self.damaged += 1
            at += len(line) + 1


def _escaped(name: str) -> bytes:
    return quote(name, safe=_NAME_SAFE, errors="replace").encode("ascii")


def _line(name: str, data: bytes) -> bytes:
    rest = b"%b %b" % (_escaped(name), data)
    if b"\n" in rest:
        raise OSError("a CDR is one line of JSON")
    return b"%08x %b\n" % (crc32(rest), rest)
