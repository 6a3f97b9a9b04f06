"""A frame's other forms say the same as the frame."""

from __future__ import annotations

import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.fanout.compression import (
    CONTEXT_BYTES,
    CONTEXT_FRAMES,
    GZIP_HEADER,
    CompressionWindow,
    WindowCursor,
    independent,
)
from livestate.fanout.frame import Frame, Part, chunk
from tests.examples import examples

FLUSH = b"\x00\x00\xff\xff"  # the end of an empty stored block
texts = st.one_of(st.binary(max_size=2_000), st.text(min_size=500).map(str.encode))


@given(frames=st.lists(texts, min_size=1, max_size=6), joined=st.integers(0, 5))
def test_gzip_clients_share_blocks_whenever_they_joined(frames: list[bytes], joined: int) -> None:
    shared = [Frame(frame) for frame in frames]
    mine = shared[joined:]
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    inflated = reader.decompress(GZIP_HEADER)
    cursor = WindowCursor()
    for frame in mine:  # each is whole when it has come, with nothing kept back
        inflated += reader.decompress(frame.deflated(cursor))
        assert inflated.endswith(bytes(frame))
        assert frame.independent.endswith(FLUSH)
    assert inflated == b"".join(mine)
    assert reader.decompress(cursor.trailer()) == b""  # zlib checks length and CRC-32
    assert reader.eof


@settings(max_examples=examples(30))
@given(seed=st.integers(), biggest=st.sampled_from([50, 700, 3 * CONTEXT_BYTES]))
def test_whatever_a_client_misses_it_reads_what_it_was_sent(seed: int, biggest: int) -> None:
    """Joins, gaps, frames of its own between those of the window; one window, then another."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(1, 40)) for _ in range(20)]

    def frame() -> Frame:
        size = chance.randint(0, biggest)
        return Frame(b"".join(chance.choices(words, k=size // 20 + 1)))

    clients = [(WindowCursor(), zlib.decompressobj(zlib.MAX_WBITS | 16)) for _ in range(4)]
    for _, reader in clients:
        reader.decompress(GZIP_HEADER)
    windows = [CompressionWindow(), CompressionWindow()]
    contextual = 0
    for _ in range(5 * CONTEXT_FRAMES):
        window = chance.choices(windows, [200, 1])[0]
        shared, own = frame(), frame()
        shared.enter(window)
        for loss, (cursor, reader) in zip((0, 0.02, 0.1, 0.5), clients, strict=True):
            for sent in (
                (shared,) if chance.random() > loss else (own, shared)[: chance.randint(0, 2)]
            ):
                data = sent.deflated(cursor)
                contextual += data is not sent.independent
                assert reader.decompress(data) == sent
                assert data.endswith(FLUSH)
    assert contextual
    for cursor, reader in clients:
        reader.decompress(cursor.trailer())
        assert reader.eof


def test_a_contextual_frame_costs_what_is_new_in_it() -> None:
    window, cursor, telling = CompressionWindow(), WindowCursor(), random.Random(1)
    sizes = []
    for number in range(3 * CONTEXT_FRAMES):
        detail = telling.randbytes(6).hex()
        frame = Frame(
            b'event: diff\nid: 0123456789abcdef-%d\ndata: {"as_of":%d,"calls":{"%b":'
            b'{"state":"answered","answered_at":%d,"sip_code":200}}}\n\n'
            % (number, 1_795_000_000_000 + number, detail.encode(), number)
        )
        frame.enter(window)
        sizes.append((len(frame.deflated(cursor)), len(frame.independent)))
    contextual, alone = sizes[-1]
    assert contextual < alone / 2


@given(st.integers(0, 200_000))
def test_a_block_is_never_much_longer_than_its_frame(size: int) -> None:
    data = zlib.compress(b"x" * 10) * (size // 18)  # does not compress as it is
    assert len(independent(data)) <= len(data) + 5 * (2 + len(data) // 0xFFFF)


def test_a_form_is_made_once() -> None:
    frame = Frame(b"x" * 1_000)
    assert frame.independent is frame.independent
    assert frame.independent_chunk == chunk(frame.independent)
    assert len(frame.independent) < 50


def test_a_chunk_is_its_length_in_hex_and_its_data() -> None:
    frame = Frame(b"x" * 300)
    assert chunk(b"data: {}") == b"8\r\ndata: {}\r\n"
    assert frame.chunk == b"12c\r\n" + b"x" * 300 + b"\r\n"
    part = Part(b"y" * 300)
    assert part.chunk == b"12c\r\n" + b"y" * 300 + b"\r\n"
    assert part.independent_chunk == chunk(part.independent)
    assert (frame.from_version, frame.to_version) == (0, 0), "it changes no state"


def test_a_client_that_has_had_the_window_takes_the_contextual_form_plain_or_in_chunks() -> None:
    window, plain, chunked = CompressionWindow(), WindowCursor(), WindowCursor()
    for number in range(3):
        frame = Frame(b"event: diff %d" % number + bytes(range(200)))
        if number == 0:
            assert frame.contextual == frame.independent, "in no window"
        frame.enter(window)
        form = frame.contextual if number else frame.independent
        assert frame.deflated(plain) == form
        assert frame.deflated_chunk(chunked) == chunk(form)
        assert frame.deflated(WindowCursor()) == frame.independent
        assert (len(frame.contextual) < len(frame.independent)) is (number > 0)
    once = Frame(b"event: diff 3" + bytes(range(200)))
    once.enter(window)
    assert once.deflated(plain) is once.contextual
    assert "independent" not in vars(once), "compressed a second time, and not sent"
    noise = Frame(random.Random(1).randbytes(500))
    noise.enter(window)
    assert noise.contextual is noise.independent, "the context gains nothing"
    own = Frame(b"of this client only")
    assert own.deflated(plain) == own.independent
    after = Frame(b"event: diff 4" + bytes(range(200)))
    after.enter(window)
    assert after.deflated(plain) == after.independent


def test_a_window_remembers_thirty_two_frames_and_eight_kilobytes() -> None:
    window = CompressionWindow()
    found = [window.add(b"%04d" % number) for number in range(40)]
    assert [context.place for context in found] == list(range(40))
    assert [context.frames for context in found] == [*range(33), *[32] * 7]
    assert [context.data for context in found] == [
        b"".join(b"%04d" % number for number in range(max(0, place - 32), place))
        for place in range(40)
    ]
    window = CompressionWindow()
    frames = [bytes([65 + number]) * size for number, size in
              enumerate((4_096, 4_096, 4_096, 4_095, 1, 9_000, 8_191, 10, 10))]  # fmt: skip
    found = [window.add(frame) for frame in frames]
    assert [context.frames for context in found] == [0, 1, 2, 2, 3, 3, 1, 2, 2]
    for context, number in zip(found, range(9), strict=True):
        before = b"".join(frames[number - context.frames : number])
        assert context.data == before[-8_192:]


def test_short_data_is_stored_and_long_data_is_compressed_where_it_gains() -> None:
    end = b"\0\0\0\xff\xff"  # an empty block, where the next form may follow
    assert independent(b"a" * 159) == b"\0\x9f\0\x60\xff" + b"a" * 159 + end
    assert len(independent(b"a" * 160)) < 20
    noise = random.Random(2).randbytes(70_000)
    stored = independent(noise)
    assert len(stored) == 70_015, "blocks of 65,535 bytes at most"
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored) == noise
