"""G0: work that can be counted exactly, on the same day at the same times. More of it is slower
on every machine; a changed number is a changed behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from bench.hot_paths import _events, watched
from bench.workload import Message

COMMIT_EVERY: Final = 10  # events a commit, a flush
CLIENTS: Final = 50
MEASURES: Final = (AttributeError, ImportError, TypeError)  # of an older commit


def fan_out(day: list[Message]) -> dict[str, float]:
    """A day's events, committed ten at a time, to 50 clients."""
    hub, table, outlets = watched(CLIENTS)
    encoder = hub.encoder
    (producer,) = hub.producers.values()
    sizes = []
    diff = encoder.diff

    def measured(*arguments: Any) -> bytes:
        frame: bytes = diff(*arguments)
        sizes.append(len(frame))
        return frame

    encoder.diff = measured
    writes = sum(one.writes for one in outlets)
    for at, event in enumerate(_events(day)):
        change = table.apply(event, event.ts)
        if change is not None:
            hub.on_change(change)
        if at % COMMIT_EVERY == 0:
            producer.commit()
    commits = hub.context.commits
    return {
        "encodes a commit": len(sizes) / commits,
        "records encoded a commit": encoder.records.encodes / commits,
        "writes a client and commit": (sum(one.writes for one in outlets) - writes)
        / commits
        / CLIENTS,
        "bytes a diff": sum(sizes) / len(sizes),
        "bytes of the snapshot": sum(map(len, encoder.snapshot(producer.view))),
    }


def projection(day: list[Message]) -> dict[str, float]:
    """The same events, flushed ten at a time to a real Valkey: round trips as its client sends
    them, commands as Valkey counts them."""
    return asyncio.run(_projection(day))


async def _projection(day: list[Message]) -> dict[str, float]:
    from redis.asyncio import Connection, ConnectionPool, Redis

    from livestate.devtools.servers import Valkey
    from livestate.state.active_calls import ActiveCalls
    from livestate.store.projection import Projection

    sent = 0

    class Counting(Connection):
        async def send_packed_command(self, *arguments: Any, **more: Any) -> None:
            nonlocal sent
            sent += 1
            await super().send_packed_command(*arguments, **more)

    async with Valkey() as valkey:
        pool = ConnectionPool(
            host="127.0.0.1", port=valkey.port, connection_class=Counting, protocol=2
        )
        redis = Redis(connection_pool=pool)
        table = ActiveCalls(secret=b"x" * 16, epoch="0123456789abcdef")
        projection = Projection(redis, table, secret=b"x" * 16, clock=lambda: 1, holder="bench")
        await projection.flush()
        sent_before, commands, flushes = sent, await _commands(redis), 0
        for at, event in enumerate(_events(day)):
            change = table.apply(event, event.ts)
            if change is not None:
                projection.on_change(change)
            if at % COMMIT_EVERY == 0:
                await projection.flush()
                flushes += 1
        trips = sent - sent_before - 1  # the look at Valkey's own count was one
        commands = await _commands(redis) - commands - 1
        await redis.aclose()
        await pool.aclose()
    return {
        "Redis round trips a flush": trips / flushes,
        "Redis commands a flush": commands / flushes,
    }


async def _commands(redis: Any) -> int:
    stats = await redis.info("stats")
    return int(stats["total_commands_processed"])


def counters(day: list[Message]) -> Any:
    """The counters of this tree, and for each that could not be counted, the reason."""
    found: dict[str, float] = {}
    lacking: dict[str, str] = {}
    made: dict[str, Callable[[list[Message]], dict[str, float]]] = {
        "fan-out": fan_out,
        "projection": projection,
    }
    for name, make in made.items():
        try:
            found |= make(day)
        except MEASURES as error:
            lacking[name] = f"{type(error).__name__}: {error}"
    return {"lacking": lacking, "counted": found}
