"""What every run does: end on SIGTERM, take samples, put the report together."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from loadtest.children import LEDGER, PUBLISHED, QUIET, Process
from loadtest.outcome import Outcome, judged
from loadtest.profiles import Profile

RESULT: Final = "result.json"  # the ledger, judged
REPORTS: Final = (RESULT, LEDGER, "histograms.hlog", "locust.html")
SAMPLE_SECONDS: Final = 2.0
_COUNTED: Final = {  # the service's own metrics, and their names in the report
    "snapshots built": "livestate_sse_snapshots_built_total",
    "diffs encoded": "livestate_sse_frames_encoded_total",
    "streams that resumed": 'livestate_sse_resumes_total{result="resumed"}',
    "streams that began anew": 'livestate_sse_resumes_total{result="fresh"}',
    "events dropped": 'livestate_events_total{result="dropped"}',
}


def prepared(out: Path) -> Path:
    """The directory ``out`` without the reports of a former run. SIGTERM cancels the task that
    called, so that all processes that it started are ended."""
    own = asyncio.current_task()
    assert own is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, own.cancel)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in (*REPORTS, QUIET, PUBLISHED):
        (out / name).unlink(missing_ok=True)
    return out


async def sampled(
    sample: Callable[[], dict[str, float]], locust: Process
) -> list[dict[str, float]]:
    """Samples of resources, taken until Locust ends."""
    ending = asyncio.create_task(locust.wait())
    samples = []
    while not ending.done():
        samples.append(sample())
        await asyncio.wait([ending], timeout=SAMPLE_SECONDS)
    return samples


def counted(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What the service counted between two looks at its metrics."""
    found = {
        name: after.get(metric, 0) - before.get(metric, 0) for name, metric in _COUNTED.items()
    }
    return found | {"worst loop lag, ms": 1000 * after["livestate_loop_lag_worst_seconds"]}


def concluded(
    profile: Profile, result: dict[str, Any], samples: list[dict[str, float]], wrong: int, out: Path
) -> Outcome:
    """Judge the run and write ``result.json``. ``wrong`` counts calls that were otherwise in
    Redis."""
    outcome = judged(profile, result, samples, wrong)
    (out / RESULT).write_text(json.dumps(outcome.result, indent=1, sort_keys=True))
    return outcome
