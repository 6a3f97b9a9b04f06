"""``make figures`` beside goals: cells are found in the tables, and what is missing says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.both_builds import ROOT, NotMeasured, compile_tree, copy_sources, run
from bench.figures_sides import GOALS, Goal, Sides, cell, merged, standing

PURE = [
    "| what | events/s | of the floor's |",
    "|---|---|---|",
    "| the floor | 67,607 | 1.0 |",
    "| parsed, folded and projected to Redis | 9,772 | 6.2 |",
    "",
    "7 round trips.",
]
COMPILED = [line.replace("9,772 | 6.2", "41,000 | 1.9") for line in PURE]


def test_a_cell_is_found_by_its_row_and_heading() -> None:
    assert cell(PURE, "projected", "events/s") == 9_772
    assert cell(PURE, "projected", "of the floor") == 6.2
    assert cell(PURE, "no such row", "events/s") is None
    assert cell(PURE, "projected", "no such column") is None
    two = [*PURE, "", "| who | size |", "|---|---|", "| livestate, gzip | 1/9.3 |"]
    assert cell(two, "gzip", "size") == 9.3, "a share, in the second table"


def test_a_table_of_both_builds_shows_two_figures_where_they_differ() -> None:
    lines = list(merged(Sides({"pure": PURE, "compiled": COMPILED}, {})))
    assert "| the floor | 67,607 | 1.0 |" in lines
    assert "| parsed, folded and projected to Redis | 9,772 / 41,000 | 6.2 / 1.9 |" in lines


def test_each_build_keeps_a_goal_of_its_own() -> None:
    rows = list(standing({"throughput": Sides({"pure": PURE, "compiled": COMPILED}, {})}))
    assert (
        "| CPU an event, of the floor's | ≤ 3.5 | ≤ 2 | 6.2 | **not kept** | 1.9 | kept |" in rows
    )
    (fast,) = (row for row in rows if row.startswith("| events/s parsed"))
    assert fast.endswith("| ≥ 25,000 | ≥ 40,000 | 9,772 | **not kept** | 41,000 | kept |")


def test_what_was_not_measured_says_why() -> None:
    sides = Sides({"pure": PURE}, {"compiled": "there is no C compiler"})
    (row, *_) = (row for row in standing({"throughput": sides}) if row.startswith("| CPU"))
    assert row.endswith("| NOT MEASURED | there is no C compiler |")
    assert "compiled: **NOT MEASURED**: there is no C compiler" in list(merged(sides))
    (moved,) = (row for row in standing({"memory": sides}) if row.startswith("| bytes"))
    assert "`memory` shows no such figure" in moved


def test_a_goal_is_an_upper_or_a_lower_limit() -> None:
    most = Goal("", "", "", "", 3, 2)
    least = most._replace(at_most=False)
    assert [most.kept(2.5, build) for build in ("pure", "compiled")] == [True, False]
    assert [least.kept(2.5, build) for build in ("pure", "compiled")] == [False, True]
    assert {goal.part for goal in GOALS} <= {"throughput", "memory", "start", "crowd", "busy"}


def test_a_run_that_does_not_end_is_stopped_and_says_so() -> None:
    with pytest.raises(NotMeasured, match="not done after 1 s"):
        run(ROOT, 1, "-c", "import time; time.sleep(600)")
    with pytest.raises(NotMeasured, match=r"exit status 1: ZeroDivisionError"):
        run(ROOT, 60, "-c", "1 / 0")


def test_a_copy_of_the_sources_has_the_page(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    where = "import api.static_files as made; made.prepare(); print(made.__file__)"
    assert run(tmp_path, 60, "-c", where).strip() == str(tmp_path / "api" / "static_files.py")


def test_without_a_compiler_the_compiled_build_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(NotMeasured, match="there is no C compiler"):
        compile_tree(ROOT)
