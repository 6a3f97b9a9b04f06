"""What an engine has still to send: bounded, and the engine never waits for NATS."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from nats.errors import ConnectionClosedError

from livestate.cluster.outbox import Outbox
from livestate.nats.connection import Connection
from livestate.process.tasks import cancel_and_wait


class Line:
    """A connection whose NATS takes messages only when the test lets it."""

    def __init__(self) -> None:
        self.client = self
        self.open, self.taken = asyncio.Event(), list[bytes]()
        self.away = False

    async def publish(self, subject: str, payload: bytes) -> None:
        await self.open.wait()
        if self.away:
            raise ConnectionClosedError
        self.taken.append(payload)


async def until(reached: Any) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.01)


async def test_the_oldest_are_dropped_and_counted_while_nats_takes_nothing() -> None:
    outbox, line = Outbox(most_bytes=100), Line()
    sending = asyncio.create_task(outbox.send(cast("Connection", line)))
    outbox.put("frames", b"0" * 10)
    await until(lambda: outbox.bytes == 0)  # the first one is on its way
    for number in range(1, 31):
        outbox.put("frames", b"%010d" % number)  # never waits: this is no coroutine
    assert (outbox.bytes, outbox.dropped) == (100, 20)
    line.open.set()
    await until(lambda: len(line.taken) == 11)
    assert line.taken == [b"0" * 10, *(b"%010d" % number for number in range(21, 31))]
    assert outbox.bytes == 0
    await cancel_and_wait(sending)


async def test_what_waits_for_a_nats_that_is_away_is_dropped_and_counted() -> None:
    outbox, line = Outbox(), Line()
    sending = asyncio.create_task(outbox.send(cast("Connection", line)))
    for number in range(5):
        outbox.put("frames", b"%d" % number)
    line.away = True
    line.open.set()
    await until(lambda: outbox.dropped == 5)
    line.away = False
    outbox.put("frames", b"new")
    await until(lambda: line.taken == [b"new"])
    assert outbox.bytes == 0
    await cancel_and_wait(sending)
