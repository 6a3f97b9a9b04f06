"""A frame's other forms say the same as the frame."""

from __future__ import annotations

import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.runtime.frame import (
    GZIP_HEADER,
    LINKED_BYTES,
    LINKED_FRAMES,
    Follower,
    Frame,
    Line,
    block,
    chunk,
)

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


@settings(max_examples=30)
@given(seed=st.integers(), biggest=st.sampled_from([50, 700, 3 * LINKED_BYTES]))
def test_whatever_a_client_misses_it_reads_what_it_was_sent(seed: int, biggest: int) -> None:
    """Joins, gaps, and frames of its own between those of the line; on one line, then another."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(1, 40)) for _ in range(20)]

    def frame() -> Frame:
        size = chance.randint(0, biggest)
        return Frame(b"".join(chance.choices(words, k=size // 20 + 1)))

    clients = [(Follower(), zlib.decompressobj(-zlib.MAX_WBITS)) for _ in range(4)]
    lines = [Line(), Line()]
    linked = 0
    for _ in range(5 * LINKED_FRAMES):
        line = chance.choices(lines, [200, 1])[0]
        shared, own = frame(), frame()
        line.add(shared)
        for loss, (follower, reader) in zip((0, 0.02, 0.1, 0.5), clients, strict=True):
            for sent in (
                (shared,) if chance.random() > loss else (own, shared)[: chance.randint(0, 2)]
            ):
                data = follower.block(sent)
                linked += data is not sent.block
                assert reader.decompress(data) == sent
    assert linked


def test_a_linked_frame_costs_what_is_new_in_it() -> None:
    line, follower, telling = Line(), Follower(), random.Random(1)
    sizes = []
    for number in range(3 * LINKED_FRAMES):
        told = telling.randbytes(6).hex()
        frame = Frame(b'event: diff\nid: 0123456789abcdef-%d\ndata: {"as_of":%d,"calls":{"%b":'
                      b'{"state":"answered","answered_at":%d,"sip_code":200}}}\n\n'
                      % (number, 1_795_000_000_000 + number, told.encode(), number))  # fmt: skip
        line.add(frame)
        sizes.append((len(follower.block(frame)), len(frame.block)))
    linked, alone = sizes[-1]
    assert linked < alone / 2


@given(st.integers(0, 200_000))
def test_a_block_is_never_much_longer_than_its_frame(size: int) -> None:
    data = zlib.compress(b"x" * 10) * (size // 18)  # does not compress as it is
    assert len(block(data)) <= len(data) + 5 * (1 + len(data) // 0xFFFF)


def test_a_form_is_made_once() -> None:
    frame = Frame(b"x" * 1_000)
    assert frame.block is frame.block
    assert frame.block_chunk == chunk(frame.block)
    assert len(frame.block) < 50
