"""One measured run in one tree, as a child process; what it found is JSON on its output.

python -m bench.gate.child_run DAY count TIMES PATH PATHS…   do one path; valgrind counts
python -m bench.gate.child_run DAY wall PATHS…               seconds a unit, the best of a few
python -m bench.gate.child_run DAY bytecodes PATH            bytecodes a unit, by function
python -m bench.gate.child_run DAY counters                  G0
python -m bench.gate.child_run DAY panel TIMES PANEL PANELS… the same as count, of panels
"""

from __future__ import annotations

import gc
import json
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


def count(day: list[Message], times: str, name: str, *names: str) -> Any:
    """All paths prepared and warm, then one of them so many times: the difference between two
    such runs is that path and nothing else."""
    found, lacking = prepared(day, list(names))
    gc.collect()
    gc.disable()
    for _ in range(int(times) if name in found else 0):
        found[name].run()
    return {"lacking": lacking, "units": {name: work.units for name, work in found.items()}}


def panel(day: list[Message], times: str, name: str, *names: str) -> Any:
    """As :func:`count`, for one of :data:`bench.gate.panels.PANELS`."""
    from bench.gate.panels import PANELS

    found = {one: PANELS[one].make(day) for one in names}
    for work in found.values():
        work.run()
    gc.collect()
    gc.disable()
    for _ in range(int(times)):
        found[name].run()
    return {"lacking": {}, "units": {name: work.units for name, work in found.items()}}


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
        "count": count,
        "wall": wall,
        "bytecodes": bytecodes,
        "counters": counters,
        "panel": panel,
    }
    print(json.dumps(made[what](day, *arguments)))


if __name__ == "__main__":
    main()
