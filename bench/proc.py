"""Reads what Linux says of a process in /proc: CPU, memory, descriptors, children (proc(5)).

The benchmarks, the load test and the tests share it. A process that has ended raises OSError,
unless a function says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK")  # clock ticks a second
PAGE: Final = os.sysconf("SC_PAGESIZE")  # bytes
# Positions in what `stat` returns.
PARENT: Final = 1
CPU: Final = slice(11, 13)  # ticks in user mode and in the kernel
CPU_WITH_ENDED_CHILDREN: Final = slice(11, 15)


def stat(pid: int | str) -> list[str]:
    """The fields of /proc/<pid>/stat behind the name, which may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def processes() -> Iterator[int]:
    """The ids of all processes; each may end before it is read."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started, of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def command_line(pid: int) -> bytes:
    """The arguments, each with a NUL behind it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def cpu_seconds(pid: int) -> float:
    """CPU of one process so far, in user mode and in the kernel."""
    return sum(map(int, stat(pid)[CPU])) / TICK


def queued_seconds(pid: int) -> float:
    """Time that a process was ready to run and had no core (schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def rss_bytes(pid: int | str = "self") -> int:
    """Resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def pss_bytes(pid: int) -> int:
    """Resident memory of one process; pages shared with others count in part (smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
