"""``make peers``: livestate beside what a user would pick instead, in one run, into
docs/benchmarks.md.

    python -m bench.peers                 all contests, printed
    python -m bench.peers fanout storm    only these
    python -m bench.peers --write         all of them, into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench.machine import OTHER_CORES, SERVER_CORE, many_files
from bench.peers import scenarios
from bench.peers.contestants import (
    CONTESTANTS,
    FRAME_BYTES,
    Livestate,
    Missing,
    Nchan,
    SseStarlette,
)

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"


class Verdict(NamedTuple):
    """One row of what must be reached. ``reached`` compares with a floor and a goal, both met when
    it is at least (or, with ``at_most``, at most) so much."""

    what: str
    floor: str
    goal: str
    measured: str
    standing: str


def judged(
    what: str, value: float, floor: float, goal: float, unit: str, *, at_most: bool = False
) -> Verdict:
    def met(limit: float) -> bool:
        return value <= limit if at_most else value >= limit

    standing = "goal" if met(goal) else "floor" if met(floor) else "**not reached**"
    sign = "≤" if at_most else "≥"
    return Verdict(
        what, f"{sign} {floor:g}{unit}", f"{sign} {goal:g}{unit}", f"{value:.3g}{unit}", standing
    )


def unmeasured(what: str, why: str) -> Verdict:
    return Verdict(what, "", "", why, "**not measured**")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


Told = tuple[list[str], list[Verdict]]  # lines for the page, and what they say of the floors


async def fanout() -> Told:
    """The same frames to the same clients"""
    measured, missing = await scenarios.side_by_side(CONTESTANTS)
    rows = []
    for name, one in measured.items():
        seen = one.deliveries / one.published
        cost = one.receiver_cpu / max(one.deliveries, 1) * 1e6
        rows.append(
            (
                name,
                one.wire,
                f"{one.per_cpu_second:,.0f}",
                f"{one.server_cpu / one.seconds:.0%}",
                f"{one.percentile(50):.1f} ms",
                f"{one.percentile(99):.1f} ms",
                f"{one.bytes / one.published:,.0f}",
                f"{seen:.0%}",
                f"{min(one.idle_bytes) / 1024:.1f} KB",
                f"{cost:.0f} µs, {one.receiver_cpu / one.seconds:.0%} of its core",
            )
        )
    lines = [
        f"{scenarios.CLIENTS:,} clients, {FRAME_BYTES} bytes a frame, {scenarios.RATE} frames/s "
        f"for {scenarios.SECONDS} s, twice, there and back again (A B C C B A). The clock stops "
        "when the last client has the last frame.", "",
        *table(("server", "wire", "deliveries a CPU-second", "of its core", "p50", "p99",
                "bytes a frame and client", "frames seen", "memory an idle client",
                "the receiver"), rows), "",
        "Frames seen: who polls every second sees the newest of ten. Its latency is that of rare "
        "changes, each of which it sees. livestate also parses, folds, writes Redis, checks "
        "logins, skips slow clients and can resume; the others hand on finished frames.",
        *(f"\n**{name} is missing**: {why}" for name, why in missing.items()),
    ]  # fmt: skip
    verdicts = []
    for kind, floor, goal in ((Nchan, 0.7, 1.0), (SseStarlette, 3.0, 5.0)):
        what = f"deliveries per CPU-second against {kind.name}"
        absent = [missing[one.name] for one in (Livestate, kind) if one.name not in measured]
        if absent:
            verdicts.append(unmeasured(what, "; ".join(absent)))
        else:
            ratio = measured[Livestate.name].per_cpu_second / measured[kind.name].per_cpu_second
            verdicts.append(judged(what, ratio, floor, goal, " ×"))
    return lines, verdicts


async def crowd() -> Told:
    """5,000 clients × 10 frames/s in one process"""
    rows, verdicts = [], []
    current, idle = "5,000 clients × 10 frames/s, all current: p99", "memory per idle stream"
    for kind in (Livestate, Nchan):
        try:
            one = await scenarios.crowd(kind)
        except (Missing, scenarios.TooFew) as reason:
            rows.append((kind.name, str(reason), "", "", "", "", "", ""))
            if kind is Livestate:
                verdicts = [unmeasured(what, str(reason)) for what in (current, idle)]
            continue
        rows.append(
            (
                kind.name,
                f"{one.clients - one.behind:,} of {one.clients:,}",
                f"{one.p50:.0f} ms",
                f"{one.p99:.0f} ms",
                f"{one.deliveries / one.published:.0%}",
                f"{one.idle_bytes / 1024:.1f} KB",
                f"{one.server_share:.0%}",
                f"{one.receiver_share:.0%}",
            )
        )
        if kind is Livestate:
            p99 = math.inf if one.behind else one.p99
            verdicts = [
                judged(current, p99, 250, 100, " ms", at_most=True),
                judged(idle, one.idle_bytes / 1024, 20, 12, " KB", at_most=True),
            ]
    return table(
        (
            "server",
            "current at the end",
            "p50",
            "p99",
            "frames seen",
            "memory an idle client",
            "server's core",
            "receiver's core",
        ),
        rows,
    ), verdicts


async def storm() -> Told:
    """10,000 reconnects at once"""
    what = "10,000 reconnects at once, all current"
    try:
        one = await scenarios.storm()
    except scenarios.TooFew as reason:
        return [str(reason)], [unmeasured(what, str(reason))]
    cost = one.server_cpu / one.clients * 1e3
    seconds = math.inf if one.behind or one.refused else one.seconds
    lines = [
        f"All {one.clients:,} cut and back in the same moment, each with a login of its own and "
        f"its Last-Event-ID; a call changed meanwhile. After {one.seconds:.1f} s "
        f"{one.clients - one.behind - one.refused:,} had it, {one.refused:,} were refused, "
        f"{one.behind:,} still waited. {cost:.2f} ms of the server's CPU for each."
    ]
    return lines, [judged(what, seconds, 15, 5, " s", at_most=True)]


async def slow() -> Told:
    """One slow client among 1,000"""
    what = "one slow client among 1,000: p99 of the others"
    try:
        one = await scenarios.one_slow()
    except scenarios.TooFew as reason:
        return [str(reason)], [unmeasured(what, str(reason))]
    alone, beside = min(one.alone), min(one.beside)
    fine = beside <= 1.25 * alone + 5 and not one.behind and one.caught_up
    lines = [
        f"20 frames/s; one client stops reading and its pipe is full. p99 of the others: "
        f"{alone:.1f} ms without it ({spread(one.alone)}), {beside:.1f} ms beside it "
        f"({spread(one.beside)}; A B B A twice, the smallest of each). The slow one "
        f"skipped {one.skipped} frames and "
        f"{'was current as soon as it read again' if one.caught_up else 'NEVER caught up'}."
    ]
    return lines, [
        Verdict(
            what,
            "unchanged (≤ 1.25 × + 5 ms)",
            "same",
            f"{alone:.1f} → {beside:.1f} ms",
            "goal" if fine else "**not reached**",
        )
    ]


def spread(rounds: list[float]) -> str:
    return ", ".join(f"{one:.0f}" for one in rounds)


async def busy() -> Told:
    """Bytes to one client in a busy hour of 1,000 calls a minute"""
    one = await scenarios.busy_hour()
    ways = [
        ("one uncompressed SSE event a message", one.one_event_a_message),
        ("livestate", one.plain),
    ]
    if one.gzip is not None:
        ways.append(("livestate, gzip", one.gzip))
    rows = [
        (what, f"{size / 1e6:.1f} MB", f"1/{one.one_event_a_message / size:.1f}")
        for what, size in ways
    ]
    best = one.one_event_a_message / (one.gzip or one.plain)
    lines = [
        f"{one.events:,} events in {one.seconds:.0f} s of real time, with snapshot and heartbeats, "
        "scaled to an hour.",
        "",
        *table(("what", "an hour", "of the first"), rows),
        *([] if one.gzip is not None else ["", "The service does not compress yet."]),
    ]
    return lines, [judged("bytes per client in a busy hour: fewer by", best, 4, 8, " ×")]


CONTESTS: Final[dict[str, Callable[[], Awaitable[Told]]]] = {
    "fanout": fanout,
    "crowd": crowd,
    "storm": storm,
    "slow": slow,
    "busy": busy,
}


def head() -> list[str]:
    cores = f"server on core {SERVER_CORE}, everything else on {', '.join(map(str, OTHER_CORES))}"
    if OTHER_CORES == [SERVER_CORE]:
        cores = "ONE core for all: these figures say little"
    return [
        "<!-- made by `make peers` -->",
        "# Beside what one would pick instead",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}; {cores}. Ratios are of this run; on a noisy machine trust "
        "nothing else.",
        "",
    ]


async def held(names: list[str]) -> list[str]:
    """The page: what was reached, then each contest."""
    sections: list[str] = []
    verdicts: list[Verdict] = []
    for name in names:
        print(f"{name}: {CONTESTS[name].__doc__} …", file=sys.stderr, flush=True)
        began = time.perf_counter()
        lines, floors = await CONTESTS[name]()
        print(f"    {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        verdicts += floors
        sections += [
            f"## {CONTESTS[name].__doc__}",
            f"`python -m bench.peers {name}`",
            "",
            *lines,
            "",
        ]
    reached = table(
        ("what it must reach", "floor", "goal", "measured", "reached"),
        [tuple(one) for one in verdicts],
    )
    return [*head(), *reached, "", *sections]


def main() -> None:
    parser = argparse.ArgumentParser(description="livestate beside its peers, in one run")
    parser.add_argument("which", nargs="*", help=", ".join(CONTESTS))
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    if unknown := set(options.which) - set(CONTESTS):
        parser.error(f"no contest is called {sorted(unknown)[0]}")
    many_files()
    page = uvloop.run(held(options.which or list(CONTESTS)))
    print("\n".join(page))
    if options.write:
        PAGE.write_text("\n".join(page))


if __name__ == "__main__":
    main()
