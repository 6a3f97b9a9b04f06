"""The processes of a run that are not the service: the publisher and Locust."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias

from livestate.contract.errors import LivestateError
from livestate.devtools.child_process import bound, free_port
from loadtest.profiles import Profile, save

ROOT: Final = Path(__file__).parent.parent
LEDGER: Final = "ledger.json"  # counts and merged histograms
QUIET: Final = "quiet"  # when this file appears, calls stop changing
PUBLISHED: Final = "published.json"
LEAVE_SECONDS: Final = 5.0
Process: TypeAlias = asyncio.subprocess.Process


class NotRun(LivestateError):
    """The test itself failed; there is no verdict."""


def publisher(
    profile: Profile, out: Path, nats: str, *more: str
) -> AbstractAsyncContextManager[Process]:
    """Publishes calls at the profile's rate; ``more`` options of :mod:`loadtest.publish`."""
    return process(
        out / "publisher.log",
        "-m", "loadtest.publish",
        "--rate", str(profile.rate),
        "--companies", str(profile.companies),
        "--quiet", str(out / QUIET),
        "--report", str(out / PUBLISHED),
        *more,
        nats=nats,
    )  # fmt: skip


def locust(
    profile: Profile, out: Path, urls: str, admin_urls: str, *more: str
) -> AbstractAsyncContextManager[Process]:
    """Locust with the users of a profile, spread over ``urls`` (separated by commas); ``more``
    options of :mod:`loadtest.locustfile`."""
    save(profile, out / "plan.json")
    port = str(free_port())  # with Locust's default port two runs would mix
    workers = [
        "--processes", str(profile.processes),
        "--master-bind-host", "127.0.0.1",
        "--master-bind-port", port,
        "--master-port", port,
    ]  # fmt: skip
    return process(
        out / "locust.log",
        "-m", "locust",
        "-f", "loadtest/locustfile.py",
        "--headless",
        "--only-summary",
        "--host", urls,
        *(workers if profile.processes > 1 else ()),
        "--plan", str(out / "plan.json"),
        "--html", str(out / "locust.html"),
        "--companies", str(profile.companies),
        "--ledger", str(out / LEDGER),
        "--quiet", str(out / QUIET),
        "--admin", admin_urls,
        *more,
    )  # fmt: skip


def loader_report(out: Path) -> dict[str, Any]:
    """What Locust's users counted and measured. Raises NotRun if Locust left no report."""
    path = out / LEDGER
    if not path.exists():
        raise NotRun(f"Locust wrote no metrics; see {out / 'locust.log'}")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


@contextlib.asynccontextmanager
async def process(log: Path, *command: str, nats: str | None = None) -> AsyncIterator[Process]:
    """A Python process that ends with this context; its output is in ``log``. An address of NATS
    may hold a password, so it is passed as a variable and not as an argument."""
    environment = os.environ | ({} if nats is None else {"LOADTEST_NATS_URL": nats})
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *bound(sys.executable, *command),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 15)
        try:
            await asyncio.wait_for(child.wait(), LEAVE_SECONDS)
        except TimeoutError:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        await child.wait()
