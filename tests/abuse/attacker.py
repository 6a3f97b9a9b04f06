"""An attacker in a process of its own: ``python -m tests.abuse.attacker KIND PORT TOKEN
SECONDS``. Prints what became of its requests, as JSON: status or event → how often.

In the process of the test it would slow down the client whose delay is measured, and that would
look like the service's fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.abuse.raw import SNAPSHOT, as_, connection, get
from tests.harness import STREAM

counts: Counter[str] = Counter()


async def _ask(port: int, request: bytes) -> None:
    """One request on a connection of its own, read to its end."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(10), connection(port) as (reader, writer):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            counts[head.split(b" ", 2)[1].decode()] += 1
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            while length > 0 and (piece := await reader.read(min(length, 1 << 18))):
                length -= len(piece)
            return
    counts["no answer"] += 1


async def _drink(port: int, request: bytes, bytes_a_second: int, until: float) -> None:
    """A stream or a document, read slowly or as it comes (0), until it ends or time is up."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with connection(port) as (reader, writer):
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            counts[head.split(b" ", 2)[1].decode()] += 1
            while time.monotonic() < until:
                most = bytes_a_second or 1 << 18
                piece = await asyncio.wait_for(
                    reader.read(most), max(0.1, until - time.monotonic())
                )
                if not piece:
                    counts["ended"] += 1
                    return
                if b"event: goodbye" in piece:
                    counts["goodbye"] += 1
                if bytes_a_second:
                    await asyncio.sleep(1)


async def cookies(port: int, token: str, until: float) -> None:
    """Headers that were quadratic, from six connections at a time, without a login."""
    lines = ("Cookie: a=" + " " * 19_700 + '"', 'Accept: W/"a"' + " " * 7_000 + "x",
             'If-None-Match: W/"a"' + " " * 7_000 + "x", "Cookie: " + "a=b; " * 3_000)  # fmt: skip
    paths = itertools.cycle((SNAPSHOT, STREAM, "/static/styles/base.css", "/api/v1/session"))

    async def one() -> None:
        while time.monotonic() < until:
            await _ask(port, get(next(paths), random.choice(lines), "X: y"))

    await asyncio.gather(*(one() for _ in range(6)))


async def forged(port: int, token: str, until: float) -> None:
    """Tokens of 5 KB that differ each time, 400 a second."""
    header, payload, _ = token.split(".")
    number = 0
    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() < until:
            number += 1
            if number % 3 == 0:  # looks right in all but its signature
                mine = f"{header}.{payload}.{'A' * 60}{number:026d}"
            else:
                mine = f"{header}.{'A' * 5_000}{number:08d}.{'B' * 86}"
            path = STREAM if number % 2 else SNAPSHOT
            tasks.create_task(_ask(port, get(path, as_(mine))))
            await asyncio.sleep(1 / 400)


async def crowd(port: int, token: str, until: float) -> None:
    """400 connections a second that stay open: after an answer, half of a head, or nothing."""
    said = (get("/static/styles/base.css", "X: y"), get(SNAPSHOT), b"GET / HTTP/1.1\r\nX: ", b"")
    async with contextlib.AsyncExitStack() as opened:
        for request in itertools.cycle(said):
            if time.monotonic() > until:
                return
            with contextlib.suppress(OSError):
                _, writer = await opened.enter_async_context(connection(port))
                writer.write(request)
                counts["opened"] += 1
            await asyncio.sleep(1 / 400)


async def snapshots(port: int, token: str, until: float) -> None:
    """One login asks for JSON of everything, ten at a time."""

    async def one() -> None:
        while time.monotonic() < until:
            await _ask(port, get(SNAPSHOT, as_(token)))

    await asyncio.gather(*(one() for _ in range(10)))


async def slow_snapshots(port: int, token: str, until: float) -> None:
    """120 readers of JSON, a kilobyte a second each."""
    await asyncio.gather(*(
        _drink(port, get(SNAPSHOT, as_(token)), 1_000, until) for _ in range(120)
    ))  # fmt: skip


async def filters(port: int, token: str, until: float) -> None:
    """100 streams, each with a wide filter of its own."""

    def asked(number: int) -> bytes:
        trunks = "".join(f"&trunk=gw-{one}" for one in range(10))
        return get(f"{STREAM}?state=answered,held{trunks}&trunk=x{number}", as_(token))

    await asyncio.gather(*(_drink(port, asked(number), 0, until) for number in range(100)))


async def slow_streams(port: int, token: str, until: float) -> None:
    """100 streams of everything that come one after the other and read a kilobyte a second."""

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.05)
        await _drink(port, get(STREAM, as_(token)), 1_000, until)

    await asyncio.gather(*(one(number) for number in range(100)))


async def joins(port: int, token: str, until: float) -> None:
    """Streams of everything that read their snapshot and come back at once."""

    async def one() -> None:
        while time.monotonic() < until:
            await _drink(port, get(STREAM, as_(token)), 0, min(until, time.monotonic() + 0.7))

    await asyncio.gather(*(one() for _ in range(8)))


async def _position(port: int, token: str) -> tuple[str, int]:
    """Where a stream of this login is: the tag of its numbering, and the version."""
    async with connection(port) as (reader, writer):
        writer.write(get(STREAM, as_(token)))
        async with asyncio.timeout(20):
            while not (line := await reader.readline()).startswith(b"id:"):
                pass
    tag, _, version = line[3:].decode().strip().rpartition("-")
    return tag, int(version)


async def resumes(port: int, token: str, until: float) -> None:
    """Streams that come back again and again from old positions: 50,000 changes behind."""
    tag, _ = await _position(port, token)

    async def one(number: int) -> None:
        while time.monotonic() < until:
            asked = get(f"{STREAM}?last_event_id={tag}-{number}", as_(token))
            await _drink(port, asked, 0, min(until, time.monotonic() + 0.7))
            number += 8

    await asyncio.gather(*(one(number) for number in range(1, 9)))


async def slow_resumes(port: int, token: str, until: float) -> None:
    """100 streams, each from another position 20,000 changes ago, that read a kilobyte a second:
    too little has changed since for a snapshot."""
    tag, version = await _position(port, token)

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.03)
        asked = get(f"{STREAM}?last_event_id={tag}-{version - 20_000 - number}", as_(token))
        await _drink(port, asked, 1_000, until)

    await asyncio.gather(*(one(number) for number in range(100)))


async def new_filters(port: int, token: str, until: float) -> None:
    """Each request with a new filter."""
    number = 0
    while time.monotonic() < until:
        number += 1
        path = f"{SNAPSHOT}?trunk=gw-1&trunk=new-{number}"
        await asyncio.gather(
            _ask(port, get(path, as_(token))),
            _drink(port, get(f"{STREAM}?trunk=gw-1&trunk=new-{number}", as_(token)), 0,
                   min(until, time.monotonic() + 0.2)),
        )  # fmt: skip


KINDS: dict[str, Callable[[int, str, float], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        cookies,
        forged,
        crowd,
        snapshots,
        slow_snapshots,
        filters,
        slow_streams,
        joins,
        new_filters,
        resumes,
        slow_resumes,
    )
}


async def main() -> None:
    kind, port, token, seconds = sys.argv[1:]
    await KINDS[kind](int(port), token, time.monotonic() + float(seconds))
    print(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main())
