"""One measured run in one tree, as a child process; what it found is JSON on its output.

python -m bench.gate.child_run DAY forked count TIMES PATHS…   each path in a fork; valgrind counts
python -m bench.gate.child_run DAY forked panel TIMES PANELS…  the same, of panels
python -m bench.gate.child_run DAY wall PATHS…               seconds a unit, the best of a few
python -m bench.gate.child_run DAY bytecodes PATH            bytecodes a unit, by function
python -m bench.gate.child_run DAY counters                  G0
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bench.gate.counters import counters
from bench.hot_paths import Work, prepared
from bench.workload import Message

WALL_SECONDS: Final = 0.25  # for each path, in pieces of about 15 ms


def forked(day: list[Message], what: str, times: str, *names: str) -> Any:
    """All of it prepared and warm, then each path so many times in a fork of this process, and in
    one fork nothing: the difference between two forks is that path and nothing else. The start,
    the imports and the preparation are most of a run under valgrind, and happen once."""
    found, lacking = prepared(day, list(names)) if what == "count" else _panels(day, names)
    gc.collect()
    gc.disable()
    pids = {}
    for name in ("", *found):
        pids[name] = os.fork()
        if pids[name] == 0:
            for _ in range(int(times) if name else 0):
                found[name].run()
            os._exit(0)  # valgrind writes the counts of this process now
        if status := os.waitpid(pids[name], 0)[1]:
            raise RuntimeError(f"{name or 'an empty fork'} ended with status {status}")
    units = {name: work.units for name, work in found.items()}
    return {"lacking": lacking, "units": units, "pids": pids}


def _panels(day: list[Message], names: tuple[str, ...]) -> tuple[dict[str, Work], dict[str, str]]:
    """:data:`bench.gate.panels.PANELS`, each done once."""
    from bench.gate.panels import PANELS

    found = {one: PANELS[one].make(day) for one in names}
    for work in found.values():
        work.run()
    return found, {}


def wall(day: list[Message], *names: str) -> Any:
    found, lacking = prepared(day, list(names))
    gc.collect()
    gc.disable()
    return {"lacking": lacking, "seconds": {name: best(work) for name, work in found.items()}}


def best(work: Work) -> float:
    spent = []
    until = time.perf_counter() + WALL_SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        work.run()
        spent.append(time.perf_counter() - began)
    return min(spent) / work.units


def bytecodes(day: list[Message], name: str) -> Any:
    """Bytecodes executed a unit, by function: exact, and in the terms of the source."""
    found, _ = prepared(day, [name])
    counts: Counter[Any] = Counter()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            counts[frame.f_code] += 1
        return trace

    sys.settrace(trace)
    found[name].run()
    sys.settrace(None)
    by_function: Counter[str] = Counter()
    here = str(Path.cwd()) + "/"
    for code, executed in counts.items():
        where = code.co_filename.removeprefix(here)
        by_function[f"{where} {code.co_qualname}"] += executed
    return {one: n / found[name].units for one, n in by_function.items()}


def main() -> None:
    path, what, *arguments = sys.argv[1:]
    day: list[Message] = pickle.loads(Path(path).read_bytes())
    made: dict[str, Callable[..., Any]] = {
        "forked": forked,
        "wall": wall,
        "bytecodes": bytecodes,
        "counters": counters,
    }
    print(json.dumps(made[what](day, *arguments)))


if __name__ == "__main__":
    main()
