"""``make gate``: HEAD against its merge-base, in one job.

    python -m bench.gate                        the base is found, see bench/gate/checkouts.py
    python -m bench.gate --base COMMIT          against that one
    python -m bench.gate --only parse fold      of the paths, only these

G0 counted work, exact · G1 instructions by cachegrind, of the pure and of the compiled build, warns
at 3 %, fails at 8 % · G2 wall clock A B B A, fails when the best of head is over 1.15 × the worst
of base's best, twice · G3 budgets · G4 what each panel costs at 1,000 events a second, fails above
2 % of a core (bench/gate/panels.py). Without a compiler it says that the compiled build is missing.
All that was measured lies in .benchmarks/gate.json afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from bench.gate import accepted, checkouts, measure, panels, rows
from bench.gate.compiled import g1_compiled
from bench.gate.rows import Row, most
from bench.hot_paths import PATHS

BUDGETS: Final = checkouts.ROOT / "bench" / "budgets.toml"
KEPT: Final = checkouts.ROOT / ".benchmarks" / "gate.json"


def g0(head: Path, base: Path, day: Path) -> list[Row]:
    now, then = (measure.walk(tree, day, "counters") for tree in (head, base))
    if now["lacking"]:
        raise measure.Broken(f"head cannot be counted: {now['lacking']}")
    return [rows.exact(name, n, then["counted"].get(name)) for name, n in now["counted"].items()]


def g1(head: Path, base: Path, day: Path, names: list[str]) -> list[Row]:
    (now, lacking), (then, lacked) = measure.instructions((head, base), day, names)
    made = []
    for name, one in now.items():
        before = then.get(name)
        row = rows.counted(name, one.a_unit, before.a_unit if before else None)
        row.why = lacked.get(name, "") if before is None else ""
        if before is not None and row.verdict in ("FAIL", "warn"):
            row.grew = grown(head, base, day, name) + most(
                one.by_function, before.by_function, "instructions in C"
            )
        made.append(row)
    if lacking:  # also where its base lacks it: else a removed path goes unnoticed
        raise measure.Broken(f"head cannot do {lacking}")
    return made


def grown(head: Path, base: Path, day: Path, name: str) -> list[str]:
    """Which of our functions execute more bytecodes than before."""
    now, then = (measure.walk(tree, day, "bytecodes", name) for tree in (head, base))
    return most(now, then, "bytecodes")


def g2(head: Path, base: Path, day: Path, names: list[str]) -> list[Row]:
    """Wall time. A path that seems slower is measured again: the machine may have been slow."""
    found = measure.wall(head, base, day, names)
    slower = [n for n, t in found.items() if rows.timed(n, **t).verdict == "FAIL"]
    if slower:
        for name, by_tree in measure.wall(head, base, day, slower).items():
            for tree, seconds in by_tree.items():
                found[name][tree] += seconds
    return [rows.timed(name, **by_tree) for name, by_tree in found.items() if by_tree["head"]]


def g3(timed: list[Row]) -> list[Row]:
    budgets = tomllib.loads(BUDGETS.read_text())["microseconds"]
    found = {row.measure.removeprefix("G2 "): row.head for row in timed}
    return [rows.budgeted(name, found[name], n) for name, n in budgets.items() if name in found]


def g4(head: Path) -> list[Row]:
    """Each panel, of this commit alone: the limit is absolute."""
    day = measure.save_day(head.parent, panels.MESSAGES)
    ((found, _),) = measure.instructions((head,), day, list(panels.PANELS), "panel")
    made = []
    for name, one in found.items():
        row = panels.row(name, one.a_unit)
        row.grew = most(one.by_function, {}, "instructions in C") if row.verdict == "FAIL" else []
        made.append(row)
    return made


def measured(head: Path, base: Path, names: list[str], *, counters: bool = True) -> list[Row]:
    """Everything, of two trees."""
    day = measure.save_day(head.parent)
    made = g0(head, base, day) if counters else []
    made += g1(head, base, day, names)
    timed = g2(head, base, day, names)
    made += timed + g3(timed) + (g4(head) if counters else [])
    compiled, why = g1_compiled(head, base, day, names)  # last: it compiles the trees in place
    if why:
        print(f"NOT MEASURED: the compiled build: {why}", file=sys.stderr)
    return made + compiled


def main() -> int:
    parser = argparse.ArgumentParser(description="what this commit costs against its merge-base")
    parser.add_argument("--base", help="the commit to compare with")
    parser.add_argument("--only", nargs="+", choices=list(PATHS), help="only these paths")
    options = parser.parse_args()
    began = time.perf_counter()
    allowed, wrong = accepted.read(accepted.PATH.read_text(), date.today())
    try:
        base = checkouts.base_of(options.base)
    except checkouts.NoBase as reason:
        print(
            f"\n*** THE GATE COMPARED NOTHING: there is no base. ***\n{reason}\n"
            "A clone with history, or BASE=<commit>, has one.\n",
            file=sys.stderr,
        )
        return 0 if options.base is None else 2
    print(f"base: {checkouts.named(base)}")
    with checkouts.two_trees(base) as (head_tree, base_tree):
        made = measured(
            head_tree, base_tree, options.only or list(PATHS), counters=options.only is None
        )
    for row in made:
        rows.accept(row, allowed)
        print(row.line())
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps({"base": base, "rows": [asdict(row) for row in made]}, indent=1))
    until = (date.today() + timedelta(days=30)).isoformat()
    failed = [row for row in made if row.verdict == "FAIL"]
    for row in failed:
        print("\n" + rows.explained(row, base, until), file=sys.stderr)
    for problem in wrong:
        print(f"error: bench/accepted.toml: {problem}", file=sys.stderr)
    print(f"{len(made)} measures, {len(failed)} failed, {time.perf_counter() - began:.0f} s")
    return int(bool(failed or wrong))


if __name__ == "__main__":
    sys.exit(main())
