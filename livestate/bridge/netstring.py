"""Netstrings (https://cr.yp.to/proto/netstrings.txt), as Kamailio's evapi speaks them on TCP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from livestate.errors import LivestateError

MAX_BYTES: Final = 64 * 1024 * 1024  # a list of 80,000 dialogs; longer is a broken peer
_MAX_DIGITS: Final = 8


class BadNetstring(LivestateError):
    """What came is no netstring: the place of the next one is unknown, so connect anew."""


def encode(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


class Decoder:
    """Bytes in, in any pieces; whole strings out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = 0  # bytes that must be there before another look is worth it

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The strings that ``data`` completed. Raises :class:`BadNetstring`."""
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._wanted:  # a long list comes in hundreds of pieces
            return
        at = 0
        self._wanted = 0
        try:
            while True:
                colon = buffer.find(b":", at, at + _MAX_DIGITS + 1)
                if colon < 0:
                    if len(buffer) - at > _MAX_DIGITS:
                        raise BadNetstring("no length")
                    return
                length = buffer[at:colon]
                if not length.isdigit() or int(length) > MAX_BYTES:
                    raise BadNetstring(f"length {bytes(length)!r}")
                end = colon + 1 + int(length)
                if end >= len(buffer):
                    self._wanted = end + 1 - at
                    return
                if buffer[end] != ord(","):
                    raise BadNetstring("no comma at the end")
                yield bytes(buffer[colon + 1 : end])
                at = end + 1
        finally:
            del buffer[:at]
