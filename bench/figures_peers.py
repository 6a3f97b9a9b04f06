"""Figures beside others: a crowd of clients beside nchan, and the bytes of a busy hour."""

from __future__ import annotations

from bench.machine import many_files
from bench.peers import scenarios
from bench.peers.contestants import Livestate, Missing, Nchan


async def crowd() -> list[str]:
    """5,000 clients × 10 frames/s: publish → bytes, beside nchan in the same run."""
    many_files()
    rows = [
        "| server | current at the end | p50 | p99 | p99, of nchan's | server's core |",
        "|---|---|---|---|---|---|",
    ]
    p99_of_nchan: float | None = None
    for kind in (Nchan, Livestate):
        try:
            one = await scenarios.crowd(kind)
        except (Missing, scenarios.TooFew) as reason:
            rows.append(f"| {kind.name} | {reason} | | | | |")
            continue
        if kind is Nchan:
            p99_of_nchan = one.p99
        ratio = f"{one.p99 / p99_of_nchan:.2f}" if p99_of_nchan else "nchan is missing"
        rows.append(
            f"| {kind.name} | {one.clients - one.behind:,} of {one.clients:,} | {one.p50:.0f} ms | "
            f"{one.p99:.0f} ms | {ratio} | {one.server_share:.0%} |"
        )
    return rows


async def busy() -> list[str]:
    """Bytes to one client in a busy hour of 1,000 calls a minute."""
    many_files()
    one = await scenarios.busy_hour()
    ways = [
        ("one uncompressed SSE event a message", one.one_event_a_message),
        ("livestate", one.plain),
        *([] if one.gzip is None else [("livestate, gzip", one.gzip)]),
    ]
    return [
        "| what | an hour | of the first |",
        "|---|---|---|",
        *(
            f"| {what} | {size / 1e6:.1f} MB | 1/{one.one_event_a_message / size:.1f} |"
            for what, size in ways
        ),
    ]
