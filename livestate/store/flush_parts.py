"""Divides what a flush writes into calls of ``flush.lua``, and lays out their arguments. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from livestate.store.last_written import Batch

SCOPES_A_PART: Final = 5_000  # version numbers of companies: with the longest names 1.5 MB


Fields = list[tuple[str, str]]  # of the hash ``scopes``; an empty value removes the field


# The order is what makes a crash between two calls harmless. A batch may delete tombstones, so the
# floors above them go before it; a client that is behind a floor takes a snapshot. The versions go
# behind the batch, so that no stored version is higher than what is stored of its view.
def script_calls(batch: Batch, before: Fields, after: Fields) -> Iterator[tuple[Batch, Fields]]:
    """One batch with the fields of ``scopes`` that go ``before`` and ``after`` it: the calls of the
    script in their order, mostly one. None has more than ``SCOPES_A_PART`` fields."""
    while len(before) > SCOPES_A_PART:
        yield Batch(), before[:SCOPES_A_PART]
        before = before[SCOPES_A_PART:]
    if len(before) + len(after) > SCOPES_A_PART:
        yield batch, before
        batch, before = Batch(), []
    while len(after) > SCOPES_A_PART:
        yield Batch(), after[:SCOPES_A_PART]
        after = after[SCOPES_A_PART:]
    yield batch, before + after


def script_arguments(batch: Batch, fields: Fields) -> Iterator[bytes | str | int]:
    """ARGV[8] and all behind it, as ``flush.lua`` describes them."""
    yield len(batch.live) // 3
    yield from batch.live
    yield len(batch.ended) // 2
    yield from batch.ended
    yield len(batch.gone)
    yield from batch.gone
    yield len(fields)
    for field in fields:
        yield from field
