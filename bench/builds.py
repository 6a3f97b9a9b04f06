"""``make builds``: this tree pure and compiled by mypyc, side by side.

    python -m bench.builds                     all hot paths, and the memory of a call
    python -m bench.builds --only fold parse   of the paths, only these

Both builds are copies of this tree that differ in nothing but the compiled modules. They are
measured as the gate measures a commit and its base: instructions by cachegrind, which a busy
machine does not change, and wall time A B B A, of which only the ratio tells something.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.gate import measure
from bench.gate.checkouts import two_trees
from bench.hot_paths import PATHS
from hatch_build import compile_in

_MEMORY: Final = (
    "import asyncio; from bench.figures_memory import memory; "
    "print(*asyncio.run(memory()), sep='\\n')"
)


@contextlib.contextmanager
def both() -> Iterator[tuple[Path, Path]]:
    """(compiled, pure): two copies of this tree."""
    with two_trees(None) as (compiled, pure):
        compile_in(compiled)
        kind = "from livestate.process.build import kind; print(kind())"
        for tree, wanted in ((compiled, "compiled"), (pure, "pure")):
            if run(tree, "-c", kind).strip() != wanted:
                raise measure.Broken(f"{tree} is not the {wanted} build")
        yield compiled, pure


def run(tree: Path, *words: str) -> str:
    """What a program prints in a tree."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tree), "HOME": str(tree)}
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise measure.Broken(f"{tree.name}: {done.stderr[-2000:]}")
    return done.stdout


def paths(compiled: Path, pure: Path, names: list[str]) -> Iterator[str]:
    """A row for each hot path."""
    day = measure.save_day(pure.parent)
    (quick, _), (plain, _) = measure.instructions((compiled, pure), day, names)
    timed = measure.wall(compiled, pure, day, names)
    yield "| hot path | instructions: pure | compiled | ratio | µs: pure | compiled | ratio |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        was, now = plain[name].a_unit, quick[name].a_unit
        slow, fast = (min(timed[name][tree]) * 1e6 for tree in ("base", "head"))
        yield (
            f"| {name} | {was:,.0f} | {now:,.0f} | {now / was:.2f} | {slow:.2f} | {fast:.2f} | "
            f"{fast / slow:.2f} |"
        )


def bytes_a_call(compiled: Path, pure: Path) -> Iterator[str]:
    """What a call takes in memory, as ``python -m bench.figures memory`` finds it."""
    yield "| build | live calls | views | bytes a call: the table | its encoded record |"
    yield "|---|---|---|---|---|"
    for name, tree in (("pure", pure), ("compiled", compiled)):
        yield f"| {name} {run(tree, '-c', _MEMORY).strip().splitlines()[-1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="the pure and the compiled build, side by side")
    parser.add_argument("--only", nargs="+", choices=list(PATHS), help="only these paths")
    options = parser.parse_args()
    with both() as (compiled, pure):
        for line in paths(compiled, pure, options.only or list(PATHS)):
            print(line, flush=True)
        if options.only is None:
            print(*bytes_a_call(compiled, pure), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
