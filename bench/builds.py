"""``make builds``: this tree pure and compiled by mypyc, side by side.

    python -m bench.builds                     the paths that are compiled, and the memory of a call
    python -m bench.builds --only fold parse   of all paths, only these
    python -m bench.builds --minutes 10        leave out what is not begun by then

Measured as the gate measures a commit and its base: instructions by cachegrind, which a busy
machine does not change, and wall time A B B A, of which only the ratio tells something. One path
after the other, so that a machine that is too busy shows some of them and says which it left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.both_builds import NotMeasured, both, run, say
from bench.gate import measure
from bench.hot_paths import PATHS

# Those whose work is in compiled modules.
COMPILED_PATHS: Final = ("fold", "snapshot", "project", "encode", "since")
_MEMORY_SECONDS: Final = 120.0
_MEMORY: Final = (
    "import asyncio; from bench.figures_memory import memory; "
    "print(*asyncio.run(memory()), sep='\\n')"
)


def path_row(pure: Path, compiled: Path, day: Path, name: str) -> str:
    """Instructions and wall time of one hot path."""
    (plain, _), (quick, _) = measure.instructions((pure, compiled), day, [name])
    timed = measure.wall(compiled, pure, day, [name])[name]
    was, now = plain[name].a_unit, quick[name].a_unit
    slow, fast = (min(timed[tree]) * 1e6 for tree in ("base", "head"))
    return (
        f"| {name} | {was:,.0f} | {now:,.0f} | {now / was:.2f} | {slow:.2f} | {fast:.2f} | "
        f"{fast / slow:.2f} |"
    )


def paths(
    pure: Path, compiled: Path, names: list[str], began: float, until: float
) -> Iterator[str]:
    """A row for each hot path."""
    day = measure.save_day(pure.parent)
    yield "| hot path | instructions: pure | compiled | ratio | µs: pure | compiled | ratio |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        if time.perf_counter() > until:
            yield f"| {name} | NOT MEASURED: the time was over before it began |"
            continue
        say(began, name)
        try:
            yield path_row(pure, compiled, day, name)
        except (measure.Broken, subprocess.TimeoutExpired) as reason:
            yield f"| {name} | NOT MEASURED: {str(reason)[-200:]} |"


def bytes_a_call(pure: Path, compiled: Path, began: float) -> Iterator[str]:
    """What a call takes in memory, as ``python -m bench.figures memory`` finds it."""
    yield "| build | live calls | views | bytes a call: the table | its encoded record |"
    yield "|---|---|---|---|---|"
    for name, tree in (("pure", pure), ("compiled", compiled)):
        say(began, f"memory, {name}")
        try:
            yield f"| {name} {run(tree, _MEMORY_SECONDS, '-c', _MEMORY).strip().splitlines()[-1]}"
        except NotMeasured as reason:
            yield f"| {name} | NOT MEASURED: {reason} |"


def main() -> int:
    parser = argparse.ArgumentParser(description="the pure and the compiled build, side by side")
    parser.add_argument("--only", nargs="+", choices=list(PATHS), help="only these paths")
    parser.add_argument("--minutes", type=float, default=4.0, help="begin no path after so many")
    options = parser.parse_args()
    began = time.perf_counter()
    say(began, "compiling a copy of this tree")
    try:
        with both() as (pure, compiled):
            if options.only is None:  # first: no machine is too busy for it
                print(*bytes_a_call(pure, compiled, began), "", sep="\n", flush=True)
            names = options.only or list(COMPILED_PATHS)
            until = began + options.minutes * 60
            missing = 0
            for line in paths(pure, compiled, names, began, until):
                missing += "NOT MEASURED" in line
                print(line, flush=True)
    except NotMeasured as reason:
        print(f"INVALID: {reason}", file=sys.stderr)
        return 3
    if missing:
        print(f"INVALID: {missing} of {len(names)} paths were not measured", file=sys.stderr)
    say(began, "done")
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
