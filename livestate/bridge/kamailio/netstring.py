"""Encodes and decodes netstrings (https://cr.yp.to/proto/netstrings.txt), the framing of evapi.

The evapi client decodes what Kamailio sends and encodes its questions. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from livestate.contract.errors import LivestateError

MAX_BYTES: Final = 64 * 1024 * 1024  # a list of 90,000 dialogs
MAX_LENGTH: Final = 2**31 - 1  # the longest that Kamailio can send: it counts in an int
HEAD_BYTES: Final = 16  # of a string that is too long
_MAX_DIGITS: Final = 10


class BadNetstring(LivestateError):
    """The input is no netstring. Where the next one begins is unknown: connect again."""


def encode(data: bytes) -> bytes:
    """One netstring."""
    return b"%d:%b," % (len(data), data)


class Decoder:
    """Turns pieces of any size into whole strings.

    A string of more than ``MAX_BYTES`` is skipped. ``stand_in(length, head)`` returns what takes
    its place, or raises :class:`BadNetstring` if ``head``, its first bytes, shows that the length
    is wrong: otherwise a wrong length would swallow the strings behind it. Without ``stand_in``
    such a string raises :class:`BadNetstring`.
    """

    def __init__(self, stand_in: Callable[[int, bytes], bytes] | None = None) -> None:
        self._stand_in = stand_in
        self._skipping: bytes | None = None  # what replaces the string that is being skipped
        self._to_skip = 0  # bytes of it that have not arrived
        self._buffer = bytearray()
        self._wanted = 0  # bytes that must have arrived before the next attempt

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The strings that ``data`` completed. Raises :class:`BadNetstring`."""
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._wanted:  # a long list arrives in hundreds of pieces
            return
        at = 0
        self._wanted = 0
        try:
            while True:
                if self._skipping is not None:
                    skipped = min(self._to_skip, len(buffer) - at)
                    at += skipped
                    self._to_skip -= skipped
                    if at == len(buffer):
                        return
                    if buffer[at] != ord(","):
                        raise BadNetstring("no comma at the end")
                    at += 1
                    string, self._skipping = self._skipping, None
                    yield string
                colon = buffer.find(b":", at, at + _MAX_DIGITS + 1)
                if colon < 0:
                    if len(buffer) - at > _MAX_DIGITS:
                        raise BadNetstring("no length")
                    return
                digits = bytes(buffer[at:colon])
                most = MAX_BYTES if self._stand_in is None else MAX_LENGTH
                if not digits.isdigit() or int(digits) > most:
                    raise BadNetstring(f"length {digits!r}")
                if int(digits) > MAX_BYTES and self._stand_in is not None:
                    head = bytes(buffer[colon + 1 : colon + 1 + HEAD_BYTES])
                    if len(head) < HEAD_BYTES:
                        self._wanted = colon + 1 + HEAD_BYTES - at
                        return
                    self._skipping = self._stand_in(int(digits), head)
                    self._to_skip = int(digits)
                    at = colon + 1
                    continue
                end = colon + 1 + int(digits)
                if end >= len(buffer):
                    self._wanted = end + 1 - at
                    return
                if buffer[end] != ord(","):
                    raise BadNetstring("no comma at the end")
                with memoryview(buffer) as whole:
                    string = bytes(whole[colon + 1 : end])  # copies once: it may have 40 MB
                yield string
                at = end + 1
        finally:
            del buffer[:at]
