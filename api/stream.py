"""``GET /api/v1/live/calls``: the life of a stream, from the first byte to the goodbye."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from api import sse
from api.admission import Admission
from api.auth import Verifier
from api.direct import Outlet
from api.stall import Stalls
from api.wheel import TURN_SECONDS, Wheel
from livestate.access import Identity
from livestate.runtime.channel import Goodbye, Subscriber
from livestate.runtime.frame import GZIP_HEADER, Follower, Frame
from livestate.runtime.hub import Hub

SWEEP_TURNS: Final = 5  # a system call a stream: all have had theirs in so many, who lags in each
# How long a client waits before it comes back (ms, from and to). After a drain, one more
# millisecond for each stream there was, so that a thousand do not come in the same instant.
RETRY_MS: Final[dict[Goodbye | None, tuple[int, int]]] = {
    None: (1_000, 3_000), "drain": (500, 1_500), "rotation": (0, 500), "starting": (500, 1_500),
    "overload": (3_000, 6_000), "expired": (1_000, 3_000), "revoked": (1_000, 3_000),
    "stalled": (1_000, 3_000),
}  # fmt: skip
SPREAD_MS: Final = 4_000  # at most: a wall is to be live again within 10 s


def retry_ms(reason: Goodbye | None, streams: int = 0) -> int:
    shortest, longest = RETRY_MS[reason]
    return random.randint(shortest, longest + (min(streams, SPREAD_MS) if reason == "drain" else 0))


def goodbye(reason: Goodbye, streams: int = 0) -> Frame:
    """The last event of a stream, and how long to wait before the next one."""
    told = sse.event("goodbye", orjson.dumps({"reason": reason}))
    return Frame(sse.retry(retry_ms(reason, streams)) + told)


class Lease(NamedTuple):
    """What a stream rests on."""

    token: str
    subject: str
    client: str | None  # an address, where streams are counted on one
    outlet: Outlet | None


@dataclass(slots=True)
class Streams:
    """The open streams: how many, whose, and which login each one rests on."""

    hub: Hub
    verifier: Verifier
    seconds: float
    most: int
    most_per_user: int
    most_per_address: int
    ready: Callable[[], bool]
    draining: bool = False
    opened: Counter[str] = field(default_factory=Counter)  # by how they began
    ended: Counter[str] = field(default_factory=Counter)  # by reason
    renewals: Wheel[Subscriber] = field(init=False)
    expiries: Wheel[Subscriber] = field(init=False)
    _leases: dict[Subscriber, Lease] = field(default_factory=dict)
    _of_user: Counter[str | None] = field(default_factory=Counter)
    _of_address: Counter[str | None] = field(default_factory=Counter)
    _stalls: Stalls[Subscriber] = field(default_factory=Stalls)
    _held: tuple[int, frozenset[str]] | None = None

    def __post_init__(self) -> None:
        self.renewals = Wheel(lambda subscriber: subscriber.end("rotation"))
        self.expiries = Wheel(lambda subscriber: subscriber.end("expired"))

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def starting(self) -> bool:
        """What came back from the time before us is not known to be true yet."""
        return not self.draining and not self.ready()

    def refusal(self, identity: Identity, client: str | None) -> Goodbye | None:
        """Why this stream cannot be had now. It may be had soon, so the answer is a goodbye: any
        status but 200 kills a native EventSource for good."""
        if self.draining:
            return "drain"
        if self.starting:
            return "starting"
        if (
            len(self._leases) >= self.most
            or self._of_user[identity.subject] >= self.most_per_user
            or (client is not None and self._of_address[client] >= self.most_per_address)
        ):
            return "overload"
        return None

    async def frames(
        self, admission: Admission, outlet: Outlet | None, follower: Follower | None
    ) -> AsyncIterator[bytes]:
        """The bytes of one stream until it ends, or goes on without a task. A stream is a lease on
        its login: it ends when that expires or is revoked, and after about ``seconds`` in any case.

        With a ``follower`` they are gzip. It is counted on the client where that is an address.
        Between the question whether it may be and the counting is no await: of many that come at
        once not one is too many.
        """
        form: Callable[[Frame], bytes] = bytes if follower is None else follower.block
        head = b"" if follower is None else GZIP_HEADER
        reason = self.refusal(admission.identity, admission.client)
        if reason is not None:
            self.ended[reason] += 1
            yield head + form(goodbye(reason))
            return
        subscriber = self._begin(admission, outlet)
        awake = asyncio.Event()
        subscriber.wake = awake.set
        handed_over = False
        try:
            yield head + form(Frame(sse.retry(retry_ms(None))))
            while not subscriber.over():
                awake.clear()
                for frame in subscriber.next_frames():
                    yield form(frame)
                    if subscriber.over():
                        break
                else:
                    if outlet is not None and not outlet.closing:
                        self._hand_over(subscriber, outlet)
                        subscriber.attach(outlet)
                        handed_over = True
                        return
                    await awake.wait()
            if subscriber.ended is not None:
                yield form(goodbye(subscriber.ended, len(self._leases)))
        finally:
            if not handed_over:
                self._end(subscriber)
                if outlet is not None:
                    outlet.spare(spared=False)

    def open(self, admission: Admission, outlet: Outlet, head: bytes) -> bool:
        """The same without a task from the first byte, which is that of ``head``, where the stream
        may be; else False, and nothing has happened."""
        if outlet.closing or self.refusal(admission.identity, admission.client) is not None:
            return False
        subscriber = self._begin(admission, outlet)
        self._hand_over(subscriber, outlet)
        subscriber.outlet = outlet
        outlet.begin(head, [Frame(sse.retry(retry_ms(None))), *subscriber.next_frames()])
        return True

    def _hand_over(self, subscriber: Subscriber, outlet: Outlet) -> None:
        """The stream goes on without a task: the hub writes, and callbacks end it."""

        def dismiss() -> None:
            if subscriber.ended is not None:
                outlet.finish(goodbye(subscriber.ended, len(self._leases)))

        outlet.take_over(lost=lambda: self._end(subscriber))
        subscriber.wake = dismiss

    def _begin(self, admission: Admission, outlet: Outlet | None) -> Subscriber:
        identity, client, position = admission.identity, admission.client, admission.position
        subscriber = self.hub.subscribe(admission.scope, position)
        resumed = subscriber.cursor is not None
        self.opened["resumed" if resumed else "unknown_id" if position else "fresh"] += 1
        subscriber.heartbeat_due = True  # says at once whether what follows is live
        self._leases[subscriber] = Lease(admission.token, identity.subject, client, outlet)
        self._of_user[identity.subject] += 1
        self._of_address[client] += 1
        now = asyncio.get_running_loop().time()
        if outlet is not None:
            outlet.spare()
        self.expiries.put(subscriber, now + identity.expires_at - self.verifier.now())
        self.renewals.put(subscriber, now + self.seconds * random.uniform(0.75, 1))
        return subscriber

    def _end(self, subscriber: Subscriber) -> None:
        subscriber.leave()
        lease = self._leases.pop(subscriber)
        self.expiries.take(subscriber)
        self.renewals.take(subscriber)
        self._stalls.forget(subscriber)
        _one_less(self._of_user, lease.subject)
        _one_less(self._of_address, lease.client)
        self.ended[subscriber.ended or "gone"] += 1

    def recheck(self) -> None:
        """End the streams whose login is no longer good; cheap if nothing has changed."""
        held = (self.verifier.keys.version, self.verifier.revocations.names)
        if held != self._held:
            self._held = held
            for subscriber, lease in tuple(self._leases.items()):
                if not self.verifier.still_good(lease.token):
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
        for lease in tuple(self._leases.values()):  # who takes nothing does not take a goodbye
            if lease.outlet is not None:
                lease.outlet.abort()

    def sweep(self, streams: Iterable[Subscriber], now: float) -> None:
        """Cut off the clients among them that have taken nothing for too long. Who reads, however
        little, stays. Not on the way of a write, which would wait with them."""
        for subscriber in streams:
            lease = self._leases.get(subscriber)
            outlet = lease.outlet if lease is not None else None
            if outlet is not None and self._stalls.stalled(subscriber, outlet.owed, now):
                subscriber.end("stalled")
                outlet.abort()

    async def run(self) -> None:
        """Deadlines and stalls, until cancelled."""
        loop = asyncio.get_running_loop()
        rest: list[Subscriber] = []
        share = 0
        while True:
            await asyncio.sleep(TURN_SECONDS)
            now = loop.time()
            self.expiries.turn(now)
            self.renewals.turn(now)
            if not rest:
                rest = list(self._leases)
                share = len(rest) // SWEEP_TURNS + 1
            self.sweep({*rest[:share], *self._stalls}, now)
            del rest[:share]


def _one_less(counter: Counter[str | None], name: str | None) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]  # whoever was here once must not stay for ever
