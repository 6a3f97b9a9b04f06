"""The test of the load test: a service with a planted fault must fail it. ``make loadtest-proof``.

Without a fault a run must pass; each fault must break an objective that exists for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.cli.child_service import Instance
from loadtest import fault_proxy, record
from loadtest.outcome import Outcome
from loadtest.profiles import profile
from loadtest.run import run

USERS: Final = 24
SECONDS: Final = 7.0
RATE: Final = 200.0
ATTEMPTS: Final = 5  # an INVALID run is repeated


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault, and the objectives of which at least one must catch it."""

    name: str
    spoil: fault_proxy.Spoil | None
    caught_by: tuple[str, ...]
    every: int | None = None


TRIALS: Final = (
    Trial("nothing", None, ()),
    Trial("lost", fault_proxy.lost, ("gaps", "divergence"), every=1_000),
    Trial("late", fault_proxy.late, ("receive max",)),
    Trial("foreign", fault_proxy.foreign, ("foreign",)),
    Trial("altered", fault_proxy.altered, ("gaps",)),
)


async def tried(trial: Trial, out: Path) -> tuple[Outcome, int]:
    """A short run with the fault and the objectives of ``ci``; how often the fault was applied."""
    fault = fault_proxy.Fault(trial.spoil, trial.every)

    @contextlib.asynccontextmanager
    async def front(service: Instance) -> AsyncIterator[str]:
        async with fault_proxy.Proxy(service, fault) as url:
            yield url

    small = profile("ci").scaled(USERS, SECONDS, RATE)
    outcome = await run(small, out, front=front, say=lambda _line: None)
    return outcome, fault.done


def right(trial: Trial, outcome: Outcome, done: int) -> bool:
    """Whether the run's verdict is the expected one."""
    found = outcome.judgement
    if trial.spoil is None:
        return found.verdict == "PASSED"
    broken = {row.objective for row in found.rows if not row.kept}
    return done > 0 and found.verdict == "FAILED" and not broken.isdisjoint(trial.caught_by)


def proven(trial: Trial) -> tuple[bool, str]:
    """Whether the verdict was as expected, and a line of text about it."""
    for attempt in range(1, ATTEMPTS + 1):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="livestate-planted-") as out:
            outcome, done = asyncio.run(tried(trial, Path(out)))
        found = outcome.judgement
        if found.verdict != "INVALID" or attempt == ATTEMPTS:
            break
        print(f"{trial.name:9}INVALID, repeating: {'; '.join(found.reasons)}", flush=True)
    good = right(trial, outcome, done)
    broken = ", ".join(
        f"{row.objective} {0 if row.found is None else row.found:g}"
        for row in found.rows
        if not row.kept
    )
    return good, (
        f"{trial.name:9}{'as expected' if good else 'WRONG':12}{found.verdict:8}"
        f"applied {done:>2} times, {time.monotonic() - began:.0f} s; broken: {broken or 'nothing'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trials", nargs="*", help=", ".join(one.name for one in TRIALS))
    parser.add_argument("--times", type=int, default=1, help="how often to run each")
    parser.add_argument("--write", action="store_true", help="also into docs/loadtest.md")
    arguments = parser.parse_args()
    wanted = [one for one in TRIALS if not arguments.trials or one.name in arguments.trials]
    lines, wrong = [], 0
    for trial in wanted * arguments.times:
        good, line = proven(trial)
        wrong += not good
        lines.append(line)
        print(line, flush=True)
    if arguments.write:
        record.section("proof", lines)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
