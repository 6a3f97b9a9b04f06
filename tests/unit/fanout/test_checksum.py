"""The checksum of a piece from those of the whole and of what was before it."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from livestate.fanout.checksum import EMPTY, Checksum
from livestate.fanout.compression import WindowCursor

pieces = st.one_of(
    st.binary(max_size=300),
    st.integers(30_000, 200_000).map(lambda size: (b"livestate" * (size // 9 + 1))[:size]),
)


@given(had=pieces, first=pieces, second=pieces)
def test_a_piece_is_the_difference_of_two_checksums(
    had: bytes, first: bytes, second: bytes
) -> None:
    before = EMPTY.with_bytes(first)
    found = EMPTY.with_bytes(had).with_difference(before, before.with_bytes(second))
    assert found == EMPTY.with_bytes(had).with_bytes(second)


def test_a_stream_of_weeks_has_a_checksum_too() -> None:
    """More bytes than 32 bits count, put together by doubling; and the way there in steps."""
    double, step = EMPTY.with_bytes(bytes(1 << 20)), EMPTY.with_bytes(bytes(1 << 20))
    for _ in range(13):
        double = double.with_difference(EMPTY, double)
    assert double.size == 1 << 33
    crc = EMPTY
    for _ in range(64):
        crc = crc.with_difference(EMPTY, step)
    assert crc == Checksum(zlib.crc32(bytes(64 << 20)), 64 << 20)
    # The same bytes either way.
    assert double.with_difference(EMPTY, step) == step.with_difference(EMPTY, double)


def test_the_trailer_has_the_size_modulo_four_gigabytes() -> None:
    """RFC 1952 §2.3.1: ISIZE. A wall that stays for months gets more."""
    for size, told in ((0, 0), (2**32 - 1, 2**32 - 1), (2**32, 0), (2**33 + 5, 5)):
        cursor = WindowCursor()
        cursor._checksum = Checksum(0xABCD, size)
        trailer = cursor.trailer()
        assert trailer[-8:] == (0xABCD).to_bytes(4, "little") + told.to_bytes(4, "little")
