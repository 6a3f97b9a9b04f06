"""Six kinds of Locust users. A Watcher verifies what each of them reads."""

from __future__ import annotations

import random
import socket
import time
from typing import Any, ClassVar, Final

import gevent
from locust import task

from livestate.state.access import Scope
from loadtest import wire
from loadtest.client import STREAM, Client
from loadtest.loader import loader
from loadtest.reader import Reader
from loadtest.watcher import Watcher

SILENCE_SECONDS: Final = 15.0  # heartbeats come every 4 s
LOOK_SECONDS: Final = 2.0
# Interval of entries in Locust's own table: its statistics cost more than a frame. All latencies
# are in the histograms.
TELL_SECONDS: Final = 2.0
SLOW_BYTES: Final = 8 * 1024
SLOW_SECONDS: Final = 0.25


class Streaming(Client):
    """Reads the stream until the run ends, and reconnects when it is cut."""

    abstract = True
    receive_buffer: ClassVar[int | None] = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.name = type(self).__name__
        self.watcher = Watcher(self.name, self.scope, loader.ledger, loader.offset_us, loader.alone)
        # Every third user. An even divisor would coincide with the choice of filters.
        self.gzip = "gzip" if self.number % 3 == 0 else ""
        self._sock: Any = None
        self._began = 0.0
        self._reported_at = 0.0

    def on_start(self) -> None:
        loader.streaming.add(self)

    def on_stop(self) -> None:
        loader.streaming.discard(self)
        self.cut()

    def cut(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes the reader
            except OSError:
                pass

    @task
    def watch(self) -> None:
        """One connection from start to end."""
        self._began, self._reported_at = time.perf_counter(), 0.0
        last_id = self.watcher.connecting(time.time_ns() // 1000)
        try:
            sock = self._sock = self.connect(self.receive_buffer)
        except OSError as error:  # a refused connection counts as an eviction
            self._evicted(f"not connected: {type(error).__name__}")
            return
        loader.ledger.sample("connect", (time.perf_counter() - self._began) * 1e6)
        try:
            sock.sendall(
                wire.request(
                    self.netloc,
                    STREAM + self.query,
                    self.token,
                    Accept="text/event-stream",
                    Accept_Encoding=self.gzip,
                    Last_Event_ID=last_id,
                )
            )
            why = self.read(sock)
        except (OSError, wire.BadAnswer) as error:
            why = type(error).__name__
        finally:
            on_purpose = self._sock is None
            self._sock = None
            sock.close()
        if not on_purpose and why != "dropped":
            self._evicted(self.watcher.dashboard.goodbye or why)

    def read(self, sock: Any) -> str:
        """Read until the stream ends; returns the reason."""
        reader = Reader(sock, self.take)
        while not reader.wait(LOOK_SECONDS):
            if time.monotonic() - reader.read_at > SILENCE_SECONDS:
                reader.close("silent")
        return reader.why

    def take(self, piece: bytes) -> str:
        """Handle bytes of the stream; returns the reason to stop, or nothing. Does not block."""
        watcher = self.watcher
        watcher.feed(piece, time.time_ns() // 1000)
        now = time.perf_counter()
        if not self._reported_at:
            if watcher.live:
                self._reported_at = now
                self.tell(f"{self.name}: until live", now - self._began, watcher.answer.received)
        elif watcher.worst_us and now - self._reported_at > TELL_SECONDS:
            self._reported_at = now
            self.tell(
                f"{self.name}: publish → receive, worst of {TELL_SECONDS:g} s",
                watcher.worst_us / 1e6,
            )
            watcher.worst_us = 0
        return "ended" if watcher.answer.over else ""

    def _evicted(self, why: str) -> None:
        """The service or the network ended the stream. Wait as an EventSource does."""
        loader.ledger.counts["evictions"] += 1
        loader.ledger.counts[f"evicted: {why}"] += 1
        self.tell(
            f"{self.name}: evicted: {why}", time.perf_counter() - self._began, error=OSError(why)
        )
        gevent.sleep(random.uniform(0.5, 1) * (self.watcher.retry_ms or 1000) / 1000)


class Dashboard(Streaming):
    """A NOC dashboard: all calls."""

    weight = 10


class CompanyDashboard(Streaming):
    """A customer's dashboard: the calls of one company."""

    weight = 5
    role = "user"

    def look(self) -> tuple[Scope, dict[str, str]]:
        return Scope(company_id=self.company_id), {}


class FilteredDashboard(Streaming):
    """A filtered NOC dashboard: answered calls, or the calls of one trunk."""

    weight = 1

    def look(self) -> tuple[Scope, dict[str, str]]:
        if self.number % 2:
            return Scope(states=frozenset({"answered"})), {"state": "answered"}
        return Scope(trunks=frozenset({"mil-sbc-1"})), {"trunk": "mil-sbc-1"}


class SlowReader(Streaming):
    """Reads 32 KB/s, less than all calls need, and therefore receives conflated states."""

    weight = 1
    receive_buffer = 64 * 1024  # a browser's smallest

    def read(self, sock: Any) -> str:
        while not loader.quiet:
            gevent.sleep(SLOW_SECONDS)
            piece = sock.recv(SLOW_BYTES)
            why = self.take(piece) if piece else "closed"
            if why:
                return why
        return super().read(sock)


class Flapper(Streaming):
    """Disconnects every few seconds and resumes."""

    weight = 1

    def read(self, sock: Any) -> str:
        reader = Reader(sock, self.take)
        while not reader.wait(random.uniform(2, 8)):
            if not loader.quiet:
                reader.close("dropped")
                gevent.sleep(random.uniform(0.1, 1.5))  # disconnected: nothing is read
                loader.ledger.counts["drops of our own"] += 1
        return reader.why


class Poller(Client):
    """Requests a snapshot every two seconds, as a page without a stream would."""

    weight = 1

    @task
    def poll(self) -> None:
        began = time.perf_counter()
        if not loader.quiet:
            table = self.get("/snapshot")
            spent = time.perf_counter() - began
            if table is not None:
                loader.ledger.sample("poll", spent * 1e6)
            else:
                loader.ledger.counts["polls that failed"] += 1
            self.tell("Poller: snapshot", spent, error=None if table else OSError("no answer"))
        gevent.sleep(max(0, 2 - (time.perf_counter() - began)))
