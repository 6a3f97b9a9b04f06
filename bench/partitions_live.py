"""The arithmetic of :mod:`bench.partitions` against one real engine with edges, for small numbers.

    python -m bench.partitions_live

A partition is an engine that hears some of the nodes: what one engine publishes and writes is what
one partition would. Predicted and measured are printed side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

import httpx
from redis.asyncio import Redis as RedisClient

from api.cli.child_service import Instance
from bench.partitions import (
    FLUSHES_A_SECOND,
    FRAMES_A_SECOND,
    Measured,
    measure,
)
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer, Valkey
from livestate.devtools.simulator import Network, Traffic
from livestate.nats.jetstream import create_at
from livestate.process.clock import now_ms
from livestate.process.tasks import cancel_and_wait
from tests.harness import metrics
from tests.stream_client import Stream

SECONDS = 15.0
CPS = 40.0


async def counted(engine: Instance, nats: NatsServer, redis: Valkey) -> dict[str, float]:
    """Totals so far."""
    found = await metrics(engine)
    async with httpx.AsyncClient() as client:
        varz = (await client.get(f"{nats.monitor_url}/varz")).json()
    async with RedisClient.from_url(redis.url) as client:
        stats = await client.info("commandstats")
    received = sum(v for name, v in found.items() if "events_received_total" in name)
    return {
        "at": time.monotonic(),
        "events": received,
        "frames": found["livestate_engine_frames_total"],
        "bytes into NATS": varz["in_bytes"],
        "bytes out of NATS": varz["out_bytes"],
        "scripts": sum(stats.get(f"cmdstat_{n}", {}).get("calls", 0) for n in ("evalsha", "eval")),
    }


async def run(found: Measured) -> None:
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats, redis = NatsServer(monitor=True), Valkey()
        await asyncio.gather(enter(nats), enter(redis))
        await create_at(nats.url)
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
        engine, a, b = [
            await enter(Instance(keys, own | {"ROLE": role})) for role in ("engine", "edge", "edge")
        ]
        publisher = Publisher(
            nats.url, Network(Traffic(cps=CPS, talk_seconds=10, ring_seconds=2), now_ms()),
            clock=now_ms, cdrs=False,
        )  # fmt: skip
        publishing = asyncio.create_task(publisher.run())
        stack.push_async_callback(cancel_and_wait, publishing)
        for one in (engine, a, b):
            await one.until_ready(60)
        for one in (a, b):
            await enter(await Stream.open(one.url, one.token()))
        await asyncio.sleep(15)  # as many calls end as begin
        before = await counted(engine, nats, redis)
        await asyncio.sleep(SECONDS)
        after = await counted(engine, nats, redis)
        seconds = after["at"] - before["at"]
        real = {name: (after[name] - before[name]) / seconds for name in before if name != "at"}
        events = real["events"]
        frames = min(events, FRAMES_A_SECOND)
        framed = events * found.change_bytes + frames * found.head_bytes
        predicted = {
            "events": CPS * found.events_per_call,
            "frames": frames,
            "bytes into NATS": events * found.event_bytes + framed,
            "bytes out of NATS": events * found.event_bytes + 2 * framed,
            "scripts": FLUSHES_A_SECOND,
        }
        print(f"{'a second':20}{'predicted':>12}{'measured':>12}{'ratio':>8}")
        for name, value in predicted.items():
            print(f"{name:20}{value:12,.0f}{real[name]:12,.0f}{real[name] / value:8.2f}")


if __name__ == "__main__":
    asyncio.run(run(measure(1_000, 4)[0]))
