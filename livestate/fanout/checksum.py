"""CRC-32 of bytes that are put together from pieces, without going over the pieces again.

The CRC-32 of RFC 1952 §8 is the remainder of the bytes, as a polynomial over GF(2), by a
polynomial of degree 32. Appending ``n`` bytes multiplies what was there by x^(8n) and adds the
remainder of the new ones (zlib has that as ``crc32_combine``, Python's ``zlib`` lacks it). So the
checksums of a whole and of its first piece give that of the second piece. Bits are reflected: the
highest one is x^0.

For short pieces the multiplication is done by zlib itself, as the CRC of so many zero bytes.
"""

from __future__ import annotations

import zlib
from functools import cache, lru_cache
from typing import Final, NamedTuple

_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31  # x^0
_ALL: Final = 0xFFFFFFFF
# zlib takes about 0.5 ns a byte, and the multiplication in Python about 20 µs.
_ZEROS: Final = memoryview(bytes(32 * 1024))


class Checksum(NamedTuple):
    """The CRC-32 of some bytes, and how many there are."""

    crc: int
    size: int

    def with_bytes(self, data: bytes) -> Checksum:
        """Of these bytes and ``data`` after them."""
        return Checksum(zlib.crc32(data, self.crc), self.size + len(data))

    def with_difference(self, first: Checksum, whole: Checksum) -> Checksum:
        """Of these bytes and, after them, those that ``whole`` has after those of ``first``."""
        size = whole.size - first.size
        return Checksum(_shifted(self.crc ^ first.crc, size) ^ whole.crc, self.size + size)


EMPTY: Final = Checksum(0, 0)


def _shifted(crc: int, size: int) -> int:
    """``crc`` · x^(8 · ``size``)."""
    if size <= len(_ZEROS):
        return zlib.crc32(_ZEROS[:size], crc ^ _ALL) ^ _ALL
    return _product(crc, _power(size))


@lru_cache(maxsize=1024)  # the parts of a snapshot go to many clients, one after the other
def _power(size: int) -> int:
    """x^(8 · ``size``)."""
    power, exponent = _ONE, 3  # 8 is 2^3
    while size:
        if size & 1:
            power = _product(power, _square(exponent))
        size >>= 1
        exponent += 1
    return power


@cache
def _square(exponent: int) -> int:
    """x^(2^``exponent``); sizes are below 2^61, so there are few."""
    if exponent == 0:
        return _ONE >> 1
    root = _square(exponent - 1)
    return _product(root, root)


def _product(a: int, b: int) -> int:
    """``a`` · ``b`` modulo the polynomial."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & _ALL
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product
