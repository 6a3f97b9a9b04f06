"""Deflate for frames that many clients share: each frame is compressed once, not once a client.

A gzip client gets the gzip header once and then a deflate stream that is put together from shared
pieces, one a frame, each ending at a byte boundary. Deflate (RFC 1951) may refer up to 32 KB back,
which is what makes the second of two similar frames cheap ("context takeover" in WebSocket's
permessage-deflate, RFC 7692). A shared piece may only refer to bytes that *every* client that gets
it has had. So each frame exists in two forms:

* **independent**: refers to nothing before it. Any client can take it at any time.
* **contextual**: compressed with the preceding frames of the view as its dictionary. It costs only
  what is new in it: about half of the independent form for a frame of one call. A client can take
  it if the last bytes of its own stream are exactly those frames, in that order.

A :class:`CompressionWindow` numbers the frames of a view and remembers the bytes that the next one
may refer to. A :class:`WindowCursor`, one a client, counts how many frames in a row the client has
had, and so knows which form it can take next. A frame of the client's own (a catch-up diff, a
snapshot) breaks the row, after which it takes independent forms until it has had the whole window
again.

Each frame ends with an empty stored block, the flush marker of zlib. Readers such as Go's
``compress/flate`` hand on what they have when they see it, and not before (golang/go#14867).

A stream that ends in order has a gzip trailer (RFC 1952 §2.3.1) with the CRC-32 and the length of
the client's own bytes. They are not computed for each client and frame: the window keeps the
checksum of all of its frames, and as long as a client misses none, what it has had is the
difference between two values of the window. :mod:`livestate.fanout.checksum` does that arithmetic.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Final, NamedTuple

from livestate.fanout.checksum import EMPTY, Checksum

# RFC 1952 §2.3: deflate, no flags, no time, Unix.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
LEVEL: Final = 4  # 9 gains 3 % more for three times the work
WORTH_COMPRESSING: Final = 160  # bytes; below that compression gains nothing
CONTEXT_FRAMES: Final = 32  # more gain little, for the few clients that miss none for so long
CONTEXT_BYTES: Final = 8 * 1024  # a compressor reads them anew for each frame
CONTEXT_LEVEL: Final = 6  # frames are short: the better search costs next to nothing
LONG_LEVEL: Final = 5  # of one longer than its context: 6 gains 2 % for twice the work
_STORED_MOST: Final = 0xFFFF  # RFC 1951 §3.2.4
_FLUSH: Final = b"\x00\x00\x00\xff\xff"  # an empty stored block
_LAST_BLOCK: Final = b"\x01\x00\x00\xff\xff"  # the same, and the end of the deflate stream


def independent(data: bytes) -> bytes:
    """Deflate blocks that refer to nothing before them: compressed, or stored where that is
    shorter."""
    if len(data) >= WORTH_COMPRESSING:
        deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        # A full flush ends at a byte and forgets the window.
        compressed = deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)
        if len(compressed) < len(data) + 10:
            return compressed
    blocks = [_stored(data[at : at + _STORED_MOST]) for at in range(0, len(data), _STORED_MOST)]
    return b"".join([*blocks, _FLUSH])


def contextual(data: bytes, context: bytes) -> bytes:
    """Deflate blocks for a client whose last bytes were ``context``."""
    level = CONTEXT_LEVEL if len(data) <= CONTEXT_BYTES else LONG_LEVEL
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=context)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)


def _stored(data: bytes) -> bytes:
    size = len(data)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


class Context(NamedTuple):
    """What one frame may refer to: the ``frames`` before it in its window, whose last bytes are
    ``data``. ``place`` is the frame's own number in the window; ``before`` and ``after`` are the
    checksums of all frames of the window without it and with it."""

    window: CompressionWindow
    place: int
    data: bytes
    frames: int
    before: Checksum
    after: Checksum


class CompressionWindow:
    """The frames of one view in the order in which a client that misses none gets them."""

    __slots__ = ("_checksum", "_data", "_next", "_sizes")

    def __init__(self) -> None:
        self._next = 0
        self._checksum = EMPTY
        self._data = b""
        self._sizes: deque[int] = deque()  # of the frames that ``_data`` is made of

    def add(self, frame: bytes) -> Context:
        """``frame`` is the next one; its context."""
        sizes = self._sizes
        before, after = self._checksum, self._checksum.with_bytes(frame)
        context = Context(self, self._next, self._data, len(sizes), before, after)
        self._next, self._checksum = self._next + 1, after
        sizes.append(len(frame))
        while len(sizes) > CONTEXT_FRAMES or sum(sizes) - sizes[0] >= CONTEXT_BYTES:
            sizes.popleft()
        self._data = (self._data + frame)[-min(sum(sizes), CONTEXT_BYTES) :]
        return context


class PartWindow(CompressionWindow):
    """The parts of one snapshot, in their order. None refers to the one before: a part is longer
    than that would save. The window only has their checksums ready, for all clients."""

    __slots__ = ()

    def add(self, frame: bytes) -> Context:
        before, after = self._checksum, self._checksum.with_bytes(frame)
        self._next, self._checksum = self._next + 1, after
        return Context(self, self._next, b"", 0, before, after)


class WindowCursor:
    """Where one gzip client is: in which window, and for how many frames without a gap. Also the
    checksum of all that it has had."""

    __slots__ = ("_after", "_before", "_checksum", "_place", "_run", "_window")

    def __init__(self) -> None:
        self._window: CompressionWindow | None = None
        self._place = 0
        self._run = 0
        # Of what came before the run, and of the window where the run began and where it is.
        self._checksum = self._before = self._after = EMPTY

    def advance(self, context: Context) -> bool:
        """The frame of ``context`` goes to the client next. Whether the client can take its
        contextual form: it has had all of the frames before."""
        window, place, _, frames, before, after = context
        if window is self._window and place == self._place + 1:
            run = self._run
        else:
            self._end_run()
            self._window, self._before, run = window, before, 0
        self._place, self._run, self._after = place, run + 1, after
        return run >= frames > 0

    def leave(self, frame: bytes) -> None:
        """A frame that is in no window goes to the client next."""
        self._end_run()
        self._checksum = self._checksum.with_bytes(frame)

    def trailer(self) -> bytes:
        """The end of the client's gzip: no frame goes to it after this."""
        self._end_run()
        crc, size = self._checksum
        return _LAST_BLOCK + crc.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")

    def _end_run(self) -> None:
        if self._window is not None:
            self._window = None
            self._checksum = self._checksum.with_difference(self._before, self._after)
