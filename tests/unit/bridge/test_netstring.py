"""Netstrings, in whatever pieces TCP brings them."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.bridge.kamailio.netstring import MAX_BYTES, MAX_LENGTH, BadNetstring, Decoder, encode


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


@pytest.mark.parametrize("wire", [b"x:y,", b"3:abcd", b"-1:,", b"12345678901", b"1 :a,", b":,",
                                  b"%d:" % (MAX_BYTES + 1)])  # fmt: skip
def test_what_is_none_is_said_to_be_none(wire: bytes) -> None:
    with pytest.raises(BadNetstring):
        list(Decoder().feed(wire))


@given(st.integers(1, 40), st.lists(st.integers(1, 60), max_size=6))
def test_of_a_string_that_is_too_long_nothing_is_kept_and_the_next_one_counts(
    over: int, sizes: list[int]
) -> None:
    with patch("livestate.bridge.kamailio.netstring.MAX_BYTES", 20):
        decoder = Decoder(lambda length, head: b"%d" % length)
        wire = encode(b"a") + encode(b"x" * (20 + over)) * 2 + encode(b"b")
        came, at = [], 0
        for size in [*sizes, len(wire)]:
            came.extend(decoder.feed(wire[at : at + size]))
            at += size
            assert len(decoder._buffer) <= 24
    assert came == [b"a", b"%d" % (20 + over), b"%d" % (20 + over), b"b"]


@pytest.mark.parametrize("wire", [b"%d:" % (MAX_LENGTH + 1), b"9999999999:"])
def test_a_length_that_no_kamailio_can_send_is_none(wire: bytes) -> None:
    with pytest.raises(BadNetstring):
        list(Decoder(lambda length, head: b"").feed(wire))


def test_a_string_that_is_too_long_ends_with_a_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livestate.bridge.kamailio.netstring.MAX_BYTES", 3)
    with pytest.raises(BadNetstring):
        list(Decoder(lambda length, head: b"").feed(b"20:01234567890123456789;"))


def test_a_length_that_is_wrong_swallows_nothing() -> None:
    def refuse(length: int, head: bytes) -> bytes:
        raise BadNetstring(f"{head!r}")

    with pytest.raises(BadNetstring, match="0123456789abcdef"):
        list(Decoder(refuse).feed(b"99999999:0123456789abcdefgh"))
