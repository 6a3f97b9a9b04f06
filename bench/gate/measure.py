"""Runs the measuring code in a tree: same interpreter, same packages, another PYTHONPATH."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.workload import stream_of

MESSAGES: Final = 400
START: Final = 1_795_000_000_000
TIMES: Final = 2  # a path under valgrind: enough, for the difference is exact
ROUNDS: Final = ("head", "base", "base", "head")  # A B B A, so that a drift hits both


class Broken(Exception):
    """The measuring code does not run in a tree."""


@dataclass(slots=True)
class Instructions:
    """Instructions a unit of one path, as cachegrind counted them; and by C function."""

    a_unit: float
    by_function: Counter[str] = field(repr=False)


def save_day(home: Path, messages: int = MESSAGES) -> Path:
    """The seeded day as a file: both trees get the same one, whatever they simulate."""
    path = home / f"day-{messages}"
    path.write_bytes(pickle.dumps(stream_of(messages, 50, START)))
    return path


def walk(tree: Path, day: Path, *words: str, under: Iterable[str] = ()) -> Any:
    """One child process in a tree, and its forks; its JSON."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "", "HOME": str(tree), "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    done = subprocess.run(
        [*under, sys.executable, "-m", _child(tree), str(day), *words],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise Broken(f"{tree.name}: {' '.join(words)}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _child(tree: Path) -> str:
    """The measuring program of a tree; a base from before the households has it as ``walk``."""
    own = tree / "bench" / "gate" / "child_run.py"
    return "bench.gate.child_run" if own.exists() else "bench.gate.walk"


def _counted(tree: Path, day: Path, names: list[str], what: str) -> tuple[Any, dict[str, Any]]:
    """What one process in a tree reports, and the instructions of each fork by C function."""
    with tempfile.TemporaryDirectory() as out:
        valgrind = (
            "valgrind",
            "--quiet",
            "--tool=cachegrind",
            "--cache-sim=no",
            f"--cachegrind-out-file={out}/%p",
        )
        report = walk(tree, day, "forked", what, str(TIMES), *names, under=valgrind)
        return report, {
            name: by_function((Path(out) / str(pid)).read_text(errors="replace"))
            for name, pid in report["pids"].items()
        }


def by_function(text: str) -> Counter[str]:
    """Instructions by C function, of a cachegrind file (its format: ``fn=``, then ``line Ir``)."""
    counts: Counter[str] = Counter()
    function = ""
    for line in text.splitlines():
        if line.startswith("fn="):
            function = line[3:]
        elif re.match(r"\d+ \d+$", line):
            counts[function] += int(line.split()[1])
    return counts


def instructions(
    trees: Iterable[Path], day: Path, names: list[str], what: str = "count"
) -> list[tuple[dict[str, Instructions], dict[str, str]]]:
    """G1 of each tree: the two-point difference of each path, and which paths it lacks. Runs the
    trees at once: that changes the time, not the count. ``what``: paths, or "panel"."""
    trees = tuple(trees)
    for tree in trees:  # else the first run of each would count the compiler too
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(tree)], check=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = []
        for report, counts in pool.map(lambda tree: _counted(tree, day, names, what), trees):
            paths = {}
            for name, units in report["units"].items():
                grown = counts[name]
                grown.subtract(counts[""])
                per = TIMES * units
                each = Counter({fn: n / per for fn, n in grown.items() if n})
                paths[name] = Instructions(sum(each.values()), each)
            found.append((paths, report["lacking"]))
    return found


def wall(head: Path, base: Path, day: Path, names: list[str]) -> dict[str, dict[str, list[float]]]:
    """G2: seconds a unit by path and tree, one minimum a block, interleaved A B B A."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in ROUNDS:
        report = walk(head if turn == "head" else base, day, "wall", *names)
        for name, seconds in report["seconds"].items():
            found.setdefault(name, {"head": [], "base": []})[turn].append(seconds)
    return found
