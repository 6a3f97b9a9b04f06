"""The whole load test in one command: servers, traffic, Locust, verdict.

``livestate loadtest`` calls this. Locust runs in processes of its own, because gevent must not be
in the service or here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import httpx
from redis.asyncio import Redis

from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, any_redis
from livestate.fanout.patch import record
from livestate.nats.jetstream import create_at
from livestate.store.keys import UNPREFIXED
from livestate.store.record import decode
from loadtest import children
from loadtest.children import PUBLISHED, NotRun
from loadtest.measuring import concluded, counted, prepared, sampled
from loadtest.outcome import Outcome
from loadtest.profiles import Profile
from loadtest.watcher import differences
from loadtest.world import started, until_edges_ready

SETTLE_SECONDS: Final = 60.0  # where all cores are taken

# Starts a proxy between the clients and the service, and yields its URL.
Front: TypeAlias = Callable[[Instance], AbstractAsyncContextManager[str]]


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
    out = prepared(out)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livestate-load-")))
        nats = await stack.enter_async_context(NatsServer())
        await create_at(nats.url)
        redis = await stack.enter_async_context(any_redis())
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
        world = await stack.enter_async_context(started(keys, addresses, edges))
        service = world.engine
        publisher = await stack.enter_async_context(children.publisher(profile, out, nats.url))
        await _full(service, out / PUBLISHED, publisher)
        await until_edges_ready(world)
        say(
            f"servers up and calls flowing after {time.monotonic() - began:.1f} s; "
            f"{profile.users} users, {profile.rate:g} events/s, {edges or 'no'} edges"
        )
        url = world.urls if front is None else await stack.enter_async_context(front(service))
        before = await world.metrics()
        locust = await stack.enter_async_context(
            children.locust(profile, out, url, world.admin_urls, "--keys", str(keys))
        )
        samples = await sampled(world.sample, locust)
        result = children.loader_report(out)
        wrong = await _redis_differs(world.serving[0], redis.url)
        after = await world.metrics()
    result["published"] = json.loads((out / PUBLISHED).read_text())
    result["service"] = counted(before, after)
    result["edges"] = edges
    result["redis"] = wrong[:10]
    return concluded(profile, result, samples, len(wrong), out)


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
