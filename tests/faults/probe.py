"""One call of one company, changed again and again: how long its dashboard waits for it."""

from __future__ import annotations

import asyncio
import time
from typing import Self

from tests.faults.rig import Rig
from tests.harness import Node, Stream

COMPANY = "999"  # none of the load's


class Probe:
    """``async with Probe(rig) as probe``. The walls that see all see its call too, until
    ``end()``: compare them with the truth only then."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._held = False

    async def __aenter__(self) -> Self:
        self._node = await Node.connect(self._rig.nats.url, "probe")
        token = self._rig.service.token("user", company_id=COMPANY, subject="probe")
        self._stream = await Stream.open(self._rig.service.url, token)
        await self._node.list()
        await self._node.call("1.1", company_id=COMPANY)
        await self._stream.until(lambda s: "answered" in s.states.values())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
        await self._stream.close()
        # It goes on beating: a node that falls silent makes the view stale. The rig ends it.
        self._rig.beating(self._node)

    async def end(self) -> None:
        if not self._stream.dashboard.calls:
            return
        await self._node.say("ended", "1.1", company_id=COMPANY, outcome="answered")
        await self._stream.until(lambda s: not s.dashboard.calls)

    async def delay(self) -> float:
        """Seconds from saying a change to seeing it."""
        phase, state = ("resume", "answered") if self._held else ("hold", "held")
        self._held = not self._held
        began = time.monotonic()
        await self._node.say(phase, "1.1", company_id=COMPANY)
        await self._stream.until(lambda s: state in s.states.values(), 10)
        return time.monotonic() - began

    async def delays(self, seconds: float) -> list[float]:
        """The delays measured in that time, the shortest first."""
        over = time.monotonic() + seconds
        lines = []
        while time.monotonic() < over:
            lines.append(await self.delay())
            await asyncio.sleep(0.02)
        return sorted(lines)
