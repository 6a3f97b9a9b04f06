"""A frame's other forms say the same as the frame."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from livestate.runtime.frame import GZIP_HEADER, Frame, block, chunk

texts = st.one_of(st.binary(max_size=2_000), st.text(min_size=500).map(str.encode))


@given(frames=st.lists(texts, min_size=1, max_size=6), joined=st.integers(0, 5))
def test_gzip_clients_share_blocks_whenever_they_joined(frames: list[bytes], joined: int) -> None:
    shared = [Frame(frame) for frame in frames]
    mine = shared[joined:]
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    told = reader.decompress(GZIP_HEADER)
    for frame in mine:  # each is whole when it has come, with nothing kept back
        told += reader.decompress(frame.block)
        assert told.endswith(bytes(frame))
    assert told == b"".join(mine)


@given(st.integers(0, 200_000))
def test_a_block_is_never_much_longer_than_its_frame(size: int) -> None:
    data = zlib.compress(b"x" * 10) * (size // 18)  # does not compress as it is
    assert len(block(data)) <= len(data) + 5 * (1 + len(data) // 0xFFFF)


def test_a_form_is_made_once() -> None:
    frame = Frame(b"x" * 1_000)
    assert frame.block is frame.block
    assert frame.block_chunk == chunk(frame.block)
    assert len(frame.block) < 50
