"""The edge's side: a hub whose views are folded from an engine's frames.

Streams subscribe here as they do in an engine's own process. What differs is one step before: the
first client of a view waits until its state is here (:meth:`EdgeHub.prepare`), and there is no
await between that and the subscription. A view that no client watches is followed for another
:data:`UNWATCHED_SECONDS`, so that clients which come back find it.

While the engine is silent for two seconds, or its source is stale, all streams here are (promise
S). After a standstill, and after a new connection to NATS, views are asked for anew before they are
shown as live (:mod:`livestate.cluster.doubt`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import SlowConsumerError

from livestate.cluster import wire
from livestate.cluster.doubt import Doubt
from livestate.cluster.edge_counters import EdgeCounters
from livestate.cluster.follower import Follower
from livestate.cluster.heard_engine import HeardEngine
from livestate.cluster.replicas import Replicas
from livestate.cluster.reports import EdgeReport
from livestate.cluster.state_request import ask_call, parts
from livestate.cluster.view_subscriptions import ViewSubscriptions
from livestate.cluster.wire import Unreadable
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.fanout.producer import Encoder
from livestate.nats.connection import AWAY, Connection
from livestate.process.tasks import cancel_and_wait
from livestate.state.access import Scope
from livestate.state.active_calls import Change
from livestate.state.call import Call
from livestate.state.view import View

log = logging.getLogger("livestate.cluster")

EVERY_SECONDS: Final = 0.25
WATCH_SECONDS: Final = 2.0
PREPARE_SECONDS: Final = 3.0
ASK_AGAIN_SECONDS: Final = 0.2
ASKED_AT_ONCE: Final = 8  # views
UNWATCHED_SECONDS: Final = 30.0
TRIMMED_AT_ONCE: Final = 2_000


class EdgeHub(Hub):
    """The hub of an edge. ``steady`` and ``clock`` in ms."""

    def __init__(
        self,
        replicas: Replicas,
        encoder: Encoder,
        *,
        rate: CommitRate,
        heartbeat_seconds: float,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], int],
        steady: Callable[[], int],
        ended_ms: int,
        ended_calls: int,
        snapshot_bytes: int,
        connect: Callable[..., Connection],
        name: str,
    ) -> None:
        super().__init__(
            replicas,
            encoder,
            rate=rate,
            heartbeat_seconds=heartbeat_seconds,
            loop=loop,
            now=steady(),
            snapshot_bytes=snapshot_bytes,
        )
        self.replicas = replicas
        self.connection = connect(begin=self._begin, failed=self._on_error)
        self.lag_seconds = self.worst_lag_seconds = 0.0  # how late ticks were
        self.counters, self.named = EdgeCounters(name), True  # named: also while it follows no view
        self.engine, self._doubt = HeardEngine(steady()), Doubt(steady())
        self._clock, self._steady = clock, steady
        self._ended = ended_ms, ended_calls
        self._subscriptions = ViewSubscriptions(self.connection, self._on_frame)
        self._unwatched_since: dict[str | None, float] = {}
        self._asking: dict[str | None, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(ASKED_AT_ONCE)
        self._whole = asyncio.Event()  # replaced each time a state is here

    # -- streams -----------------------------------------------------------------------------

    def prepared(self, scope: Scope) -> bool:
        """Whether a stream of this scope can begin at once."""
        return self._here(scope) and super().prepared(scope)

    def _here(self, scope: Scope) -> bool:
        """Whether the state is here of the view that a scope narrows, and is not in doubt."""
        doubtful = self._doubt.about(scope.company_id, self._steady())
        return self.replicas.has(scope) and not doubtful

    async def prepare(self, scope: Scope) -> bool:
        """Follow the view that a scope narrows, and wait for its state; whether that came in
        time."""
        self._unwatched_since.pop(scope.company_id, None)
        if scope.company_id not in self.replicas.by_company:
            self.replicas.by_company[scope.company_id] = Follower(scope.base)
            await self._subscriptions.add(scope.company_id)
        self._ask(scope.company_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_SECONDS):
                while not self._here(scope):
                    await self._whole.wait()
        with contextlib.suppress(KeyError):  # it has left while a filter of it was made
            return self._here(scope) and await super().prepare(scope)
        return False

    def release(self, view: View) -> None:
        """A filtered view goes with its last stream; other views are followed for a while."""
        if view.filtered and view not in self.producers:
            self.replicas.drop(view)

    @property
    def live(self) -> int:
        """Live calls of the largest view that is followed."""
        return self.replicas.live

    async def find(self, key: str, scope: Scope) -> Call | None:
        """One call with its timeline, from the engine; None also where that does not answer."""
        return await ask_call(self.connection, key, scope.company_id)

    def figures(self, company_id: str | None) -> dict[str, Any]:
        """The engine's last KPIs of a company, or of all calls."""
        follower = self.replicas.by_company.get(company_id)
        return (follower.figures if follower is not None else None) or {}

    # -- the engine ------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """An engine is heard, and what it knows may be shown."""
        beat = self.engine.beat
        return beat is not None and beat.ready and not self.engine.silent(self._steady())

    @property
    def silent_ms(self) -> int:
        """Since the engine's last beat, or our start."""
        return self.engine.silent_ms(self._steady())

    @property
    def diverged(self) -> int:
        """Times that a view had another digest than the engine's."""
        return self.counters.diverged_before + sum(
            one.diverged for one in self.replicas.by_company.values()
        )

    def report(self) -> EdgeReport:
        """What this edge counts, and how far it is behind."""
        streams = sum(len(one.subscribers) for one in self.distributors.values())
        followers = self.replicas.by_company.values()
        return self.counters.report(followers, self.engine, streams, self._steady())

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.connection.run())
                tasks.create_task(self._name_views())
                loop = self.context.loop
                while True:
                    self._tick()
                    due = loop.time() + EVERY_SECONDS
                    await asyncio.sleep(EVERY_SECONDS)
                    self.lag_seconds = max(loop.time() - due, 0.0)
                    self.worst_lag_seconds = max(self.lag_seconds, self.worst_lag_seconds)
        finally:
            await cancel_and_wait(*self._asking.values())

    def _tick(self) -> None:
        now = self._steady()
        if self._doubt.tick(now):
            self._doubt_views(now)
        if self._doubt.expire(now):
            self._wake()
        self._judge(now)
        for company_id, follower in list(self.replicas.by_company.items()):
            if follower.replica is not None:
                ended_ms, most = self._ended
                follower.replica.trim(now - ended_ms, most, TRIMMED_AT_ONCE)
            if not follower.lost:
                follower.lost_since = None
            else:
                follower.lost_since = follower.lost_since or now
                self._ask(company_id)
            self._let_go(company_id, follower)

    def _judge(self, now: int) -> None:
        source = self.engine.source(now, self._clock(), self.source)
        self.update_source(self._doubt.judge(source, now), now)

    def _doubt_views(self, now: int) -> None:
        """Ask for all views anew, of which other processes may have shown later versions."""
        self._doubt.begin(self.replicas.by_company, now)
        for company_id, follower in self.replicas.by_company.items():
            follower.forget()
            self._ask(company_id)

    def _wake(self) -> None:
        """Let clients look again that wait for a view."""
        whole, self._whole = self._whole, asyncio.Event()
        whole.set()

    def _let_go(self, company_id: str | None, follower: Follower) -> None:
        """Stop following a view that no client has watched for a while."""
        if any(view.scope.company_id == company_id for view in self.producers):
            self._unwatched_since.pop(company_id, None)
            return
        now = self.context.loop.time()
        since = self._unwatched_since.setdefault(company_id, now)
        if now - since < UNWATCHED_SECONDS:
            return
        del self._unwatched_since[company_id]
        self.counters.diverged_before += follower.diverged
        del self.replicas.by_company[company_id]
        self._doubt.forget(company_id)
        self._subscriptions.remove(company_id)

    async def _name_views(self) -> None:
        """Say which views this edge shows, or the engine would stop to publish them."""
        while True:
            views = tuple(self.replicas.by_company)
            with contextlib.suppress(*AWAY):
                for payload in wire.encode_watched(views, self.report()):
                    if views or self.named:
                        await self.connection.client.publish(wire.WATCH, payload)
            await asyncio.sleep(WATCH_SECONDS)

    # -- messages --------------------------------------------------------------------------------

    async def _begin(self, client: Client) -> None:
        """Subscribe on a new connection, and ask the engine for what was missed before it."""
        self._subscriptions.clear()
        await client.subscribe(wire.ENGINE, cb=self._on_beat)
        for company_id in tuple(self.replicas.by_company):
            await self._subscriptions.add(company_id, client)
        self._doubt_views(self._steady())

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat = wire.decode_beat(message.data)
        except Unreadable as error:
            self._refuse(error)
            return
        now = self._steady()
        if self.engine.hear(beat, now):
            for company_id, follower in self.replicas.by_company.items():
                follower.forget()
                self._ask(company_id)
        self._judge(now)

    def _on_frame(self, company_id: str | None, payload: bytes) -> None:
        follower = self.replicas.by_company.get(company_id)
        if follower is None:
            return
        self.counters.frames += 1
        was_lost = follower.lost
        try:
            head, body = wire.decode(payload)
            if not self.engine.sent(head, follower.scope):
                return
            self._pass_on(follower.take(head, body, self._steady()))
        except Unreadable as error:
            self._refuse(error)
        if follower.lost and not was_lost:
            self.counters.gaps += 1
            self._ask(company_id)

    def _pass_on(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.on_change(change)

    def _refuse(self, error: Unreadable) -> None:
        self.counters.unreadable += 1
        log.warning("a message of the engine is unusable: reason=%s", error)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.counters.dropped += 1
            log.warning("messages of the engine were dropped: subject=%s", error.subject)

    # -- states --------------------------------------------------------------------------------

    def _ask(self, company_id: str | None) -> None:
        """Ask for the state of a view unless that is under way."""
        follower = self.replicas.by_company[company_id]
        if follower.lost and company_id not in self._asking:
            task = asyncio.create_task(self._follow(company_id, follower))
            self._asking[company_id] = task
            task.add_done_callback(lambda _: self._asking.pop(company_id, None))

    async def _follow(self, company_id: str | None, follower: Follower) -> None:
        """Ask until the state is here, also where one came that may be of before a standstill."""
        while follower.lost and self.replicas.by_company.get(company_id) is follower:
            before, asked_at = follower.replica, self._steady()
            async with self._turns:
                try:
                    await self._take_state(company_id, follower)
                except (*AWAY, Unreadable) as error:
                    log.info("no state of a view: view=%s reason=%s", company_id, error)
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
                    continue
            if before is not None and follower.replica is not before:
                await self.end_streams(before.view, *before.filtered.values())
            self.counters.states += 1
            if not self._doubt.settle(company_id, asked_at):
                follower.forget()
            self._wake()

    async def _take_state(self, company_id: str | None, follower: Follower) -> None:
        replica = follower.replica
        renamed = replica is not None and not self.engine.names(replica.view.tag, replica.scope)
        held = follower.held() if renamed else follower.reached()
        follower.begin_state()
        async with contextlib.aclosing(parts(self.connection.client, company_id, held)) as found:
            async for head, body in found:
                if self.engine.replaced(head):
                    continue  # its engine does not know yet that another one has taken over
                if not self.engine.sent(head, follower.scope):
                    raise Unreadable("a state of an engine that this edge does not follow")
                self._pass_on(follower.take_state(head, body, self._steady()))
                if not head.more:
                    break
        if renamed and replica is not None and follower.replica is replica:
            self.counters.continued += 1
            self._rename(replica.view, *replica.filtered.values())

    def _rename(self, *views: View) -> None:
        """Clients must learn the name of the numbering that goes on, also where nothing changes."""
        for view in views:
            distributor = self.distributors.get(view)
            for one in distributor.subscribers if distributor is not None else ():
                one.tag_changed = True
