"""The test of the test: a service with a fault must not pass. ``make loadtest-proof``.

With nothing planted a run must pass; each fault must break an objective that is there for it.
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

from api.instance import Instance
from loadtest import planted, record
from loadtest.outcome import Outcome
from loadtest.profiles import profile
from loadtest.run import run

USERS: Final = 24
SECONDS: Final = 7.0
RATE: Final = 200.0
ATTEMPTS: Final = 5  # a run that is INVALID says nothing, and is made again


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault, and which objectives are there to catch it: one of them must."""

    name: str
    spoil: planted.Spoil | None
    caught_by: tuple[str, ...]
    every: int | None = None


TRIALS: Final = (
    Trial("nothing", None, ()),
    Trial("lost", planted.lost, ("gaps", "divergence"), every=1_000),
    Trial("late", planted.late, ("receive max",)),
    Trial("foreign", planted.foreign, ("foreign",)),
    Trial("altered", planted.altered, ("gaps",)),
)


async def tried(trial: Trial, out: Path) -> tuple[Outcome, int]:
    """A short run with it, by the objectives of ``ci``; and how often the fault was done."""
    fault = planted.Fault(trial.spoil, trial.every)

    @contextlib.asynccontextmanager
    async def front(service: Instance) -> AsyncIterator[str]:
        async with planted.Proxy(service, fault) as url:
            yield url

    small = profile("ci").scaled(USERS, SECONDS, RATE)
    outcome = await run(small, out, front=front, say=lambda said: None)
    return outcome, fault.done


def right(trial: Trial, outcome: Outcome, done: int) -> bool:
    """Whether the run said what it had to say."""
    found = outcome.judgement
    if trial.spoil is None:
        return found.verdict == "PASSED"
    broken = {row.objective for row in found.rows if not row.kept}
    return done > 0 and found.verdict == "FAILED" and not broken.isdisjoint(trial.caught_by)


def proven(trial: Trial) -> tuple[bool, str]:
    """Whether it was right, and a line of text that says how."""
    for attempt in range(1, ATTEMPTS + 1):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="livestate-planted-") as out:
            outcome, done = asyncio.run(tried(trial, Path(out)))
        found = outcome.judgement
        if found.verdict != "INVALID" or attempt == ATTEMPTS:
            break
        print(f"{trial.name:9}INVALID, once more: {'; '.join(found.reasons)}", flush=True)
    good = right(trial, outcome, done)
    broken = ", ".join(
        f"{row.objective} {0 if row.found is None else row.found:g}"
        for row in found.rows if not row.kept
    )  # fmt: skip
    return good, (
        f"{trial.name:9}{'as it must' if good else 'WRONG':11}{found.verdict:8}"
        f"done {done:>2} times, {time.monotonic() - began:.0f} s; broken: {broken or 'nothing'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trials", nargs="*", help=", ".join(one.name for one in TRIALS))
    parser.add_argument("--times", type=int, default=1, help="each of them so often")
    parser.add_argument("--write", action="store_true", help="also into docs/loadtest.md")
    told = parser.parse_args()
    wanted = [one for one in TRIALS if not told.trials or one.name in told.trials]
    lines, wrong = [], 0
    for trial in wanted * told.times:
        good, line = proven(trial)
        wrong += not good
        lines.append(line)
        print(line, flush=True)
    if told.write:
        record.section("proof", lines)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
