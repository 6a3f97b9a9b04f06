"""The engine's side: frames of the views that edges watch, published once however many edges.

One more sink of the pipeline. A view is watched from the first edge's request for its state until
no edge has named it for :data:`UNWATCHED_SECONDS`. Nothing here waits: messages go into an
:class:`~livestate.cluster.outbox.Outbox`, and a task sends them. Where NATS takes them slower than
they are made, or is away, the oldest are dropped; an edge notices the version that is missing and
asks for the state again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from livestate.cluster import wire
from livestate.cluster.leadership import Leadership
from livestate.cluster.outbox import Outbox, Refused
from livestate.cluster.reports import Reports
from livestate.cluster.rows import state_parts
from livestate.cluster.succession import accept
from livestate.cluster.view_publisher import ViewPublisher
from livestate.cluster.wire import Beat, Held, Unreadable
from livestate.fanout.context import FanoutContext
from livestate.fanout.patch import Records
from livestate.fanout.producer import Encoder
from livestate.nats.connection import AWAY, Connection
from livestate.process.slices import SLICE_SECONDS
from livestate.process.tasks import cancel_and_wait, keep_running
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.view import View

log = logging.getLogger("livestate.cluster")

BEAT_SECONDS: Final = 0.5
UNWATCHED_SECONDS: Final = 10.0  # edges name their views every 2 s
HANDOVER_SECONDS: Final = 0.5
STATES_AT_ONCE: Final = 4  # that are encoded; others wait


class EdgeFeed:
    """What an engine does for its edges.

    ``leadership`` says whether this engine publishes, ``ready`` whether what it knows may be shown;
    ``call`` finds one call with its timeline, for JSON. ``renumbered`` is called with calls that
    have new versions and no new facts, ``handed_over`` where another engine gave the lease back.
    """

    def __init__(
        self,
        table: ActiveCalls,
        encoder: Encoder,
        records: Records,
        context: FanoutContext,
        connect: Callable[..., Connection],
        *,
        leadership: Leadership,
        ready: Callable[[], bool],
        call: Callable[[str, Scope], dict[str, Any] | None],
        renumbered: Callable[[list[str]], None],
        handed_over: Callable[[], None],
        clock: Callable[[], int],
        steady: Callable[[], int],
    ) -> None:
        self.encoder, self.context = encoder, context
        self.connection = connect(begin=self._subscribe)
        self.leadership, self.ready = leadership, ready
        self.outbox = Outbox()
        self.frames = 0
        self.states = 0
        self.unreadable = 0
        self.watched: dict[View, ViewPublisher] = {}
        # Called with whether ``on_change`` has something to do.
        self.listening: Callable[[bool], None] = lambda wanted: None
        self.reports = Reports()
        self._table, self._records, self._call = table, records, call
        self._renumbered, self._handed_over = renumbered, handed_over
        self._clock, self._steady = clock, steady
        self._beat_due = asyncio.Event()
        self._may_not_beat = Refused(self.connection, wire.ENGINE, context.loop.time)
        self._encoding = asyncio.Semaphore(STATES_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self.panels: Mapping[str, Callable[[wire.PanelRequest], Awaitable[bytes]]] = {}

    def on_change(self, change: Change) -> None:
        """A call changed. Never waits."""
        watched = self.watched
        if watched:
            for view in change.views:
                publisher = watched.get(view)
                if publisher is not None:
                    publisher.producer.on_change(change)

    async def _subscribe(self, client: Client) -> None:
        """The subscriptions of a new connection; the connection's ``begin``."""
        await client.subscribe(wire.VIEW + "*", cb=self._on_view)
        await client.subscribe(wire.WATCH, cb=self._on_watch)
        await client.subscribe(wire.CALL, cb=self._on_call)
        await client.subscribe(wire.HANDOVER, cb=self._on_handover)

    async def run(self) -> None:
        """Send, beat and let go of views that no edge watches, until cancelled."""
        sending = keep_running("outbox", partial(self.outbox.send, self.connection))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.connection.run())
                while True:
                    self._beat()
                    self._unwatch()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._beat_due.wait(), BEAT_SECONDS)
                    self._beat_due.clear()
        finally:
            await cancel_and_wait(sending, *self._answering)

    def beat_soon(self) -> None:
        """This engine has taken over: edges must hear that at once."""
        self._beat_due.set()

    def let_go(self) -> None:
        """The table becomes another one: its views are not watched until an edge asks again."""
        for view, publisher in self.watched.items():
            publisher.producer.stop()
            view.watched -= 1
        self.watched.clear()
        self.listening(False)

    def commit(self) -> None:
        """Send what has changed so far."""
        for publisher in self.watched.values():
            publisher.producer.commit()

    async def hand_over(self) -> None:
        """Send what is left, and that the lease is free: an engine that is warm takes over."""
        self.outbox.put(wire.HANDOVER, b"{}")
        with contextlib.suppress(TimeoutError, *AWAY):
            async with asyncio.timeout(HANDOVER_SECONDS):
                while self.outbox.bytes:
                    await asyncio.sleep(0.01)
                await self.connection.client.flush()

    async def _on_handover(self, message: Msg) -> None:
        self._handed_over()

    def _beat(self) -> None:
        if not (self.leadership.leads and self.connection.connected) or self._may_not_beat():
            return
        source = self.context.source_now()
        fence, now, since = self.leadership.fence, self._clock(), source.stale_since
        if since is not None:
            since = now - (self._steady() - since)
        troubles = [one._asdict() for one in source.troubles]
        ready, reason = self.ready(), source.reason
        beat = Beat(fence, self._table.epoch, ready, now, since, reason, troubles)
        self.outbox.put(wire.ENGINE, wire.encode_beat(beat))

    def _unwatch(self) -> None:
        now = self.context.loop.time()
        for view, publisher in list(self.watched.items()):
            if now - publisher.named_at > UNWATCHED_SECONDS:
                publisher.producer.stop()
                del self.watched[view]
                view.watched -= 1
                self._table.views.drop(view)
        if not self.watched:
            self.listening(False)

    def _watch(self, company_id: str | None) -> ViewPublisher:
        view = self._table.view(Scope(company_id))
        publisher = self.watched.get(view)
        if publisher is None:
            publisher = self.watched[view] = ViewPublisher(self, view)
            self.listening(True)
            view.watched += 1
        publisher.named_at = self.context.loop.time()
        return publisher

    # -- what edges ask ----------------------------------------------------------------------

    async def _on_watch(self, message: Msg) -> None:
        try:
            companies, report = wire.decode_watched(message.data)
        except Unreadable as error:
            self._refuse(message, error)
            return
        if report is not None:
            self.reports.take(report, self._steady())
        for company_id in companies:
            self._watch(company_id)

    async def _on_view(self, message: Msg) -> None:
        """The state of a view. A task of its own: it may be large, and others ask too."""
        try:
            company_id, held = wire.decode_scope(message.data)
        except Unreadable as error:
            self._refuse(message, error)
            return
        if not message.reply or not self.leadership.leads or not self.ready():
            return  # the edge asks again
        self._answer(self._send_state(message.reply, company_id, held))

    def _answer(self, sending: Coroutine[None, None, None]) -> None:
        answering = asyncio.create_task(sending)
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _send_panel(self, reply: str, asked: wire.PanelRequest) -> None:
        async with self._encoding:
            document = await self.panels[asked.panel](asked)
            try:
                await self._reply(reply, await asyncio.to_thread(gzip.compress, document, 5))
            except AWAY as error:
                log.info("a panel could not be sent: reason=%s", error)

    async def _send_state(self, reply: str, company_id: str | None, held: Held | None) -> None:
        async with self._encoding:
            publisher = self._watch(company_id)
            producer = publisher.producer
            if held is not None:
                self._renumbered(accept(self._table, producer.view, held, self._steady()))
            producer.commit()
            head = publisher.head("state", producer.view.version)
            if held is not None and held.rest and producer.view.resumable(held.tag, held.version):
                head = head._replace(since=held.version)
            rows = producer.view.history(head.since or -1)
            self.states += 1
            before: bytes | None = None
            number = 0
            clock, began = self.context.clock, self.context.clock()
            try:
                for part in state_parts(rows, self._records):
                    if before is not None:
                        sent = head._replace(part=number, more=True)
                        await self._reply(reply, wire.encode(sent, before))
                        number += 1
                    before = part
                    if clock() - began > SLICE_SECONDS:
                        await asyncio.sleep(SLICE_SECONDS)  # as much for the others
                        began = clock()
                await self._reply(reply, wire.encode(head._replace(part=number), before or b""))
            except AWAY as error:
                log.info("a state could not be sent: view=%s reason=%s", company_id, error)

    async def _reply(self, reply: str, payload: bytes) -> None:
        await self.connection.client.publish(reply, payload)

    async def _on_call(self, message: Msg) -> None:
        try:
            panel = wire.decode_panel(message.data)
            if panel is not None and panel.panel in self.panels:
                if message.reply and self.leadership.leads and self.ready():
                    self._answer(self._send_panel(message.reply, panel))
                return
            key, company_id = wire.decode_call(message.data)
        except Unreadable as error:
            self._refuse(message, error)
            return
        if message.reply and self.leadership.leads and self.ready():
            found = orjson.dumps(self._call(key, Scope(company_id)))
            try:
                await self._reply(message.reply, found)
            except AWAY as error:
                log.info("a call could not be sent: reason=%s", error)

    def _refuse(self, message: Msg, error: Unreadable) -> None:
        self.unreadable += 1
        log.warning(
            "a message of an edge is unusable: subject=%s reason=%s", message.subject, error
        )
