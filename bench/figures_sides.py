"""``make figures``: measures each part in the pure and in the compiled build, in turns, and
compares the results with the goals.

A part is a coroutine that makes Markdown tables (:data:`bench.figures.FIGURES`). It runs in a child
process with one of the two trees of :mod:`bench.both_builds`, pure and compiled one after the
other, and the next part the other way round. A cell in which the builds differ shows both figures,
``pure / compiled``. A part that fails or does not end says NOT MEASURED and why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.both_builds import ROOT, NotMeasured, both, run, say

PART_SECONDS: Final = 240.0  # of one build
ALL_SECONDS: Final = 15 * 60.0  # no part begins later
BUILDS: Final = ("pure", "compiled")
MISSING: Final = "NOT MEASURED"


class Goal(NamedTuple):
    """What one cell must be in each build. The cell is in the table of a part, in the row whose
    first cell contains ``row``, below the heading that contains ``column``."""

    what: str
    part: str
    row: str
    column: str
    pure: float
    compiled: float
    at_most: bool = True

    def limit(self, build: str) -> float:
        return self.pure if build == "pure" else self.compiled

    def kept(self, value: float, build: str) -> bool:
        limit = self.limit(build)
        return value <= limit if self.at_most else value >= limit

    def stated(self, build: str) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit(build):,g}"


_PROJECTED: Final = "parsed, folded and projected to Redis"
GOALS: Final = (
    Goal("CPU an event, of the floor's", "throughput", _PROJECTED, "of the floor", 3.5, 2),
    Goal("events/s parsed, folded, projected", "throughput", _PROJECTED, "events/s",
         25_000, 40_000, at_most=False),
    Goal("events/s with 100 dashboards", "throughput", "100 dashboards", "events/s",
         22_000, 35_000, at_most=False),
    Goal("fold at 200,000 live calls, of that at 1,000", "throughput", "200,000", "beside", 2, 2),
    Goal("bytes a live call", "memory", "50,000", "the table", 1_300, 1_000),
    Goal("start of 50,000 calls, the slowest of ten (s)", "start", "50,000", "the slowest", 3, 2),
    Goal("5,000 clients × 10 frames/s: p99, of nchan's", "crowd", "livestate", "of nchan's",
         1.5, 1.2),
    Goal("busy hour: plain events ÷ gzip, bytes", "busy", "livestate, gzip", "of the first",
         9, 9, at_most=False),
)  # fmt: skip


class Sides(NamedTuple):
    """The lines that a part printed in each build, or why it did not."""

    lines: Mapping[str, Sequence[str]]
    missing: Mapping[str, str]


def measured(names: Sequence[str]) -> dict[str, Sides]:
    """Run the parts in both builds. Where there is no compiled build, each part says so."""
    began = time.perf_counter()
    say(began, "compiling a copy of this tree")
    try:
        with both() as trees:
            return _each(dict(zip(BUILDS, trees, strict=True)), {}, names, began)
    except NotMeasured as reason:
        say(began, f"compiled: {MISSING}: {reason}")
        return _each({"pure": ROOT}, {"compiled": str(reason)}, names, began)


def _each(
    trees: Mapping[str, Path], lacking: Mapping[str, str], names: Sequence[str], began: float
) -> dict[str, Sides]:
    found = {}
    turn = list(trees)
    for name in names:
        lines: dict[str, Sequence[str]] = {}
        missing = dict(lacking)
        for build in turn:
            say(began, f"{name}, {build}")
            if time.perf_counter() - began > ALL_SECONDS:
                missing[build] = f"{ALL_SECONDS / 60:.0f} minutes were over before it began"
                continue
            try:
                output = run(trees[build], PART_SECONDS, "-m", "bench.figures", "--here", name)
                lines[build] = output.rstrip().splitlines()
            except NotMeasured as reason:
                missing[build] = str(reason)
                say(began, f"{name}, {build}: {MISSING}: {reason}")
        found[name] = Sides(lines, missing)
        turn.reverse()
    say(began, "done")
    return found


# -- tables --------------------------------------------------------------------------------


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def merged(sides: Sides) -> Iterator[str]:
    """The lines of both builds as one: a cell where they differ shows ``pure / compiled``."""
    for build, why in sides.missing.items():
        yield f"{build}: **{MISSING}**: {why}"
        yield ""
    texts = [sides.lines[build] for build in BUILDS if build in sides.lines]
    if len(texts) < 2 or len(texts[0]) != len(texts[1]):
        for build, lines in sides.lines.items():
            yield from (f"{build}:", "", *lines, "")
        return
    for one, other in zip(*texts, strict=True):
        if one == other:
            yield one
        elif one.startswith("|") and len(cells(one)) == len(cells(other)):
            pairs = zip(cells(one), cells(other), strict=True)
            yield f"| {' | '.join(a if a == b else f'{a} / {b}' for a, b in pairs)} |"
        else:
            yield from (f"pure: {one.strip()}", "", f"compiled: {other.strip()}")


def cell(lines: Sequence[str], row: str, column: str) -> float | None:
    """The number in a cell, see :class:`Goal`; None if there is no such cell. ``1/9.3`` is 9.3."""
    heading: list[str] = []
    for before, line in zip(("", *lines), lines, strict=False):
        if not line.startswith("|"):
            heading = []
        elif not before.startswith("|"):
            heading = cells(line)
        elif row in cells(line)[0]:
            for name, text in zip(heading, cells(line), strict=False):
                number = re.search(r"(?:1/)?(\d[\d,]*\.?\d*)", text)
                if column in name and number:
                    return float(number[1].replace(",", ""))
    return None


def standing(found: Mapping[str, Sides]) -> Iterator[str]:
    """A row for each goal of the parts that ran: the result of each build, and the verdict."""
    yield "| what | goal: pure | compiled | pure | | compiled | |"
    yield "|---|---|---|---|---|---|---|"
    for goal in GOALS:
        if goal.part not in found:
            continue
        sides = found[goal.part]
        row = [goal.what, goal.stated("pure"), goal.stated("compiled")]
        for build in BUILDS:
            lines = sides.lines.get(build)
            value = None if lines is None else cell(lines, goal.row, goal.column)
            if value is None:
                why = sides.missing.get(build, f"`{goal.part}` shows no such figure")
                row += [MISSING, why.splitlines()[0]]
            else:
                row += [f"{value:,g}", "kept" if goal.kept(value, build) else "**not kept**"]
        yield f"| {' | '.join(row)} |"
