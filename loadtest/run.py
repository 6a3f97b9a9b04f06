"""The whole load test in one command: servers, traffic, Locust, verdict.

``livestate loadtest`` calls this. Locust runs in processes of its own, because gevent must not be
in the service or here.
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

from api.cli.child_service import Instance
from livestate.contract.errors import LivestateError
from livestate.devtools.child_process import bound, free_port
from livestate.devtools.servers import NatsServer, any_redis
from livestate.fanout.patch import record
from livestate.nats.jetstream import create_at
from livestate.store.keys import UNPREFIXED
from livestate.store.record import decode
from loadtest.outcome import Outcome, judged
from loadtest.profiles import Profile, save
from loadtest.watcher import differences
from loadtest.world import World, started, until_edges_ready

ROOT: Final = Path(__file__).parent.parent
LEDGER: Final = "ledger.json"  # counts and merged histograms
RESULT: Final = "result.json"  # the same, judged
REPORTS: Final = (RESULT, LEDGER, "histograms.hlog", "locust.html")
SETTLE_SECONDS: Final = 15.0
SAMPLE_SECONDS: Final = 2.0
_COUNTED: Final = {  # the service's own metrics, and their names in the report
    "snapshots built": "livestate_sse_snapshots_built_total",
    "diffs encoded": "livestate_sse_frames_encoded_total",
    "streams that resumed": 'livestate_sse_resumes_total{result="resumed"}',
    "streams that began anew": 'livestate_sse_resumes_total{result="fresh"}',
    "events dropped": 'livestate_events_total{result="dropped"}',
}


# Starts a proxy between the clients and the service, and yields its URL.
Front: TypeAlias = Callable[[Instance], AbstractAsyncContextManager[str]]


class NotRun(LivestateError):
    """The test itself failed; there is no verdict."""


async def run(
    profile: Profile,
    out: Path,
    *,
    edges: int = 0,
    front: Front | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """One run, with its reports in the directory ``out``: of one process, or of an engine with so
    many ``edges``. All processes that it started have ended when it returns, also after
    SIGTERM."""
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
        await create_at(nats.url)
        redis = await stack.enter_async_context(any_redis())
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
        world = await stack.enter_async_context(started(keys, addresses, edges))
        service = world.engine
        publisher = await stack.enter_async_context(
            _process(
                out / "publisher.log",
                "-m",
                "loadtest.publish",
                "--nats",
                nats.url,
                "--rate",
                str(profile.rate),
                "--companies",
                str(profile.companies),
                "--quiet",
                str(out / "quiet"),
                "--report",
                str(out / "published.json"),
            )
        )
        await _full(service, out / "published.json", publisher)
        await until_edges_ready(world)
        say(
            f"servers up and calls flowing after {time.monotonic() - began:.1f} s; "
            f"{profile.users} users, {profile.rate:g} events/s, {edges or 'no'} edges"
        )
        url = world.urls if front is None else await stack.enter_async_context(front(service))
        before = await world.metrics()
        locust = await stack.enter_async_context(_locust(profile, out, url, world, keys))
        samples = await _sampled(world, locust)
        if not (out / LEDGER).exists():
            raise NotRun(f"Locust wrote no metrics; see {out / 'locust.log'}")
        wrong = await _redis_differs(world.serving[0], redis.url)
        after = await world.metrics()
    result = json.loads((out / LEDGER).read_text())
    result["published"] = json.loads((out / "published.json").read_text())
    result["service"] = {
        name: after.get(metric, 0) - before.get(metric, 0) for name, metric in _COUNTED.items()
    }
    result["edges"] = edges
    result["service"]["worst loop lag, ms"] = 1000 * after["livestate_loop_lag_worst_seconds"]
    result["redis"] = wrong[:10]
    outcome = judged(profile, result, samples, len(wrong))
    (out / RESULT).write_text(json.dumps(outcome.result, indent=1, sort_keys=True))
    return outcome


@contextlib.asynccontextmanager
async def _process(log: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that ends with this context; its output is in ``log``."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *bound(sys.executable, *command),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,
        )
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


def _locust(profile: Profile, out: Path, url: str, world: World, keys: Path) -> Any:
    save(profile, out / "plan.json")
    port = str(free_port())  # with Locust's default port two runs would mix
    workers = (
        []
        if profile.processes == 1
        else [
            "--processes",
            str(profile.processes),
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
            "--master-port",
            port,
        ]
    )
    return _process(
        out / "locust.log",
        "-m",
        "locust",
        "-f",
        "loadtest/locustfile.py",
        "--headless",
        "--only-summary",
        "--host",
        url,
        *workers,
        "--plan",
        str(out / "plan.json"),
        "--html",
        str(out / "locust.html"),
        "--keys",
        str(keys),
        "--companies",
        str(profile.companies),
        "--ledger",
        str(out / LEDGER),
        "--quiet",
        str(out / "quiet"),
        "--admin",
        world.admin_urls,
    )


async def _full(service: Instance, report: Path, publisher: asyncio.subprocess.Process) -> None:
    """Wait until the service knows the calls that were up before it started."""
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


async def _sampled(world: World, locust: asyncio.subprocess.Process) -> list[dict[str, float]]:
    """Samples of the service's resources from the operating system, until Locust ends."""
    ending = asyncio.create_task(locust.wait())
    samples = []
    while not ending.done():
        samples.append(world.sample())
        await asyncio.wait([ending], timeout=SAMPLE_SECONDS)
    return samples


async def _redis_differs(service: Instance, url: str) -> list[str]:
    """Differences between Redis and the service's snapshot, call by call, with versions and
    membership. No call changes any more, so there must be none."""
    headers = {"Authorization": f"Bearer {service.token()}"}
    deadline = time.monotonic() + SETTLE_SECONDS
    async with httpx.AsyncClient() as client, Redis.from_url(url) as redis:
        while True:
            answer = await client.get(f"{service.url}/api/v1/live/calls/snapshot", headers=headers)
            shown = answer.json()["calls"]
            stored: dict[str, Any] = {}
            calls = cast("dict[bytes, bytes]", await redis.hgetall(UNPREFIXED.calls))
            for key, data in calls.items():
                call, versions = decode(key.decode(), data)
                stored[key.decode()] = record(call) | {"v": versions[""]}
            active = cast("list[bytes]", await redis.zrange(UNPREFIXED.active, 0, -1))
            members = {key.decode() for key in active}
            wrong = differences(stored, shown)
            wrong += [f"{key} is in only one of two keys" for key in members ^ stored.keys()]
            if not wrong or time.monotonic() > deadline:
                return wrong
            await asyncio.sleep(0.3)
