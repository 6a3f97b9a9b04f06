"""A frame: finished bytes that many clients get, and its other forms, each made once.

Pure bytes. A client may want HTTP/1.1 chunks (when nobody else makes them for it) and gzip. Gzip
is shared too: a client gets the header once, then every frame as raw deflate blocks that end at a
byte. There are two forms of them:

* ``block`` refers to nothing before it, so it does not matter when the client joined;
* ``linked`` refers to the frames before it in its :class:`Line`, so it costs only what is new. It
  is for whoever has had all of those: each client's :class:`Follower` knows.

There is no gzip trailer (RFC 1952 §2.3.1): its checksum would be of each client's own bytes, and
nobody waits for the end of a stream.
"""

from __future__ import annotations

import zlib
from collections import deque
from functools import cached_property
from typing import Final

# RFC 1952 §2.3: deflate, no flags, no time, Unix.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
LEVEL: Final = 4  # 9 gains 3 % more for three times the work
WORTH_COMPRESSING: Final = 160  # bytes; below that a block gains nothing
LINKED_FRAMES: Final = 32  # more gain little, for the few clients that miss none for so long
LINKED_BYTES: Final = 8 * 1024  # a compressor reads them anew for each frame
LINKED_LEVEL: Final = 6  # frames are short: the better search costs next to nothing
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

    line: Line | None = None
    place = 0  # in its line
    window = b""  # the end of what came before it there
    reach = 0  # how many frames the window is of

    @cached_property
    def chunk(self) -> bytes:
        return chunk(self)

    @cached_property
    def block(self) -> bytes:
        return block(self)

    @cached_property
    def block_chunk(self) -> bytes:
        return chunk(self.block)

    @cached_property
    def linked(self) -> bytes:
        """Deflate blocks for a client whose last bytes were ``window``."""
        if not self.window:
            return self.block
        deflate = zlib.compressobj(LINKED_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=self.window)
        linked = deflate.compress(self) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return linked if len(linked) < len(self.block) else self.block

    @cached_property
    def linked_chunk(self) -> bytes:
        return chunk(self.linked)


class Line:
    """The frames of one channel, as whoever misses none of them gets them."""

    __slots__ = ("_next", "_sizes", "_window")

    def __init__(self) -> None:
        self._next = 0
        self._window = b""
        self._sizes: deque[int] = deque()  # of the frames that the window is of

    def add(self, frame: Frame) -> None:
        """``frame`` is the next one. A frame is in one line, once."""
        frame.line, frame.place = self, self._next
        frame.window, frame.reach = self._window, len(self._sizes)
        self._next += 1
        sizes = self._sizes
        sizes.append(len(frame))
        while len(sizes) > LINKED_FRAMES or sum(sizes) - sizes[0] >= LINKED_BYTES:
            sizes.popleft()
        self._window = (self._window + frame)[-min(sum(sizes), LINKED_BYTES) :]


class Follower:
    """Where one client is: which line it follows, and for how many frames without a gap."""

    __slots__ = ("_line", "_place", "_run")

    def __init__(self) -> None:
        self._line: Line | None = None
        self._place = 0
        self._run = 0

    def takes_linked(self, frame: Frame) -> bool:
        """Whether the client, to which ``frame`` goes next, has had all of its window."""
        follows = frame.line is self._line and frame.place == self._place + 1
        run = self._run if follows and frame.line is not None else 0
        self._line, self._place, self._run = frame.line, frame.place, run + 1
        return run >= frame.reach > 0

    def block(self, frame: Frame) -> bytes:
        return frame.linked if self.takes_linked(frame) else frame.block

    def chunk(self, frame: Frame) -> bytes:
        return frame.linked_chunk if self.takes_linked(frame) else frame.block_chunk
