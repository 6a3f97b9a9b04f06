"""Cores and files for a benchmark's processes, and what CPU and memory a server with children uses.

One core is the server's, the other everybody else's (receiver, driver, NATS, Redis), so that what
a server costs is not what its measuring costs.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import proc

_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = _CORES[0]
OTHER_CORES: Final = _CORES[1:] or _CORES  # on a machine with one core they share it


@contextlib.contextmanager
def on_cores(*cores: int) -> Iterator[None]:
    """What is started meanwhile (and this process) runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def many_files(wanted: int = 40_000) -> int:
    """Raise the limit of open files for this process and what it starts; the limit that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, wanted), hard):  # root may raise the hard one too
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, most)), most))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def waited_seconds() -> float:
    """How long this process's main thread was ready to run and had no core, since it began
    (Documentation/scheduler/sched-stats of Linux)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used, in user mode and in the kernel."""
    return sum(map(proc.cpu_seconds, proc.family(pid)))


def resident_bytes(pid: int) -> int:
    """Memory of a process and its children; what they share is counted once (PSS)."""
    return sum(map(proc.pss_bytes, proc.family(pid)))
