"""``make bench``: every stage of an event's way, one at a time, on the same seeded day.

    python -m bench.stages                    all of them, printed
    python -m bench.stages fold fan_out       only these
    python -m bench.stages --write            all of them, into docs/stages.md and docs/stages.png

pytest-benchmark runs them; everything it measured lies in .benchmarks/stages.json afterwards.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.peers.__main__ import table
from bench.stages.plot import draw
from bench.stages.results import Result, read

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".benchmarks" / "stages.json"
PAGE: Final = ROOT / "docs" / "stages.md"
PICTURE: Final = PAGE.with_suffix(".png")
# In the order of an event's way, and what is timed of each.
STAGES: Final = {
    "parse": "bytes to an event",
    "fold": "events into a table until it has so many calls",
    "since": "the last twenty changes of a table",
    "encode": "those twenty as a diff, framed",
    "compress": "that diff as a block that all gzip clients share",
    "link": "the same, referring to the frames before it, for who has had them",
    "snapshot": "all calls of a table, none encoded before",
    "project": "1,000 changed calls of a table, until a real Valkey has them",
    "ingest": "50,000 messages through a real NATS, until all are folded and in Redis",
    "fan_out": "one change after quiet, from its publishing until the last client has it",
    "latency": "200 events/s to 100 clients: each delivery, from the publishing of its event",
}


def run(which: list[str]) -> list[Result]:
    """The stages by pytest-benchmark. Raises SystemExit when one fails."""
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.unlink(missing_ok=True)
    words = [
        "-m", "pytest", str(Path(__file__).parent), "-k", " or ".join(which),
        "--benchmark-enable", "--benchmark-disable-gc", "--benchmark-max-time=0.5",
        "--benchmark-quiet", f"--benchmark-json={KEPT}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise SystemExit("a stage failed")
    order = list(STAGES)
    return sorted(read(KEPT), key=lambda one: order.index(one.stage))


def page(results: list[Result]) -> list[str]:
    rows = [
        (
            one.stage,
            one.size,
            f"{one.best:,.1f} µs",
            f"{one.median:,.1f} µs",
            one.unit,
            f"{one.rounds:,} × {one.units:,}",
        )
        for one in results
    ]
    return [
        "<!-- made by `make bench` -->",
        "# What each stage costs",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}), Python {platform.python_version()}. The same seeded day for all, "
        "one stage at a time: `python -m bench.stages <stage>`. The clock stops when the queues "
        "are empty: Redis has every call, NATS has nothing left, the last client has the last "
        "frame. On a noisy machine believe the best round, and ratios.",
        "",
        *table(("stage", "with", "best", "median", "each", "rounds × units"), rows),
        "",
        *(f"- **{stage}**: {what}." for stage, what in STAGES.items()),
        "",
        *sockets([one for one in results if one.stage == "fan_out"]),
        *latency([one for one in results if one.stage == "latency"]),
    ]


def sockets(results: list[Result]) -> list[str]:
    rows = [
        (
            f"{one.units:,}",
            f"{one.best * one.units / 1e3:.1f} ms",
            f"{one.median * one.units / 1e3:.1f} ms",
            f"{one.extra['cpu_us']:.1f} µs",
            f"{one.extra['receiver_us']:.1f} µs",
        )
        for one in results
    ]
    return (
        [
            "## Fan-out to real sockets",
            "",
            "The service as it ships on one core, everything else on the others. CPU is that of "
            "changes without a pause between them; with one client it is the cost of an event.",
            "",
            *table(
                (
                    "clients",
                    "until the last has it: best",
                    "median",
                    "service CPU a delivery",
                    "receiver CPU a delivery",
                ),
                rows,
            ),
            "",
        ]
        if rows
        else []
    )


def latency(results: list[Result]) -> list[str]:
    return [
        line
        for one in results
        for line in (
            "## Publish → client",
            "",
            f"{one.extra['deliveries']:,} deliveries: "
            + ", ".join(f"p{n} {ms:.1f} ms" for n, ms in one.extra["percentiles_ms"].items())
            + f"; {one.extra['cpu_us']:.0f} µs of the service's CPU for each.",
            "",
        )
    ]


def write(results: list[Result], lines: list[str]) -> None:
    draw(results, PICTURE)
    picture = f"![What one piece of work costs as calls and clients grow]({PICTURE.name})"
    PAGE.write_text("\n".join([*lines, "## As work grows", "", picture, ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description="what each stage of an event's way costs")
    parser.add_argument("which", nargs="*", help=", ".join(STAGES))
    parser.add_argument("--write", action="store_true", help=f"all, into docs/{PAGE.name} and .png")
    asked = parser.parse_args()
    if unknown := set(asked.which) - set(STAGES):
        parser.error(f"no stage is called {sorted(unknown)[0]}")
    if asked.write and asked.which:
        parser.error("--write is for all stages: a page of some would lack the others")
    results = run(asked.which or list(STAGES))
    lines = page(results)
    print("\n".join(lines))
    if asked.write:
        write(results, lines)


if __name__ == "__main__":
    main()
