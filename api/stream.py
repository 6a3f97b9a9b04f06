"""``GET /api/v1/live/calls``: the life of a stream, and its frames as SSE."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from api import sse
from api.auth import Verifier
from api.direct import Chunks
from livestate import diff
from livestate.access import Identity, Scope
from livestate.call import Call
from livestate.runtime.channel import Goodbye, Source, Subscriber
from livestate.runtime.hub import Hub
from livestate.view import View

SNAPSHOT_PART_BYTES: Final = 48 * 1024


class SseWire:
    """The hub's frames in the terms of the wire: events with ids.

    ``clock`` is the machine's time; ``steady`` the one in which a source is stale since when.
    """

    def __init__(self, clock: Callable[[], int], steady: Callable[[], int] | None = None) -> None:
        self.records = diff.Records()
        self.diffs = 0
        self._clock = clock
        self._steady = steady or clock

    def snapshot(self, view: View) -> list[bytes]:
        parts = diff.snapshot(view.snapshot(), self.records, self._clock(), SNAPSHOT_PART_BYTES)
        last = len(parts) - 1
        # Only the last part has an id: who loses the connection before it has nothing.
        return [
            sse.event("snapshot", part, _position(view) if index == last else None)
            for index, part in enumerate(parts)
        ]

    def diff(self, view: View, since: int, before: Mapping[str, Call | None]) -> bytes:
        self.diffs += 1
        rows = list(view.since(since))
        rows.reverse()
        data = diff.diff(rows, before, view.gone, self.records, self._clock())
        return sse.event("diff", data, _position(view))

    def heartbeat(self, view: View, source: Source) -> bytes:
        told: dict[str, int | str] = {"as_of": self._clock(), "source": "live"}
        if source.stale_since is not None:
            since = self._clock() - (self._steady() - source.stale_since)
            told |= {"source": "stale", "stale_since": since}
        told |= {"version": view.version, "calls": view.live, "digest": view.digest}
        return sse.event("heartbeat", orjson.dumps(told))

    def forget(self, key: str) -> None:
        self.records.forget(key)

    def rest(self) -> None:
        self.records.rest()


def _position(view: View) -> sse.Position:
    return sse.Position(view.tag, view.version)


def goodbye(reason: Goodbye) -> bytes:
    return sse.event("goodbye", orjson.dumps({"reason": reason}))


def retry() -> bytes:
    """Each client waits a while of its own, or all of them come back in the same instant."""
    return sse.retry(random.randint(1_000, 3_000))


@dataclass(slots=True)
class Streams:
    """The open streams: how many, whose, and which login each one rests on."""

    hub: Hub
    verifier: Verifier
    seconds: float
    most: int
    most_per_user: int
    ready: Callable[[], bool]
    draining: bool = False
    opened: Counter[str] = field(default_factory=Counter)  # by how they began
    ended: Counter[str] = field(default_factory=Counter)  # by reason
    _leases: dict[Subscriber, str] = field(default_factory=dict)
    _of_user: Counter[str] = field(default_factory=Counter)
    _held: tuple[int, frozenset[str]] | None = None

    def __len__(self) -> int:
        return len(self._leases)

    def refusal(self, identity: Identity) -> Goodbye | None:
        """Why this stream cannot be had now. It may be had soon, so the answer is a goodbye: any
        status but 200 kills a native EventSource for good."""
        if self.draining:
            return "drain"
        if not self.ready():
            return "starting"
        if len(self._leases) >= self.most or self._of_user[identity.subject] >= self.most_per_user:
            return "overload"
        return None

    async def refuse(self, reason: Goodbye) -> AsyncIterator[bytes]:
        self.ended[reason] += 1
        yield retry() + goodbye(reason)

    async def frames(
        self,
        identity: Identity,
        token: str,
        scope: Scope,
        position: sse.Position | None,
        outlet: Chunks | None,
    ) -> AsyncIterator[bytes]:
        """The bytes of one stream until it ends. A stream is a lease on its login: it ends when
        that expires or is revoked, and after about ``seconds`` in any case."""
        loop = asyncio.get_running_loop()
        subscriber = self.hub.subscribe(scope, position)
        resumed = subscriber.cursor is not None
        self.opened["resumed" if resumed else "unknown_id" if position else "fresh"] += 1
        self._leases[subscriber] = token
        self._of_user[identity.subject] += 1
        left = identity.expires_at - self.verifier.now()
        timers = (
            loop.call_later(min(left, 1e6), subscriber.end, "expired"),
            loop.call_later(self.seconds * random.uniform(0.75, 1), subscriber.end, "rotation"),
        )
        subscriber.heartbeat_due = True  # says at once whether what follows is live
        try:
            first = retry()
            while not subscriber.over():
                subscriber.wake.clear()
                for frame in subscriber.next_frames():
                    yield first + frame
                    first = b""
                    if subscriber.over():
                        break
                else:
                    if outlet is not None and not subscriber.over():
                        subscriber.attach(outlet)
                    await subscriber.wake.wait()
            if subscriber.ended is not None:
                yield goodbye(subscriber.ended)
        finally:
            for timer in timers:
                timer.cancel()
            subscriber.leave()
            del self._leases[subscriber]
            self._of_user[identity.subject] -= 1
            if not self._of_user[identity.subject]:
                del self._of_user[identity.subject]
            self.ended[subscriber.ended or "gone"] += 1

    def recheck(self) -> None:
        """End the streams whose login is no longer good; cheap if nothing has changed."""
        held = (self.verifier.keys.version, self.verifier.revocations.names)
        if held != self._held:
            self._held = held
            for subscriber, token in tuple(self._leases.items()):
                if not self.verifier.still_good(token):
                    subscriber.end("revoked")

    async def drain(self, seconds: float) -> None:
        """Say goodbye to everybody; back when they are gone, or after ``seconds``."""
        self.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for subscriber in tuple(self._leases):
            subscriber.end("drain")
        while self._leases and loop.time() < deadline:
            await asyncio.sleep(0.02)
