"""Samples CPU, memory and descriptors of the test, the service and the rest of the machine (Linux).

Other processes distort a run, so their load is reported with it. It excuses nothing: if they took
too much, the loader was late too, and that makes the run INVALID.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench import proc


def sample(service: Sequence[int]) -> dict[str, float]:
    """One sample: CPU seconds so far of the machine, of this process and its children, and of the
    processes of the service, with their memory (bytes) and open descriptors; without the last
    three if the service is not ours to look at."""
    found = {"at": time.time(), "busy_seconds": busy_seconds(), "our_seconds": _ours()}
    if not service:
        return found
    return found | {
        "cpu_seconds": sum(map(proc.cpu_seconds, service)),
        "rss": sum(map(proc.rss_bytes, service)),
        "fds": sum(map(proc.open_files, service)),
    }


def shares(samples: list[dict[str, float]]) -> dict[str, float]:
    """Average cores used: in total, by other processes, and by the service."""
    if len(samples) < 2:
        return {"busy": 0.0, "others": 0.0}
    first, last = samples[0], samples[-1]
    seconds = last["at"] - first["at"]
    busy = (last["busy_seconds"] - first["busy_seconds"]) / seconds
    ours = (last["our_seconds"] - first["our_seconds"]) / seconds
    found = {"busy": busy, "others": max(0.0, busy - ours)}
    if "cpu_seconds" in first:
        found["service"] = (last["cpu_seconds"] - first["cpu_seconds"]) / seconds
    return found


def busy_seconds() -> float:
    """CPU seconds of all cores; time that the hypervisor took (steal) counts as busy."""
    fields = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / proc.TICK  # less idle and iowait


def _ours() -> float:
    """CPU seconds of this process and of all that it started, those that ended included."""
    used: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for pid in proc.processes():
        try:
            fields = proc.stat(pid)
        except OSError:
            continue  # the process has ended
        used[pid] = sum(map(int, fields[proc.CPU_WITH_ENDED_CHILDREN]))
        children[int(fields[proc.PARENT])].append(pid)
    ours, total = [os.getpid()], 0
    while ours:
        pid = ours.pop()
        total += used.get(pid, 0)
        ours += children[pid]
    return total / proc.TICK
