"""The open streams, each with its login and deadline.

A stream is a lease on its login. It ends when that expires or is revoked, and in any case after
about ``seconds``, so that connections spread anew over the instances. The registry admits streams,
connects each with the fan-out, counts them by user and address, and ends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from api.auth.verifier import Verifier
from api.http.tcp_progress import Stalls
from api.stream import sse
from api.stream.admission import Admission
from api.stream.ahead import catch_up, is_ahead
from api.stream.filtered_views import Filters
from api.stream.goodbye import goodbye, retry_ms
from api.stream.task_outlet import DELIVERY_MICROSECONDS, TaskOutlet
from livestate.fanout.distributor import Distributor
from livestate.fanout.frame import Frame
from livestate.fanout.subscriber import Goodbye, Outlet, Subscriber
from livestate.state.access import Identity, Scope
from livestate.state.view import View

RECHECKED_AT_ONCE: Final = 100
UNDECIDED_SECONDS: Final = 3.0
UNDECIDED_AGAIN_SECONDS: Final = 0.1
TURN_SECONDS: Final = 1.0  # how late a deadline may be
SWEEP_TURNS: Final = 5  # a look costs a system call, so each stream has one in so many turns
LOOKED_AT: Final = 100  # clients for :meth:`StreamRegistry.behind`: a system call each


class StreamHub(Protocol):
    """Where streams begin: :class:`~livestate.fanout.hub.Hub`, or
    :class:`~livestate.cluster.served_hub.ServedHub`."""

    @property
    def distributors(self) -> Mapping[View, Distributor]: ...
    @property
    def undecided(self) -> bool: ...
    def prepared(self, scope: Scope) -> bool: ...
    async def prepare(self, scope: Scope) -> bool: ...
    def view(self, scope: Scope) -> View: ...
    def release(self, view: View) -> None: ...
    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber: ...


class StreamOutlet(Outlet, Protocol):
    """The way out of one stream, of either kind: :class:`~api.http.connection.Connection` or
    :class:`~api.stream.task_outlet.TaskOutlet`."""

    @property
    def closing(self) -> bool: ...
    @property
    def unacknowledged(self) -> int | None: ...
    @property
    def unsent(self) -> int: ...
    def begin(
        self, head: bytes, frames: Sequence[Frame], *, gzip: bool, on_lost: Callable[[], None]
    ) -> None: ...
    def finish(self, frame: Frame) -> None: ...
    def abort(self) -> None: ...


class StreamEntry(NamedTuple):
    """One open stream."""

    token: str
    identity: Identity
    scope: Scope
    client: str | None  # an address, where streams are counted on one
    outlet: StreamOutlet
    deadline: float  # loop time
    at_deadline: Goodbye
    opened_at: float  # loop time
    reader: str | None


@dataclass(slots=True)
class StreamRegistry:
    """All open streams of this process."""

    hub: StreamHub
    verifier: Verifier
    seconds: float
    most: int
    most_per_user: int
    most_per_address: int
    ready: Callable[[], bool]
    filters: Filters = field(default_factory=lambda: Filters(64, 8))
    draining: bool = False
    opened: Counter[str] = field(default_factory=Counter)  # by how they began
    ended: Counter[str] = field(default_factory=Counter)  # by reason
    _entries: dict[Subscriber, StreamEntry] = field(default_factory=dict)
    _of_user: Counter[str | None] = field(default_factory=Counter)
    _of_address: Counter[str | None] = field(default_factory=Counter)
    _of_reader: dict[tuple[str, str], Subscriber] = field(default_factory=dict)
    _stalls: Stalls[Subscriber] = field(default_factory=Stalls)
    _judged: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def starting(self) -> bool:
        """Whether the calls from before the start are still being checked."""
        return not self.draining and not self.ready()

    async def still_starting(self) -> bool:
        """The same for requests that can wait: a process that has just lost the lease soon knows
        where its calls come from."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNDECIDED_SECONDS):
                while self.hub.undecided:
                    await asyncio.sleep(UNDECIDED_AGAIN_SECONDS)
        return self.starting

    def refusal(self, admission: Admission, paid: bool = False) -> Goodbye | None:
        """Why this stream is refused now, None if it is not. It may be admitted soon, so the
        response is a goodbye: any status but 200 ends a native EventSource for good. ``paid``: it
        was not refused before, and waited for its view since."""
        subject, client = admission.identity.subject, admission.client
        if self.draining:
            return "drain"
        if self.starting:
            return "starting"
        freed = 0 if self._replaced(admission) is None else 1
        if (
            len(self._entries) - freed >= self.most
            or self._of_user[subject] - freed >= self.most_per_user
            or (client is not None and self._of_address[client] - freed >= self.most_per_address)
            or self.filters.refuses(subject, admission.scope, time.monotonic(), paid)
        ):
            return "overload"
        return None

    def open(self, admission: Admission, outlet: StreamOutlet, head: bytes) -> bool:
        """Begin a stream on ``outlet`` whose response begins with ``head``, where it may be now;
        else False, and nothing has happened."""
        if not self.hub.prepared(admission.scope):  # :meth:`frames` waits for it
            return False
        if outlet.closing or self.refusal(admission) is not None:
            return False
        if is_ahead(self.hub, admission):  # likewise
            return False
        self._begin(admission, outlet, head)
        return True

    async def frames(self, admission: Admission) -> AsyncIterator[bytes]:
        """The body of a response: a stream through ASGI, or the goodbye of one that cannot be
        had now."""
        outlet = TaskOutlet(gzip=admission.gzip)
        reason = self.refusal(admission)
        if reason is None and not self.hub.prepared(admission.scope):
            here = await self.hub.prepare(admission.scope)
            reason = self.refusal(admission, paid=True) if here else "starting"
        if reason is None and is_ahead(self.hub, admission):
            here = await catch_up(self.hub, admission)
            reason = self.refusal(admission, paid=True) if here else "starting"
        if reason is not None:
            self.ended[reason] += 1
            outlet.finish(goodbye(reason))
        else:
            subscriber = self._begin(admission, outlet, b"")
            subscriber.distributor.defers(subscriber, DELIVERY_MICROSECONDS)
            outlet.on_sent = subscriber.offer
        # Closed here: when the server drops this generator, the stream ends now, not at the next
        # garbage collection.
        async with contextlib.aclosing(outlet.pieces()) as pieces:
            async for piece in pieces:
                yield piece

    def _begin(self, admission: Admission, outlet: StreamOutlet, head: bytes) -> Subscriber:
        """The only place where a stream begins. There is no await between the question whether it
        may be (:meth:`refusal`) and the counting, so the limits hold under concurrency."""
        identity, client, position = admission.identity, admission.client, admission.position
        replaced = self._replaced(admission)
        if replaced is not None:
            replaced.end("replaced")
        subscriber = self.hub.subscribe(admission.scope, position)
        resumed = subscriber.cursor is not None
        self.opened["resumed" if resumed else "unknown_id" if position else "fresh"] += 1
        subscriber.heartbeat_due = True  # says at once whether what follows is live
        now = asyncio.get_running_loop().time()
        expiry = now + identity.expires_at - self.verifier.now()
        renewal = now + self.seconds * random.uniform(0.75, 1)
        self._entries[subscriber] = StreamEntry(
            admission.token,
            identity,
            admission.scope,
            client,
            outlet,
            min(expiry, renewal),
            "expired" if expiry <= renewal else "rotation",
            now,
            admission.reader,
        )
        if self.verifier.sessions is not None:
            self.verifier.sessions.hold(identity)
        self.filters.opened(identity.subject, admission.scope)
        if admission.reader is not None:
            self._of_reader[identity.subject, admission.reader] = subscriber
        self._of_user[identity.subject] += 1
        self._of_address[client] += 1

        def on_end(reason: Goodbye) -> None:
            outlet.finish(goodbye(reason, len(self._entries)))

        subscriber.attach(outlet, on_end)
        first = [Frame(sse.retry(retry_ms(None))), *subscriber.next_frames()]
        outlet.begin(head, first, gzip=admission.gzip, on_lost=lambda: self._end(subscriber))
        return subscriber

    def _replaced(self, admission: Admission) -> Subscriber | None:
        """The older stream of the same page. The page has left it, but a proxy between did not
        hang up (Caddy with ``flush_interval -1``, nginx with ``proxy_ignore_client_abort``)."""
        if admission.reader is None:
            return None
        return self._of_reader.get((admission.identity.subject, admission.reader))

    def leave(self, subject: str, reader: str) -> None:
        """End the stream of a page that is gone, if it is still open."""
        subscriber = self._of_reader.get((subject, reader))
        if subscriber is not None:
            subscriber.end("replaced")

    def sending_seconds(self, subject: str, reader: str) -> float | None:
        """How long the stream of a page has been open; None: it has none here."""
        subscriber = self._of_reader.get((subject, reader))
        if subscriber is None:
            return None
        return asyncio.get_running_loop().time() - self._entries[subscriber].opened_at

    def _end(self, subscriber: Subscriber) -> None:
        subscriber.leave()
        entry = self._entries.pop(subscriber)
        subject = entry.identity.subject
        if entry.reader is not None and self._of_reader.get((subject, entry.reader)) is subscriber:
            del self._of_reader[subject, entry.reader]
        if self.verifier.sessions is not None:
            self.verifier.sessions.release(entry.identity)
        self._stalls.forget(subscriber)
        self.filters.closed(subject, entry.scope)
        _one_less(self._of_user, subject)
        _one_less(self._of_address, entry.client)
        self.ended[subscriber.ended or "gone"] += 1

    async def recheck(self) -> None:
        """End the streams whose login is no longer good; cheap if nothing has changed. Signatures
        are only verified again where the key that made them left the set, and not all at once."""
        verifier = self.verifier
        sessions = verifier.sessions.version if verifier.sessions is not None else 0
        judged = (
            verifier.keys.version,
            verifier.revocations.version,
            verifier.logouts.version,
            sessions,
        )
        if judged == self._judged:
            return
        new_keys = judged[0] != self._judged[0]
        self._judged = judged
        for number, (subscriber, entry) in enumerate(tuple(self._entries.items()), 1):
            if not verifier.still_good(entry.token if new_keys else entry.identity):
                subscriber.end("revoked")
            if number % RECHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def drain(self, seconds: float) -> None:
        """Send a goodbye to every stream; return when all have ended, or after ``seconds``."""
        self.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for subscriber in tuple(self._entries):
            subscriber.end("drain")
        while self._entries and loop.time() < deadline:
            await asyncio.sleep(0.02)
        for entry in tuple(self._entries.values()):  # a client that reads nothing reads no goodbye
            entry.outlet.abort()

    def sweep(self, streams: Iterable[Subscriber], now: float) -> None:
        """Cut off the clients among them that have taken nothing for too long. A client that reads
        a little stays. It runs beside the writes, which do not wait for it."""
        for subscriber in streams:
            entry = self._entries.get(subscriber)
            if entry is None:
                continue
            if self._stalls.stalled(subscriber, entry.outlet.unacknowledged, now):
                subscriber.end("stalled")
                entry.outlet.abort()

    def end_overdue(self, now: float) -> None:
        """End the streams whose deadline is over. A comparison a stream: 5,000 take 0.3 ms."""
        overdue = [(one, entry) for one, entry in self._entries.items() if entry.deadline <= now]
        for subscriber, entry in overdue:
            subscriber.end(entry.at_deadline)

    def behind(self) -> dict[Subscriber, tuple[StreamEntry, float]]:
        """The streams whose clients have not taken what was sent, and since when (loop time)."""
        found: dict[Subscriber, tuple[StreamEntry, float]] = {}
        for distributor in self.hub.distributors.values():
            for one, since in distributor.lagging.items():
                if one in self._entries:
                    found[one] = self._entries[one], since
        for one, known in self._stalls.longest(LOOKED_AT):
            entry = self._entries[one]
            if entry.outlet.unacknowledged == known.mark:  # no progress since
                found[one] = entry, min(known.since, found.get(one, (entry, known.since))[1])
        return found

    async def run(self) -> None:
        """Deadlines and stalls, until cancelled."""
        loop = asyncio.get_running_loop()
        rest: list[Subscriber] = []
        share = 0
        while True:
            await asyncio.sleep(TURN_SECONDS)
            now = loop.time()
            self.end_overdue(now)
            if not rest:
                rest = list(self._entries)
                share = len(rest) // SWEEP_TURNS + 1
            self.sweep({*rest[:share], *self._stalls}, now)
            del rest[:share]


def _one_less(counter: Counter[str | None], name: str | None) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]  # names of past clients must not accumulate
