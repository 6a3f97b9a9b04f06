"""That the gate can be trusted on this machine: five paths against themselves pass, and 20 % more
work in each of the five is found, five times out of five. So is a panel that counts its calls 16
times.

The extra work is real: every fifth call of a function is done twice. It goes into a copy of the
tree, and through the same measuring and the same judging as any commit.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from bench.gate import panels
from bench.gate.__main__ import g0, g1, g2
from bench.gate.checkouts import two_trees
from bench.gate.measure import instructions, save_day
from bench.gate.rows import Row

_MODULE: Final = """

def _twice(done):
    left = 0

    def again(*arguments, **more):
        nonlocal left
        left += 1
        if left == 5:
            left = 0
            done(*arguments, **more)
        return done(*arguments, **more)

    return again


"""
# path → file, and what in it does a fifth more. Each is a pure function: done twice it only costs.
SLOWED: Final = {
    "parse": ("livestate/contract/parse.py", "parse = _twice(parse)"),
    "fold": ("livestate/state/active_calls.py", "ActiveCalls.apply = _twice(ActiveCalls.apply)"),
    "encode": ("livestate/fanout/patch.py", "diff = _twice(diff)"),
    "snapshot": ("livestate/fanout/patch.py", "record = _twice(record)"),
    "project": ("livestate/store/record.py", "encode = _twice(encode)"),
}  # fmt: skip
ROUNDS: Final = 5
# A panel that is over its share of a core: (file, what in it is done sixteen times).
SLOW_PANEL: Final = ("livestate/state/kpi/destinations.py", """

def _many_times(done):
    def again(*arguments):
        for _ in range(16):
            done(*arguments)

    return again


Counts.count = _many_times(Counts.count)
""")  # fmt: skip


def slow(tree: Path) -> None:
    for name in {file for file, _ in SLOWED.values()}:
        path = tree / name
        lines = [line for file, line in SLOWED.values() if file == name]
        path.write_text(path.read_text() + _MODULE + "\n".join(lines) + "\n")


def main() -> int:
    began = time.perf_counter()
    names = list(SLOWED)
    good = True
    with two_trees(None) as (head, base):
        day = save_day(head.parent)
        for row in g0(head, base, day) + g1(head, base, day, names):
            good &= said(row.line(), row.verdict in ("ok", "warn"), "A/A passes")
        for _ in range(ROUNDS):
            timed = g2(head, base, day, names)
            lines = ", ".join(f"{row.measure[3:]} {row.ratio - 1:+.1%}" for row in timed)
            good &= said(f"G2 {lines}", all(r.verdict != "FAIL" for r in timed), "A/A passes")
        slow(head)
        slowed = g1(head, base, day, names)
        for row in slowed:
            good &= said(row.line(), row.verdict == "FAIL", "20 % more work fails")
            print("    " + "\n    ".join(row.grew[:2]))
        good &= panels_are_judged(head)
    found = sum(row.verdict == "FAIL" for row in slowed)
    print(f"{found} of {len(SLOWED)} slowdowns found, {time.perf_counter() - began:.0f} s")
    return int(not good or found != len(SLOWED))


def panels_are_judged(head: Path) -> bool:
    """One panel passes as it is, and fails with the planted work."""
    day = save_day(head.parent, panels.MESSAGES)

    def row() -> Row:
        ((found, _),) = instructions((head,), day, ["destinations"], "panel")
        return panels.row("destinations", found["destinations"].a_unit)

    before = row()
    good = said(before.line(), before.verdict != "FAIL", "a panel passes")
    file, planted = SLOW_PANEL
    (head / file).write_text((head / file).read_text() + planted)
    slowed = row()
    return said(slowed.line(), slowed.verdict == "FAIL", "a slow panel fails") and good


def said(line: str, proved: bool, what: str) -> bool:
    print(f"{'proved' if proved else 'NOT PROVED'}: {what}: {line}", flush=True)
    return proved


if __name__ == "__main__":
    sys.exit(main())
