"""Fan-out of all views: every change once to each stream that may see it, as shared bytes.

The hub knows which views are watched, and pairs a :class:`~livestate.fanout.producer.Producer` with
a :class:`~livestate.fanout.distributor.Distributor` for each of them. The pipeline gives it every
change of the table, the feed monitor the state of the source, and each stream subscribes here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from livestate.fanout.context import CommitRate, FanoutContext
from livestate.fanout.distributor import Distributor
from livestate.fanout.producer import Encoder, Producer
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope
from livestate.state.active_calls import Change
from livestate.state.narrowed import Narrowing
from livestate.state.source import Source
from livestate.state.view import View

ENDED_AT_ONCE: Final = 50  # streams a step


class Table(Protocol):
    """Where views are found by their scope."""

    def view(self, scope: Scope) -> View: ...
    @property
    def views(self) -> Views: ...


class Views(Protocol):
    """Where those of filters are made, and dropped when no stream watches them."""

    def narrowing(self, scope: Scope) -> Narrowing | None: ...
    def add(self, narrowing: Narrowing) -> View: ...
    def drop(self, view: View) -> None: ...


class Hub:
    """The watched views of this process, local ones, each with its producer and distributor."""

    undecided = False  # see :class:`livestate.cluster.served_hub.ServedHub`

    def __init__(
        self,
        table: Table,
        encoder: Encoder,
        *,
        rate: CommitRate,
        heartbeat_seconds: float,
        loop: asyncio.AbstractEventLoop,
        now: int = 0,
        snapshot_bytes: int = 128_000_000,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.context = FanoutContext(
            loop,
            rate,
            heartbeat_seconds,
            (loop.time(), now),
            most_snapshot_bytes=snapshot_bytes,
            clock=clock,
        )
        self.encoder = encoder
        self.producers: dict[View, Producer] = {}
        self.distributors: dict[View, Distributor] = {}
        self.table = table
        self._one_filter = asyncio.Lock()

    def on_change(self, change: Change) -> None:
        """A call changed. Never waits."""
        producers = self.producers
        if not producers:
            return
        if not change.after.live:
            self.encoder.forget(change.after.key)
        for view in change.views:
            producer = producers.get(view)
            if producer is not None:
                producer.on_change(change)

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        """Join a scope at a position that the client has folded up to, or from a snapshot.

        Promise J: there is no await between here and the choice of the first frame, and every
        later change marks the view's producer. So no change is missed and none comes twice.
        """
        view = self.table.view(scope)
        return (self.distributors.get(view) or self._watch(view)).subscribe(position)

    def view(self, scope: Scope) -> View:
        """The view of a scope that is prepared."""
        return self.table.view(scope)

    def prepared(self, scope: Scope) -> bool:
        """Whether a stream of this scope can begin at once: its view is there, or quickly made."""
        return self.table.views.narrowing(scope) is None

    async def prepare(self, scope: Scope) -> bool:
        """Wait until a stream of this scope can begin; whether it can. The view of a new filter is
        made in slices, and only while its client waits, whose stream must begin without another
        await: then the view is watched, else it is let go of.

        One filter after the other: at once they would take no less time, but more memory.
        """
        async with self._one_filter:
            narrowing = self.table.views.narrowing(scope)
            if narrowing is None:
                return True
            found = self.context.loop.create_future()
            self.context.slices.start(_steps(narrowing, found))
            await found
            view = self.table.views.add(narrowing)
        self.context.loop.call_soon(self.release, view)
        return True

    @property
    def source(self) -> Source:
        """As the feed monitor last judged it."""
        return self.context.source

    def update_source(self, source: Source, now: int) -> None:
        """The source as checked at ``now``, ms. When what we show has become stale, or live again,
        a heartbeat says so to every client at once."""
        context = self.context
        before, context.source = context.source_now(), source
        context.checked = context.loop.time(), now
        if source == before:
            return
        for producer in tuple(self.producers.values()):
            producer.send_heartbeat()

    def evict_unused(self) -> None:
        """Forget encoded records that no view has used since the last time."""
        self.encoder.evict_unused()

    def release(self, view: View) -> None:
        """Let go of a view, and of the one it is filtered from, unless a stream watches them."""
        for each in (view, self.table.view(view.scope.base)):
            if each not in self.producers:
                self.table.views.drop(each)

    async def end_streams(self, *views: View) -> None:
        """The views were rebuilt: clients reconnect, and resume if the numbering continues."""
        for view in views:
            distributor = self.distributors.get(view)
            subscribers = tuple(distributor.subscribers) if distributor is not None else ()
            for number, subscriber in enumerate(subscribers, 1):
                subscriber.end("rotation")
                if number % ENDED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _watch(self, view: View) -> Distributor:
        producer = Producer(view, self.encoder, self.context)
        distributor = Distributor(producer, self.context, partial(self._unwatch, view))
        producer.start(distributor)
        self.producers[view], self.distributors[view] = producer, distributor
        view.watched += 1
        return distributor

    def _unwatch(self, view: View) -> None:
        """The last subscriber of a view has left."""
        self.producers.pop(view).stop()
        del self.distributors[view]
        view.watched -= 1
        self.release(view)


def _steps(narrowing: Narrowing, found: asyncio.Future[None]) -> Iterator[None]:
    """Find the calls of a filter as long as a client waits for them."""
    try:
        for _ in narrowing.steps():
            if found.cancelled():
                return
            yield
    except Exception as error:  # noqa: BLE001 - the one who waits must hear of it
        if not found.cancelled():
            found.set_exception(error)
    else:
        if not found.cancelled():
            found.set_result(None)
