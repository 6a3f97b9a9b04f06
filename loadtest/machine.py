"""What this machine does meanwhile: for us, for the service, and for somebody else (Linux).

A run beside somebody else's work measures that work too, so what is not ours is told with every
run. It excuses nothing: when it was too much, the loader was late too, and that makes it INVALID.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")
# Fields of /proc/<pid>/stat after the name: parent, and CPU of it and of its ended children.
_PARENT: Final = 1
_CPU: Final = slice(11, 15)


def sample(service: int) -> dict[str, float]:
    """Now: seconds of CPU so far, of the machine, of us and all our children, and of the
    service, with its memory and its open files."""
    proc = Path(f"/proc/{service}")
    return {
        "at": time.time(), "busy_seconds": busy_seconds(), "our_seconds": _ours(),
        "cpu_seconds": sum(map(int, _stat(proc)[_CPU][:2])) / _TICK,
        "rss": int((proc / "statm").read_text().split()[1]) * _PAGE,
        "fds": len(list((proc / "fd").iterdir())),
    }  # fmt: skip


def shares(samples: list[dict[str, float]]) -> dict[str, float]:
    """Of cores, on average: all that was done, what somebody else did, and what the service did."""
    if len(samples) < 2:
        return {"busy": 0.0, "others": 0.0}
    first, last = samples[0], samples[-1]
    seconds = last["at"] - first["at"]
    busy = (last["busy_seconds"] - first["busy_seconds"]) / seconds
    ours = (last["our_seconds"] - first["our_seconds"]) / seconds
    service = (last["cpu_seconds"] - first["cpu_seconds"]) / seconds
    return {"busy": busy, "others": max(0.0, busy - ours), "service": service}


def busy_seconds() -> float:
    """Of CPU, of all cores together; what a hypervisor took for others (steal) is busy too."""
    fields = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICK  # less idle and iowait


def _ours() -> float:
    used: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit():
            try:
                fields = _stat(proc)
            except OSError:
                continue  # it has ended meanwhile
            used[int(proc.name)] = sum(map(int, fields[_CPU]))
            children[int(fields[_PARENT])].append(int(proc.name))
    ours, total = [os.getpid()], 0
    while ours:
        pid = ours.pop()
        total += used.get(pid, 0)
        ours += children[pid]
    return total / _TICK


def _stat(proc: Path) -> list[str]:
    return (proc / "stat").read_text().rpartition(")")[2].split()
