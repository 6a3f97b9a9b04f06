"""One comparison each: what was measured, by how much it grew, and what the gate says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.gate.accepted import Accepted

WARN: Final = 1.03
FAIL: Final = 1.08
WALL: Final = 1.15
_SHOWN: Final = 5
Verdict = Literal["ok", "less", "warn", "FAIL", "accepted", "new"]


@dataclass(slots=True)
class Row:
    """``ratio`` is head to base; above ``limit`` it fails."""

    measure: str
    base: float | None
    head: float
    unit: str
    ratio: float = 1.0
    limit: float = FAIL
    verdict: Verdict = "ok"
    why: str = ""
    grew: list[str] = field(default_factory=list)

    def line(self) -> str:
        before = "-" if self.base is None else f"{self.base:,.2f}"
        change = "" if self.base is None else f"{self.ratio - 1:+.1%}"
        return (
            f"{self.verdict:<9}{self.measure:<34}{before:>14}{self.head:>14,.2f}"
            f"{change:>10}  {self.unit}{'  ' + self.why if self.why else ''}"
        )


def exact(name: str, head: float, base: float | None) -> Row:
    """G0. Counted, so any more is more; 3 % may be a changed message, and is said."""
    return judged(Row(f"G0 {name}", base, head, "counted"), WARN, 1.0)


def counted(name: str, head: float, base: float | None) -> Row:
    """G1. Measured differences of the same code: some 0.01 %."""
    return judged(Row(f"G1 {name}", base, head, "instructions"), FAIL, WARN)


def timed(name: str, head: list[float], base: list[float]) -> Row:
    """G2. The best of head against the worst of base's best."""
    row = Row(f"G2 {name}", max(base) * 1e6 if base else None, min(head) * 1e6, "µs")
    return judged(row, WALL, WALL)


def budgeted(name: str, head: float, budget: float) -> Row:
    """G3. Far above what it takes: fails when something is wrong on any machine."""
    row = Row(f"G3 {name}", budget, head, "µs of the budget (base: all of it)")
    return judged(row, 1.0, 1.0)


def judged(row: Row, limit: float, warn: float) -> Row:
    row.limit = limit
    if row.base is None:
        row.verdict = "new"
        return row
    row.ratio = row.head / row.base if row.base else (1.0 if row.head == 0 else float("inf"))
    if row.ratio > limit:
        row.verdict = "FAIL"
    elif row.ratio > warn * 1.0001:
        row.verdict = "warn"
    elif row.ratio < 0.97 and not row.measure.startswith(("G3", "G4")):
        row.verdict = "less"
    return row


def accept(row: Row, accepted: dict[str, Accepted]) -> None:
    one = accepted.get(row.measure)
    if one is not None and row.verdict == "FAIL":
        if row.ratio <= one.at_most:
            row.verdict = "accepted"
            row.why = f"until {one.until}: {one.reason}"
        else:
            row.why = f"more than the {one.at_most:g} × that were accepted"


def most(now: Mapping[str, float], then: Mapping[str, float], unit: str) -> list[str]:
    more = sorted(((n - then.get(one, 0), one) for one, n in now.items()), reverse=True)
    return [f"{by:+12,.1f} {unit}  {one}" for by, one in more[:_SHOWN] if by > 0.5]


def explained(row: Row, base: str, until: str) -> str:
    """What a failed row says: by how much, what grew, and the commands to run next."""
    path = row.measure.split()[-1]
    only = f" --only {path}" if row.measure[:2] in ("G1", "G2") else ""
    less = {
        "G3": "it is over its budget in bench/budgets.toml",
        "G4": "the panel costs more of a core than it may: see bench/gate/panels.py",
    }.get(row.measure[:2], f"{row.ratio - 1:+.1%} against the base, at most {row.limit - 1:+.0%}")
    grew = "".join(f"\n    {line}" for line in row.grew)
    return (
        f"error: {row.measure}: {less}\n"
        f"  {row.base:,.2f} → {row.head:,.2f} {row.unit}"
        f"{chr(10) + '  what grew, a unit:' + grew if grew else ''}\n"
        f"  again:   .venv/bin/python -m bench.gate --base {base[:12]}{only}\n"
        f"  on purpose? bench/accepted.toml, reviewed:\n"
        f"    [[accepted]]\n"
        f'    measure = "{row.measure}"\n'
        f"    at_most = {row.ratio * 1.02:.2f}\n"
        f'    reason = "why it is worth it"\n'
        f"    until = {until}\n"
    )
