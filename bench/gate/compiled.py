"""G1 of the compiled build: instructions of HEAD compiled by mypyc, against its compiled base.

A change can leave the pure build as it was and slow the compiled one: a value that no longer fits
a native type, a call that is no longer bound early. The gate compiles both of its trees, once all
else is measured in them, and counts the instructions of the paths whose work is in compiled
modules. Trees of the same source are compiled once (:mod:`bench.both_builds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.both_builds import NotMeasured, compile_tree, digest
from bench.gate import measure, rows
from bench.gate.rows import Row, most

PATHS: Final = ("fold", "snapshot", "project")


def g1_compiled(head: Path, base: Path, day: Path, names: Iterable[str]) -> tuple[list[Row], str]:
    """A row for each of these paths that is compiled, and why there is none. ``head`` and ``base``
    are compiled in place."""
    chosen = [name for name in PATHS if name in names]
    if not chosen:
        return [], ""
    try:
        if digest(head) == digest(base):
            compile_tree(head)  # the base then takes what was made
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(compile_tree, (head, base)))
        (now, lacking), (then, _) = measure.instructions((head, base), day, chosen)
    except NotMeasured as reason:
        return [], str(reason)
    if lacking:
        raise measure.Broken(f"the compiled head cannot do {lacking}")
    made = []
    for name, one in now.items():
        before = then.get(name)
        row = rows.counted(f"compiled {name}", one.a_unit, before.a_unit if before else None)
        if before is not None and row.verdict in ("FAIL", "warn"):
            row.grew = most(one.by_function, before.by_function, "instructions in C")
        made.append(row)
    return made, ""
