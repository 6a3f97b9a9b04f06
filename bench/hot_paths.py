"""The pure paths of an event, each as work that can be done any number of times on the same day.

Shared by the gate (instructions, wall clock, budgets) and by ``make bench``. A path gets a list
of messages and gives back ``work``, which does ``units`` pieces of it each time it is called. What
it needs is imported inside: at an older commit that lacks it, only that path is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bench.workload import Message


class Work(NamedTuple):
    """``run()`` does ``units`` of what ``unit`` names."""

    run: Callable[[], object]
    units: int
    unit: str


class Null:
    """An outlet that is always ready; what it is given is gone."""

    def __init__(self) -> None:
        self.writes = 0

    def ready(self) -> bool:
        return True

    def write(self, frames: list[Any]) -> None:
        self.writes += 1


class Still(asyncio.SelectorEventLoop):
    """A loop whose time stands still, so that two runs do the same. What is put off to its next
    round, because a machine was slow, is done at once."""

    def time(self) -> float:
        return 0.0

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        if delay > 0:
            return super().call_later(delay, callback, *args, context=context)
        return callback(*args)


def _events(day: list[Message]) -> list[Any]:
    from livestate.contract.events import CallEvent
    from livestate.contract.parse import parse

    events = (parse(subject, data) for subject, data in day)
    return [event for event in events if isinstance(event, CallEvent)]


def _table(day: list[Message]) -> Any:
    from livestate.state.active_calls import ActiveCalls

    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    for event in _events(day):
        table.apply(event, event.ts)
    return table


def parse(day: list[Message]) -> Work:
    """Bytes to an event."""
    from livestate.contract.parse import parse as parsed

    return Work(lambda: [parsed(subject, data) for subject, data in day], len(day), "message")


def fold(day: list[Message]) -> Work:
    """Events into an empty table."""
    from livestate.state.active_calls import ActiveCalls

    events = _events(day)

    def run() -> None:
        table = ActiveCalls(secret=b"x" * 16, epoch="bench")
        for event in events:
            table.apply(event, event.ts)

    return Work(run, len(events), "event")


def since(day: list[Message]) -> Work:
    """The diff over the last twenty versions."""
    from livestate.state.access import Scope

    view = _table(day).view(Scope())
    return Work(lambda: [list(view.since(view.version - 20)) for _ in range(200)], 200, "diff")


def filtered(day: list[Message]) -> Work:
    """The first view of a filter, of all that are live."""
    from livestate.state.access import Scope
    from livestate.state.narrowed import narrowed

    table = _table(day)
    view, scope = table.view(Scope()), Scope(states=frozenset({"trying", "ringing", "answered"}))

    def run() -> None:
        for _ in range(50):
            narrowed(view, scope, table.calls)

    return Work(run, 50 * len(view.rows), "call")


def encode(day: list[Message]) -> Work:
    """A diff of twenty calls to JSON, framed as an event and as a chunk; they are found before."""
    from api.stream.sse import EventId, event
    from livestate.fanout.frame import chunk
    from livestate.fanout.patch import Records, diff
    from livestate.state.access import Scope

    view = _table(day).view(Scope())
    rows = list(view.since(view.version - 20))
    records, position = Records(), EventId("0" * 16, view.version)

    def run() -> None:
        for _ in range(100):
            (data,) = diff(rows, {}, view.gone, records, 1)
            chunk(event("diff", data, position))

    return Work(run, 100, "diff")


def snapshot(day: list[Message]) -> Work:
    """All live calls to JSON, none encoded before."""
    from livestate.fanout.patch import Records
    from livestate.fanout.patch import snapshot as snapped
    from livestate.state.access import Scope

    view = _table(day).view(Scope())
    return Work(lambda: snapped(view.snapshot(), Records(), 1, 48 * 1024), view.live, "call")


def compress(day: list[Message]) -> Work:
    """Frames of a day as blocks that all gzip clients share."""
    from api.stream.encoder import SseEncoder
    from livestate.fanout.compression import independent
    from livestate.state.access import Scope

    view = _table(day).view(Scope())
    frame = bytes(SseEncoder(lambda: 1).diff(view, view.version - 20, {}))
    return Work(lambda: [independent(frame) for _ in range(50)], 50, "frame")


def link(day: list[Message]) -> Work:
    """The same for clients who missed no frame: blocks that refer to the frames before."""
    from api.stream.encoder import SseEncoder
    from livestate.fanout.compression import CompressionWindow
    from livestate.fanout.frame import Frame
    from livestate.state.access import Scope

    view, encoder = _table(day).view(Scope()), SseEncoder(lambda: 1)
    window = CompressionWindow()
    for version in range(view.version - 40, view.version - 20):
        frame = encoder.diff(view, version, {}, 20)
        frame.enter(window)
    contextual: Any = Frame.__dict__["contextual"].func  # not what is kept of it
    return Work(lambda: [contextual(frame) for _ in range(50)], 50, "frame")


def project(day: list[Message]) -> Work:
    """Calls as Redis stores them."""
    from livestate.store.record import encode as stored
    from livestate.store.record import score

    table = _table(day)

    def run() -> None:
        for call in table.calls.values():
            score(call)
            stored(call, table.versions_of(call))

    return Work(run, len(table.calls), "call")


def fanout(day: list[Message]) -> Work:
    """One change noted, committed and offered to 100 outlets."""
    hub, table, _ = watched(100)
    events = _events(day)[:100]
    changes = [change for event in events if (change := table.apply(event, event.ts))]

    def run() -> None:
        for change in changes:
            for view in change.views:
                view.record_change(change.after.key, True, True, 0)  # the same change once more
            hub.on_change(change)
            for producer in tuple(hub.producers.values()):
                producer.commit()

    return Work(run, len(changes) * 100, "delivery")


def watched(outlets: int) -> tuple[Any, Any, list[Null]]:
    """A hub with so many outlets on its one view, and its table."""
    from api.stream.encoder import SseEncoder
    from livestate.fanout.context import CommitRate
    from livestate.fanout.hub import Hub
    from livestate.state.access import Scope
    from livestate.state.active_calls import ActiveCalls

    table = ActiveCalls(secret=b"x" * 16, epoch="bench")
    encoder = SseEncoder(lambda: 1_795_000_000_000)
    # Slices of work end by a clock of their own: with a real one, a slow machine counts more rounds
    # (up to 4 % more bytecodes a delivery).
    hub = Hub(
        table, encoder, rate=CommitRate(), heartbeat_seconds=1e6, loop=Still(), clock=lambda: 0.0
    )
    ways = [Null() for _ in range(outlets)]
    for way in ways:
        subscriber = hub.subscribe(Scope(), None)
        subscriber.next_frames()
        subscriber.attach(way)
    return hub, table, ways


PATHS: Final[Mapping[str, Callable[[list[Message]], Work]]] = {
    "parse": parse, "fold": fold, "since": since, "filtered": filtered, "encode": encode,
    "compress": compress, "link": link, "snapshot": snapshot, "project": project, "fanout": fanout,
}  # fmt: skip


def prepared(day: list[Message], names: list[str]) -> tuple[dict[str, Work], dict[str, str]]:
    """The paths that this code has, each done once so that it is warm; and why it lacks others."""
    found, lacking = {}, {}
    for name in names:
        try:
            found[name] = PATHS[name](day)
            found[name].run()
        except (ImportError, AttributeError, TypeError) as error:
            lacking[name] = f"{type(error).__name__}: {error}"
    return found, lacking
