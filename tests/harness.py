"""A node to speak as, a stream to listen with, and a service to put between them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any, Self

import httpx
import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig

from api.cli.child_service import Instance
from livestate.contract.events import CDR_SUBJECT
from livestate.nats.jetstream import STREAM as CDR_STREAM
from livestate.process.tasks import cancel_and_wait
from tests.stream_client import STREAM, Stream

_names = itertools.count(1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(
    wanted: Callable[[], object], seconds: float = 15, why: Callable[[], object] = lambda: ""
) -> None:
    """Wait for a condition; the failure shows ``why()``."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, f"not within {seconds} s: {why()}"
        await asyncio.sleep(0.02)


class Node:
    """A SIP node as a test plays it: numbers its events and beats by itself."""

    def __init__(self, client: Client, name: str | None = None) -> None:
        self.name = name or f"node-{next(_names)}"
        self.epoch = now_ms()
        self.seq = 0
        self.lists = 0
        self.ahead_ms = 0  # of its clock
        self.hurried = False  # do not wait until NATS has each message
        self.client = client
        self._silent = False
        self._beating = asyncio.create_task(self._beat())

    @classmethod
    async def connect(cls, url: str, name: str | None = None) -> Self:
        client = await nats.connect(
            url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_quiet,
            inbox_prefix="_INBOX.bridge",
        )  # fmt: skip
        return cls(client, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.silence()
        await cancel_and_wait(self._beating)  # one cancellation can be lost in a flush of nats-py
        with contextlib.suppress(OSError):
            await self.client.close()

    def silence(self) -> None:
        self._silent = True
        self._beating.cancel()

    async def say(self, phase: str, dialog: str, /, **facts: Any) -> None:
        """One event; ``from_`` is from."""
        self.seq += 1
        if "from_" in facts:
            facts["from"] = facts.pop("from_")
        facts.setdefault("call_id", f"{dialog}@{self.name}")
        await self.publish(phase, self.envelope() | {"dialog": dialog} | facts)

    async def call(self, dialog: str, /, state: str = "answered", **facts: Any) -> None:
        """A call from its setup to ``state``."""
        await self.say("setup", dialog, setup_at=now_ms(), **facts)
        for phase, reached in (("ringing", "ringing"), ("answered", "answered"), ("hold", "held")):
            await self.say(phase, dialog, **facts)
            if reached == state:
                return

    async def write_cdr(self, dialog: str, /, **facts: Any) -> None:
        """The call's end as a CDR only, without an event."""
        self.seq += 1
        await publish_cdrs(self.client, orjson.dumps(cdr(self, dialog, **facts)))

    async def list(self, *calls: dict[str, Any]) -> None:
        self.lists += 1
        head = {"sync_id": str(self.lists), "part": 1, "parts": 1, "calls": calls}
        await self.publish("sync", self.envelope() | head)

    async def publish(self, phase: str, message: dict[str, Any]) -> None:
        await self.client.publish(f"call.events.{phase}", orjson.dumps(message | {"phase": phase}))
        if not self.hurried:
            await self.client.flush()

    def envelope(self) -> dict[str, Any]:
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": self.seq,
                "ts": now_ms() + self.ahead_ms}  # fmt: skip

    async def _beat(self) -> None:
        while not self._silent:
            with contextlib.suppress(NatsError, OSError):
                await self.publish("heartbeat", self.envelope())
            await asyncio.sleep(1)


def cdr(node: Node, dialog: str, /, **facts: Any) -> dict[str, Any]:
    """A CDR as a bridge writes it: the call's terminal event."""
    fields = {"phase": "ended", "call_id": f"{dialog}@{node.name}", "dialog": dialog,
            "ended_at": now_ms()}  # fmt: skip
    return node.envelope() | fields | facts


async def publish_cdrs(client: Client, *messages: bytes) -> None:
    """CDRs, or what pretends to be: in order, until the stream has them."""
    streams = client.jetstream()
    for at in range(0, len(messages), 1_000):
        batch = messages[at : at + 1_000]
        await asyncio.gather(*[await streams.publish_async(CDR_SUBJECT, each) for each in batch])


async def stored_cdrs(client: Client, subject: str = CDR_SUBJECT) -> list[Msg]:
    """All messages that the stream of CDRs holds on ``subject``, in order."""
    # Without acknowledgements: NATS delivers no more than a thousand unacknowledged messages.
    unacknowledged = ConsumerConfig(ack_policy=AckPolicy.NONE)
    reader = await client.jetstream().pull_subscribe(
        subject, stream=CDR_STREAM, config=unacknowledged
    )
    left = (await reader.consumer_info()).num_pending or 0
    found: list[Msg] = []
    while left:
        for message in await reader.fetch(min(left, 500), timeout=5):
            left = message.metadata.num_pending
            found.append(message)
    await reader.unsubscribe()
    return found


async def _quiet(error: Exception) -> None:
    """NATS is killed in some tests; the node comes back by itself."""


async def snapshot(
    service: Instance, token: str, query: dict[str, str] | None = None
) -> dict[str, Any]:
    """The table as JSON, as the service has it now."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            f"{service.url}{STREAM}/snapshot", params=query, headers=bearer(token)
        )
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


async def until_folded(
    service: Instance, token: str, states: list[str], seconds: float = 10
) -> None:
    """Wait until the calls that ``token`` may see have these states, in any order.

    ``Node`` returns when NATS has an event, which is before the service has read it: a test whose
    stream must begin with a call waits for it here first.
    """
    seen: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            while seen != sorted(states):
                calls = (await snapshot(service, token))["calls"].values()
                seen = sorted(call["state"] for call in calls)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not {states} within {seconds} s: {seen}") from None


async def agrees(
    service: Instance, stream: Stream, token: str, query: dict[str, str] | None = None
) -> None:
    """Promise V: the stream's fold is what the service has, call for call and field for field."""
    deadline = time.monotonic() + 8
    while True:
        current = await snapshot(service, token, query)
        if stream.dashboard.last_id == current["id"]:
            break
        at = f"the stream is at {stream.dashboard.last_id}, the service at {current['id']}"
        assert time.monotonic() < deadline, f"{at}; its end:\n{stream.raw[-1500:].decode()}"
        await asyncio.sleep(0.02)
    mine, theirs = stream.dashboard.calls, current["calls"]
    assert mine == theirs, {
        key: (mine.get(key), theirs.get(key))
        for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)
    }  # fmt: skip
    assert stream.dashboard.digest == current["digest"]
    assert stream.dashboard.diverged == 0, stream.raw[-3000:].decode()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def metrics(service: Instance) -> dict[str, float]:
    """``/metrics`` by sample name with labels, as in its text. Of an engine and its edge (see
    tests/faults/roles.py) both, and the edge's where both have one."""
    found: dict[str, float] = {}
    async with httpx.AsyncClient() as client:
        for url in getattr(service, "admin_urls", (service.admin_url,)):
            text = (await client.get(f"{url}/metrics")).text
            lines = (line.rpartition(" ") for line in text.split("\n") if line and line[0] != "#")
            found |= {name: float(value) for name, _, value in lines}
    return found
