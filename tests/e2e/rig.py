"""All of it, from SIP to the page, and the questions that each end answers.

    SIPp ⇄ Kamailio → bridge → nats-server → livestate → Redis
                                                 └→ a stream, a page in Chromium

nats-server runs with the rights that are shipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self

import nats
import orjson
from redis.asyncio import Redis as RedisClient

from api.cli.child_service import Instance
from livestate.devtools.servers import Valkey
from livestate.store.keys import UNPREFIXED
from livestate.store.loader import load
from tests.e2e.lab import BridgeProcess, Kamailio, Phones, Planned
from tests.e2e.witness import Screen, Seen, on_stream, screen
from tests.harness import Stream, snapshot, stored_cdrs
from tests.unit.nats.test_rights import Guarded

RIGHT_SECONDS: Final = 5.0  # the live view, after a fault is over


class Rig:
    """``async with Rig(…) as rig``."""

    def __init__(self, home: Path, chromium: str, kamailio: Kamailio | None = None) -> None:
        (home / "nats").mkdir(parents=True)
        self.nats = Guarded(home / "nats")
        self.redis = Valkey()
        self.kamailio = kamailio or Kamailio()
        self.bridge = BridgeProcess(self.kamailio.port, self.nats.url_of("bridge"), home / "spool")
        self.service = Instance(home / "keys", {
            "NATS_URL": self.nats.url_of("livestate"), "REDIS_URL": self.redis.url,
            "READY_SECONDS": "1",
        })  # fmt: skip
        self._chromium = chromium
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        try:
            await asyncio.gather(enter(self.nats), enter(self.redis), enter(self.kamailio))
            await asyncio.gather(enter(self.service), enter(self.bridge))
            await self.service.until_ready()
            self.phones = await enter(Phones(self.kamailio))
            self.stream = await enter(await Stream.open(self.service.url, self.service.token()))
            self.screen: Screen = await enter(screen(self._chromium, self.service))
            await asyncio.sleep(1)  # SIPp binds its ports without telling
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def until(self, wanted: Callable[[], Awaitable[object]], seconds: float) -> float:
        """How long it took until ``wanted()`` held; what it raised last, if it never did."""
        began = time.monotonic()
        while True:
            try:
                await wanted()
                return time.monotonic() - began
            except AssertionError:
                if time.monotonic() - began > seconds:
                    raise
            await asyncio.sleep(0.05)

    async def live(self) -> dict[str, str]:
        """The live calls by caller, where stream, page, JSON and Redis agree on them."""
        served = (await snapshot(self.service, self.service.token()))["calls"]
        live = {call["from"]: call["state"] for call in served.values()}
        streamed = {c["from"]: c["state"] for c in self.stream.dashboard.calls.values()}
        shown = {n: c["state"] for n, c in (await self.screen.calls()).items()}
        assert streamed == shown == live, (streamed, shown, live)
        async with RedisClient.from_url(self.redis.url) as redis:
            held = await load(redis)
            active = {name.decode() for name in await redis.zrange(UNPREFIXED.active, 0, -1)}
        assert held is not None
        stored = {call.caller: call.state for call, _ in held.calls if call.key in active}
        assert stored == live, (stored, live)
        assert len(active) == len(live), (active, live)
        return live

    async def are_live(self, calls: Iterable[Planned], state: str = "answered") -> None:
        live, wanted = await self.live(), {call.number: state for call in calls}
        assert live == wanted, (live, wanted)

    async def quiet(self) -> None:
        await self.are_live(())

    async def cdrs(self) -> dict[str, list[dict[str, Any]]]:
        """The CDRs that ``cdr.raw`` holds, by caller. Each message has an id of its own."""
        client = await nats.connect(self.nats.url_of("livestate"), inbox_prefix="_INBOX.livestate")
        try:
            found: dict[str, list[dict[str, Any]]] = {}
            ids = set()
            for message in await stored_cdrs(client):
                cdr = orjson.loads(message.data)
                found.setdefault(cdr.get("from", ""), []).append(cdr)
                assert message.headers is not None
                assert message.headers["Nats-Msg-Id"] not in ids
                ids.add(message.headers["Nats-Msg-Id"])
            return found
        finally:
            await client.close()

    async def each_has_one_cdr(self, calls: Iterable[Planned]) -> None:
        """Every call has one, with its outcome, and there are no others."""
        found = await self.cdrs()
        outcomes = {number: [c["outcome"] for c in cdrs] for number, cdrs in found.items()}
        wanted = {call.number: [call.outcome] for call in calls}
        assert outcomes == wanted, (outcomes, wanted)

    async def page_tells(self, calls: Iterable[Planned]) -> None:
        """Of each of them how it ended: the page paints five times a second."""
        seen = await self.screen.seen()
        for call in calls:
            outcome = seen[call.number].outcome
            assert outcome == call.outcome, (call, outcome)

    async def restart_was_noticed(self) -> None:
        """The calls of a new epoch are confirmed by a list of it."""
        assert "the node restarted" in self.bridge.said()
        calls = (await snapshot(self.service, self.service.token()))["calls"].values()
        assert not any(call.get("unconfirmed") for call in calls)

    async def check(self) -> int:
        """The exit status of ``livestate bridge --check`` beside the running bridge."""
        checking = await asyncio.create_subprocess_exec(
            self.bridge.program, "bridge", "--check", "--evapi", f"127.0.0.1:{self.kamailio.port}",
            "--nats-url", self.nats.url_of("bridge"), "--spool", self.bridge.data,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return await checking.wait()

    def on_stream(self) -> dict[str, Seen]:
        return on_stream(self.stream.events)
