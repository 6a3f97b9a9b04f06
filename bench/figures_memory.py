"""Figures of memory a call, and of CPU and bytes a diff: compressed or not."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import statistics
import tempfile
import time
from typing import Any, Final

import orjson

from api.stream.encoder import SseEncoder
from bench import proc
from bench.workload import full_table, stream_of
from livestate.contract.events import CallEvent
from livestate.contract.parse import parse
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.process.clock import now_ms
from livestate.process.memory import set_up_allocator
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls

CALLS: Final = 50_000


def _rss() -> int:
    gc.collect()
    return proc.rss_bytes()


def _measure_memory(path: str, pipe: Any) -> None:
    set_up_allocator()  # as the service does at its start
    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    with open(path, "rb") as lines:  # one at a time: nothing else may take memory meanwhile
        before = _rss()
        for line in lines:
            subject, data = line.split(b" ", 1)
            event = parse(subject.decode(), data)
            if isinstance(event, CallEvent) and event.phase not in ("ended", "failed"):
                table.apply(event, event.ts)
                if table.live == CALLS:
                    break
    after = _rss()
    wire = SseEncoder(now_ms)
    wire.snapshot(table.view(Scope()))
    pipe.send((table.live, after - before, _rss() - after, len(list(table.views))))


async def memory() -> list[str]:
    """Memory of 50,000 live calls in a fresh process, as the operating system counts it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile() as file:
        day = stream_of(CALLS * 6, calls_per_second=5_000)
        file.writelines(b"%b %b\n" % (subject.encode(), data) for subject, data in day)
        file.flush()
        child = context.Process(target=_measure_memory, args=(file.name, theirs))
        child.start()
        calls, table, cache, views = await asyncio.to_thread(ours.recv)
        child.join()
    return [
        "| live calls | views | bytes a call: the table | and its encoded records, once a snapshot "
        "was sent |",
        "|---|---|---|---|",
        f"| {calls:,} | {views} | {table / calls:,.0f} | {cache / calls:,.0f} |",
    ]


async def diffs() -> list[str]:
    """One change → one frame, in tables of three sizes."""
    rows = [
        "| live calls | one change: fold, commit, encode | a snapshot after quiet | the next one |",
        "|---|---|---|---|",
    ]
    for size in (1_000, 10_000, 50_000):
        table = full_table(size)
        wire = SseEncoder(now_ms)
        hub = Hub(
            table, wire, rate=CommitRate(), heartbeat_seconds=1e6, loop=asyncio.get_running_loop()
        )
        subscriber = hub.subscribe(Scope(), None)
        subscriber.distributor.snapshots.get()
        producer = hub.producers[table.view(Scope())]
        producer.commit()
        calls = [call for call in table.calls.values() if call.live][:2_000]
        events = [
            parse(
                "call.events.hold",
                orjson.dumps(
                    {
                        "v": 1,
                        "phase": "hold",
                        "node": c.node,
                        "epoch": now_ms(),
                        "seq": n,
                        "ts": now_ms(),
                        "call_id": c.call_id,
                        "dialog": c.dialog,
                        "company_id": c.company_id or "x",
                    }
                ),
            )
            for n, c in enumerate(calls, 1)
        ]
        spent = []
        for event in events:
            assert isinstance(event, CallEvent)
            began = time.perf_counter()
            change = table.apply(event, event.ts)
            assert change is not None
            hub.on_change(change)
            producer.commit()
            spent.append(time.perf_counter() - began)
        wire.evict_unused()
        wire.evict_unused()
        whole = []
        for _ in range(2):
            began = time.perf_counter()
            wire.snapshot(table.view(Scope()))
            whole.append(time.perf_counter() - began)
        rows.append(
            f"| {size:,} | {statistics.median(spent) * 1e6:.1f} µs | {whole[0] * 1e3:.1f} ms | "
            f"{whole[1] * 1e3:.1f} ms |"
        )
    return rows
