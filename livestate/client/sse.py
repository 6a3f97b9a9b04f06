"""Server-Sent Events: bytes in, events out (WHATWG HTML §9.2.6). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event of a stream; ``id`` is the last one seen so far, as WHATWG HTML §9.2.6 has it."""

    name: str
    data: bytes
    id: str


class Parser:
    """Bytes in any pieces to events. ``retry`` is the last one received, ms.

    Lines end in LF, CR LF or CR. A CR at the end of a piece ends its line at once, so an LF at the
    start of the next piece belongs to it.
    """

    def __init__(self) -> None:
        self.retry: int | None = None
        self._rest = b""
        self._after_cr = False
        self._first_line = True
        self._id = ""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that this piece completes."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if self._first_line and lines:
            self._first_line = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if line:
                self._field(line)
                continue
            if self._data:
                yield ServerEvent(self._name or "message", b"\n".join(self._data), self._id)
            self._name, self._data = "", []

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self.retry = int(value)
