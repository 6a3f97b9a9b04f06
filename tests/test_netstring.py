"""Netstrings, in whatever pieces TCP brings them."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.bridge.netstring import MAX_BYTES, BadNetstring, Decoder, encode


@given(st.lists(st.binary(max_size=300), max_size=8), st.sets(st.integers(0, 1000)))
def test_what_was_sent_comes_out_whole_and_in_order_however_it_was_cut(
    sent: list[bytes], cuts: set[int]
) -> None:
    wire, decoder = b"".join(map(encode, sent)), Decoder()
    edges = [0, *sorted(cuts), len(wire)]
    came = [one for start, stop in pairwise(edges) for one in decoder.feed(wire[start:stop])]
    assert came == sent


@given(st.lists(st.binary(max_size=50), max_size=4), st.binary(max_size=30))
def test_strings_before_a_broken_one_still_count(sent: list[bytes], rest: bytes) -> None:
    came = []
    with suppress(BadNetstring):
        came.extend(Decoder().feed(b"".join(map(encode, sent)) + b"!" + rest))
    assert came == sent


@pytest.mark.parametrize("wire", [b"x:y,", b"3:abcd", b"-1:,", b"123456789", b"1 :a,", b":,",
                                  b"%d:" % (MAX_BYTES + 1)])  # fmt: skip
def test_what_is_none_is_said_to_be_none(wire: bytes) -> None:
    with pytest.raises(BadNetstring):
        list(Decoder().feed(wire))
