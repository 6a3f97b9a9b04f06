"""The whole of it in one command: real servers, the traffic, Locust, the verdict.

``livestate loadtest`` is this. Locust runs as a process of its own, for its gevent must never be
in the service, nor here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import httpx
from redis.asyncio import Redis

from api.instance import Instance
from livestate.diff import record
from livestate.errors import LivestateError
from livestate.runtime.child import bound, free_port
from livestate.runtime.embedded import NatsServer, any_redis
from livestate.runtime.redis_table import ACTIVE, CALLS
from livestate.stored import decode
from loadtest import machine
from loadtest.outcome import Outcome, judged
from loadtest.profiles import Profile, save
from loadtest.watcher import differences

ROOT: Final = Path(__file__).parent.parent
LEDGER: Final = "ledger.json"  # counts and merged histograms
RESULT: Final = "result.json"  # the same, judged
REPORTS: Final = (RESULT, LEDGER, "histograms.hlog", "locust.html")
SETTLE_SECONDS: Final = 15.0
SAMPLE_SECONDS: Final = 2.0
_COUNTED: Final = {  # what the service says of itself: its metric, and what we call it
    "snapshots built": "livestate_sse_snapshots_built_total",
    "diffs encoded": "livestate_sse_frames_encoded_total",
    "streams that resumed": 'livestate_sse_resumes_total{result="resumed"}',
    "streams that began anew": 'livestate_sse_resumes_total{result="fresh"}',
    "events dropped": 'livestate_events_total{result="dropped"}',
}


# Puts something between the clients and the service, and gives its URL: a proxy with a fault.
Front: TypeAlias = Callable[[Instance], AbstractAsyncContextManager[str]]


class NotRun(LivestateError):
    """Something of the test itself did not work; there is no verdict."""


async def run(
    profile: Profile, out: Path, *, front: Front | None = None, say: Callable[[str], None] = print
) -> Outcome:
    """One run into the directory ``out``; everything that was started is gone afterwards, also
    when we are told to end."""
    own = asyncio.current_task()
    assert own is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, own.cancel)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in (*REPORTS, "quiet", "published.json"):
        (out / name).unlink(missing_ok=True)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livestate-load-")))
        nats = await stack.enter_async_context(NatsServer())
        redis = await stack.enter_async_context(any_redis())
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
        service = await stack.enter_async_context(Instance(keys, addresses))
        publisher = await stack.enter_async_context(_process(
            out / "publisher.log", "-m", "loadtest.publish", "--nats", nats.url,
            "--rate", str(profile.rate), "--companies", str(profile.companies),
            "--quiet", str(out / "quiet"), "--report", str(out / "published.json"),
        ))  # fmt: skip
        await _full(service, out / "published.json", publisher)
        say(f"servers up and calls flowing after {time.monotonic() - began:.1f} s; "
            f"{profile.users} users, {profile.rate:g} events/s")  # fmt: skip
        url = service.url if front is None else await stack.enter_async_context(front(service))
        before = await _metrics(service)
        locust = await stack.enter_async_context(_locust(profile, out, url, service, keys))
        samples = await _sampled(service, locust)
        if not (out / LEDGER).exists():
            raise NotRun(f"Locust left no numbers; see {out / 'locust.log'}")
        wrong = await _redis_differs(service, redis.url)
        after = await _metrics(service)
    told = json.loads((out / LEDGER).read_text())
    told["published"] = json.loads((out / "published.json").read_text())
    told["service"] = {name: after.get(metric, 0) - before.get(metric, 0)
                       for name, metric in _COUNTED.items()}  # fmt: skip
    told["service"]["worst loop lag, ms"] = 1000 * after["livestate_loop_lag_worst_seconds"]
    told["redis"] = wrong[:10]
    outcome = judged(profile, told, samples, len(wrong))
    (out / RESULT).write_text(json.dumps(outcome.told, indent=1, sort_keys=True))
    return outcome


@contextlib.asynccontextmanager
async def _process(log: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python that is gone when this ends; what it says is in ``log``."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *bound(sys.executable, *command), cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=file, stderr=file, process_group=0,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


def _locust(profile: Profile, out: Path, url: str, service: Instance, keys: Path) -> Any:
    save(profile, out / "plan.json")
    port = str(free_port())  # Locust's own would let two runs meet
    workers = [] if profile.processes == 1 else [
        "--processes", str(profile.processes), "--master-bind-host", "127.0.0.1",
        "--master-bind-port", port, "--master-port", port,
    ]  # fmt: skip
    return _process(
        out / "locust.log", "-m", "locust", "-f", "loadtest/locustfile.py",
        "--headless", "--only-summary", "--host", url, *workers, "--plan", str(out / "plan.json"),
        "--html", str(out / "locust.html"),
        "--keys", str(keys), "--companies", str(profile.companies),
        "--ledger", str(out / LEDGER), "--quiet", str(out / "quiet"),
        "--admin", service.admin_url,
    )  # fmt: skip


async def _full(service: Instance, report: Path, publisher: asyncio.subprocess.Process) -> None:
    """Wait until the service has the calls that were up before it was."""
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while True:
            if publisher.returncode is not None:
                raise NotRun("the publisher ended; see publisher.log")
            if report.exists():
                status = (await client.get(f"{service.admin_url}/statusz")).json()
                live = json.loads(report.read_text())["live"]
                nodes = status["nodes"].values()
                listed = nodes and not any(node["waiting_for_list"] for node in nodes)
                if status["ready"] is True and listed and status["calls"] > 0.8 * live > 0:
                    return
            await asyncio.sleep(0.1)


async def _sampled(service: Instance, locust: asyncio.subprocess.Process) -> list[dict[str, float]]:
    """Until Locust ends: what the service uses, as the operating system says."""
    ending = asyncio.create_task(locust.wait())
    samples = []
    while not ending.done():
        samples.append(machine.sample(service.pid))
        await asyncio.wait([ending], timeout=SAMPLE_SECONDS)
    return samples


async def _metrics(service: Instance) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.admin_url}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def _redis_differs(service: Instance, url: str) -> list[str]:
    """Where Redis is not what the service shows, call for call, with versions and membership;
    all is quiet, so it must be."""
    headers = {"Authorization": f"Bearer {service.token()}"}
    deadline = time.monotonic() + SETTLE_SECONDS
    async with httpx.AsyncClient() as client, Redis.from_url(url) as redis:
        while True:
            answer = await client.get(f"{service.url}/api/v1/live/calls/snapshot", headers=headers)
            shown = answer.json()["calls"]
            stored: dict[str, Any] = {}
            calls = cast("dict[bytes, bytes]", await redis.hgetall(CALLS))
            for key, data in calls.items():
                call, versions = decode(key.decode(), data)
                stored[key.decode()] = record(call) | {"v": versions[""]}
            active = cast("list[bytes]", await redis.zrange(ACTIVE, 0, -1))
            members = {key.decode() for key in active}
            wrong = differences(stored, shown)
            wrong += [f"{key} is not in both of Redis' keys" for key in members ^ stored.keys()]
            if not wrong or time.monotonic() > deadline:
                return wrong
            await asyncio.sleep(0.3)
