"""What an engine has still to send to NATS: bounded, so that it never waits for NATS."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from livestate.nats.connection import AWAY, Connection

OUTBOX_BYTES: Final = 64_000_000
REFUSED_SECONDS: Final = 30.0


class Outbox:
    """Messages on their way to NATS, in order; the oldest are dropped beyond a bound."""

    def __init__(self, most_bytes: int = OUTBOX_BYTES) -> None:
        self.dropped = 0
        self.bytes = 0
        self._most = most_bytes
        self._messages: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()

    def put(self, subject: str, payload: bytes) -> None:
        """Never waits."""
        self._messages.append((subject, payload))
        self.bytes += len(payload)
        while self.bytes > self._most:
            self.bytes -= len(self._messages.popleft()[1])
            self.dropped += 1
        self._filled.set()

    def drop_all(self) -> None:
        self.dropped += len(self._messages)
        self._messages.clear()
        self.bytes = 0

    async def send(self, connection: Connection) -> None:
        """Send until cancelled. What cannot be sent is dropped: it would be out of date later."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            try:
                while self._messages:
                    subject, payload = self._messages.popleft()
                    self.bytes -= len(payload)
                    await connection.client.publish(subject, payload)
            except AWAY:
                self.dropped += 1
                self.drop_all()


class Refused:
    """Whether a message should not be sent now, because NATS has refused its subject: it is then
    tried seldom, for nats-server logs each refusal. ``clock`` in seconds."""

    def __init__(self, connection: Connection, subject: str, clock: Callable[[], float]) -> None:
        self._connection, self._subject, self._clock = connection, subject, clock
        self._again_at = 0.0

    def __call__(self) -> bool:
        refused = self._connection.missing_right
        if refused is None or self._subject not in refused.text:
            return False
        now = self._clock()
        if now < self._again_at:
            return True
        self._again_at = now + REFUSED_SECONDS
        return False
