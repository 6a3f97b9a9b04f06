"""FreeSWITCH's event socket on the wire: headers, an empty line, a body of ``Content-Length``
bytes. After ``event json …`` an event's body is one JSON object.

From FreeSWITCH's documentation of mod_event_socket; not run against one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from livestate.errors import LivestateError

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024


class BadEsl(LivestateError):
    """What came is no message: the place of the next one is unknown, so connect anew."""


class Message(NamedTuple):
    """``kind`` is its Content-Type, such as ``text/event-json`` or ``api/response``."""

    kind: str
    body: bytes


class EslDecoder:
    """Bytes in, in any pieces; whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that ``data`` completed. Raises :class:`BadEsl`."""
        self._buffer += data
        while True:
            end = self._buffer.find(b"\n\n", 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(self._buffer) >= MAX_HEAD_BYTES:
                    raise BadEsl("no end of the headers")
                return
            lines = (line.partition(b":") for line in bytes(self._buffer[:end]).split(b"\n"))
            headers = {name.strip().lower(): value.strip() for name, _, value in lines}
            length = headers.get(b"content-length", b"0")
            if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                raise BadEsl(f"length {length[:20]!r}")
            after = end + 2 + int(length)
            if len(self._buffer) < after:
                return
            body = bytes(self._buffer[end + 2 : after])
            del self._buffer[:after]
            yield Message(headers.get(b"content-type", b"").decode("ascii", "replace"), body)
