"""The stages that end elsewhere: in a real Valkey, a real NATS, thousands of real sockets.

A round is over when the queues are empty: Redis has every call, NATS has nothing left, the last
client has the last frame.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from api.service import Service as Service
from api.settings import Settings
from bench.ingest import Feed
from bench.machine import cpu_seconds
from bench.peers.contestants import Contestant, Livestate
from bench.peers.scenarios import DRAIN_SECONDS, joined, rival, watched
from bench.receiver import Receiver
from bench.receiver_messages import Report, stamped_at
from bench.stages.conftest import Bench, clock, full
from bench.workload import changes
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.clock import now_ms
from livestate.redis.connection import connect
from livestate.state.active_calls import ActiveCalls
from livestate.store.projection import Projection

CHANGED = 1_000  # calls that a flush finds dirty
INGESTED = 50_000
ROUNDS = 16
QUIET_SECONDS = 0.15  # longer than the pace: the next change goes out at once
BUSY_SECONDS = 3.0
WATCHERS = 100  # of the latency
EVENTS_A_SECOND = 200
ONE_IN = 10  # of the latencies is in the JSON, all are in the percentiles

measured_elsewhere = pytest.mark.benchmark(timer=clock)


@measured_elsewhere
@pytest.mark.parametrize("calls", [1_000, 10_000, 50_000])
def test_project(rounds: Bench, runner: asyncio.Runner, calls: int) -> None:
    _, table = full(calls)
    rounds(runner.run(flushed(table)), unit="call", units=CHANGED, calls=calls)


async def flushed(table: ActiveCalls, turns: int = 20) -> list[float]:
    """Changes of a thousand calls, written to a Valkey that has the table."""
    spent = []
    async with Valkey() as valkey:
        redis = connect(valkey.url)
        projection = Projection(redis, table, secret=b"x" * 16, clock=now_ms, holder="bench")
        await projection.flush()  # the whole table
        for turn in range(1, turns + 1):
            for event in changes(table, CHANGED, turn):
                change = table.apply(event, event.ts)
                assert change is not None
                projection.on_change(change)
            began = time.perf_counter()
            await projection.flush()
            assert not projection.dirty
            spent.append(time.perf_counter() - began)
        await redis.aclose()
    return spent


@measured_elsewhere
def test_ingest(rounds: Bench, runner: asyncio.Runner) -> None:
    spent, cpu = zip(*(runner.run(ingested()) for _ in range(3)), strict=True)
    rounds(list(spent), unit="event", units=INGESTED, cpu_us=min(cpu) / INGESTED * 1e6)


async def ingested() -> tuple[float, float]:
    """A day through NATS into a whole service, until Redis has every call: wall and CPU."""
    async with NatsServer() as nats, Valkey() as redis, Feed(nats.port, INGESTED) as feed:
        service = Service(Settings(nats_url=nats.url, redis_url=redis.url, ready_seconds=1))
        async with service.running():
            spent = await feed.served(service)
            assert not service.pipeline.counters.dropped
            return spent


@measured_elsewhere
@pytest.mark.parametrize("clients", [1, 100, 1_000, 5_000])
def test_fan_out(rounds: Bench, runner: asyncio.Runner, clients: int) -> None:
    spent, report, cpu = runner.run(fanned_out(clients))
    rounds(
        spent,
        unit="delivery",
        units=clients,
        clients=clients,
        cpu_us=cpu / report.deliveries * 1e6,
        receiver_us=report.cost_us,
    )


async def fanned_out(clients: int) -> tuple[list[float], Report, float]:
    """Seconds from the publishing of a change until the last client has it, after quiet; then
    changes without quiet: what the clients saw, and the service's CPU seconds."""
    async with rival(Livestate) as (service, receiver):
        await joined(service, receiver, clients)
        spent = []
        for _ in range(ROUNDS):
            await asyncio.sleep(QUIET_SECONDS)
            spent.append(await delivered(service, receiver))
        await receiver.reset()
        cpu, until = cpu_seconds(service.server.pid), time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < until:
            await delivered(service, receiver)
        cpu = cpu_seconds(service.server.pid) - cpu
        return spent, await receiver.report(), cpu


async def delivered(service: Contestant, receiver: Receiver) -> float:
    """One change to everybody: seconds until the last client has it."""
    mark = await service.publish()
    behind, ended = await receiver.until(mark, DRAIN_SECONDS)
    assert not behind
    return (ended - stamped_at(mark)) / 1e9


@measured_elsewhere
def test_latency(rounds: Bench, runner: asyncio.Runner) -> None:
    report, cpu = runner.run(steady())
    rounds(
        [one / 1e3 for one in report.latencies_ms[::ONE_IN]],
        unit="delivery",
        units=1,
        clients=WATCHERS,
        deliveries=report.deliveries,
        cpu_us=cpu / report.deliveries * 1e6,
        percentiles_ms={percent: report.percentile(percent) for percent in (50, 95, 99)},
    )


async def steady() -> tuple[Report, float]:
    """Events at a steady rate to a hundred clients: what each delivery took since its event was
    published, and the service's CPU seconds."""
    async with rival(Livestate) as (service, receiver):
        await joined(service, receiver, WATCHERS)
        report, _, cpu, behind = await watched(service, receiver, EVENTS_A_SECOND, BUSY_SECONDS)
        assert not behind
        return report, cpu
