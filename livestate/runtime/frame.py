"""A frame: finished bytes that many clients get, and its other forms, each made once.

Pure bytes. A client may want HTTP/1.1 chunks (when nobody else makes them for it) and gzip. Gzip
is shared too: a client gets the header once, then every frame as a raw deflate block that ends at
a byte and refers to nothing before it, so it does not matter when the client joined. There is no
gzip trailer (RFC 1952 §2.3.1): its checksum would be of each client's own bytes, and nobody waits
for the end of a stream.
"""

from __future__ import annotations

import zlib
from functools import cached_property
from typing import Final

# RFC 1952 §2.3: deflate, no flags, no time, Unix.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
LEVEL: Final = 4  # 9 gains 3 % more for three times the work
WORTH_COMPRESSING: Final = 160  # bytes; below that a block gains nothing
_STORED_MOST: Final = 0xFFFF  # RFC 1951 §3.2.4


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP/1.1's chunked transfer coding (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def block(data: bytes) -> bytes:
    """Deflate blocks (RFC 1951) that stand for themselves: compressed, or stored where that is
    shorter."""
    if len(data) >= WORTH_COMPRESSING:
        deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        # A full flush ends at a byte and forgets the window.
        compressed = deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)
        if len(compressed) < len(data) + 5:
            return compressed
    return b"".join(
        _stored(data[at : at + _STORED_MOST]) for at in range(0, len(data), _STORED_MOST)
    )


def _stored(data: bytes) -> bytes:
    size = len(data)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


class Frame(bytes):
    """One frame. It is its own plain form."""

    @cached_property
    def chunk(self) -> bytes:
        return chunk(self)

    @cached_property
    def block(self) -> bytes:
        return block(self)

    @cached_property
    def block_chunk(self) -> bytes:
        return chunk(self.block)
