"""Dashboards whose time is the test's: a loop that stands still, connections that clients read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from api.stream import sse
from livestate.client import Fold, Parser
from livestate.fanout.hub import Hub
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope

PHASES = ("setup", "ringing", "early_media", "reroute", "answered", "hold", "resume", "transfer",
          "notice", "ended", "failed")  # fmt: skip


class Loop:
    """An event loop whose time stands until the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self, when, call))
        return self.timers[-1]

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        return self.call_at(self.now + delay, call)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= until]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.call()
        self.now = until


class Timer:
    def __init__(self, loop: Loop, when: float, call: Callable[[], None]) -> None:
        self.loop, self.when, self.call = loop, when, call

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class Pipe:
    """A client's connection: what is written waits until the client reads."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def ready(self) -> bool:
        return not self.sent

    def write(self, frames: Iterable[bytes]) -> None:
        self.sent += frames


class Client:
    """A dashboard: folds what it reads, remembers its position, comes back."""

    def __init__(self, hub: Hub, scope: Scope) -> None:
        self.hub = hub
        self.scope = scope
        self.dashboard = Fold()
        self.subscriber: Subscriber | None = None
        self.pipe = Pipe()
        self.snapshots = 0

    def join(self) -> None:
        position = sse.read_id(self.dashboard.last_id)
        self.subscriber = self.hub.subscribe(self.scope, position)
        self.subscriber.heartbeat_due = True
        self.pipe = Pipe()
        self.parser = Parser()
        self.serve()

    def serve(self) -> None:
        """The part of a stream's task before it hands over."""
        assert self.subscriber is not None
        self.pipe.write(self.subscriber.next_frames())
        self.subscriber.attach(self.pipe)

    def read(self) -> None:
        """Take all that was written, and let the hub write again, until nothing comes."""
        while self.subscriber is not None and self.pipe.sent:
            sent, self.pipe.sent = self.pipe.sent, []
            for frame in sent:
                for one in self.parser.feed(frame):
                    self.dashboard.fold(one)
                    self.snapshots += one.name == "snapshot"

    def read_share(self, share: float) -> None:
        """Take the first bytes of what was written; the connection ends there."""
        sent = b"".join(self.pipe.sent)
        for one in self.parser.feed(sent[: int(share * len(sent))]):
            self.dashboard.fold(one)

    def leave(self) -> None:
        if self.subscriber is not None:
            self.subscriber.leave()
            self.subscriber = None
        self.dashboard.complete = bool(self.dashboard.last_id)
