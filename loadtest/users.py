"""Who looks: six kinds of Locust users. What they read is checked by a Watcher each.

The socket is our own: Locust's ``iter_lines`` reads blocks of 1,024 bytes and would wait seconds
for a small frame that is already here.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import ssl
import time
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

import gevent
import orjson
from locust import User, task

from api import demo_key
from livestate.access import Scope
from loadtest import wire
from loadtest.ledger import Ledger
from loadtest.pressure import Pressure
from loadtest.watcher import Watcher, differences

STREAM: Final = "/api/v1/live/calls"
SILENCE_SECONDS: Final = 15.0  # heartbeats come every 4 s
READ_BYTES: Final = 256 * 1024
SLOW_BYTES: Final = 8 * 1024
SLOW_SECONDS: Final = 0.25
_numbers = itertools.count()


class Loader:
    """What the users of this process share."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.pressure = Pressure(self.ledger)
        self.streaming: set[Streaming] = set()
        self.quiet = False  # nobody slows down, drops or polls any more: states will be compared
        self.keys: Any = demo_key.DIRECTORY
        self.companies = 20
        self.offset_us = 0  # our clock less the service's

    def storm(self) -> None:
        """Everybody's connection is cut in the same instant."""
        for user in tuple(self.streaming):
            self.ledger.counts["cut by the storm"] += 1
            user.cut()

    def compare(self, seconds: float = 20.0) -> None:
        """Every client's state against the service's snapshot of its scope, now that all is
        quiet; waits for those who have not read everything yet."""
        deadline = time.monotonic() + seconds
        waiting = set(self.streaming)
        while waiting and time.monotonic() < deadline:
            tables: dict[Scope, Any] = {}
            for user in tuple(waiting):
                watcher = user.watcher
                if watcher.scope not in tables:
                    tables[watcher.scope] = user.get("/snapshot")
                table = tables[watcher.scope]
                if table is None or watcher.dashboard.last_id != table["id"]:
                    continue
                waiting.discard(user)
                self.ledger.counts["compared"] += 1
                wrong = differences(watcher.dashboard.calls, table["calls"])
                if wrong:
                    self.ledger.complain("unequal", f"{watcher.kind}, {len(wrong)}: {wrong[0]}")
            gevent.sleep(0.3)
        for user in waiting:
            at = user.watcher.dashboard.last_id
            self.ledger.complain("unequal", f"{user.watcher.kind} never got to the end: at {at}")
        self.ledger.counts["workers that compared"] += 1


loader = Loader()


class Client(User):
    """Somebody with a login."""

    abstract = True
    role: ClassVar[str] = "noc"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(_numbers)
        self.scope, query = self.look()
        self.query = f"?{urlencode(query)}" if query else ""
        self.token = demo_key.mint(
            loader.keys, self.role, company_id=self.scope.company_id,
            subject=f"load-{os.getpid()}-{self.number}",
        )  # fmt: skip
        parts = urlsplit(self.host or environment.host)
        self.address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self.secure = parts.scheme == "https"
        self.netloc = parts.netloc

    def look(self) -> tuple[Scope, dict[str, str]]:
        """The scope, and the query that asks for its filters."""
        return Scope(), {}

    def connect(self, receive_buffer: int | None = None) -> Any:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(SILENCE_SECONDS)
        sock.connect(self.address)
        if self.secure:
            return ssl.create_default_context().wrap_socket(sock, server_hostname=self.address[0])
        return sock

    def tell(self, name: str, seconds: float, size: int = 0, error: Any = None) -> None:
        """One line of Locust's own statistics."""
        self.environment.events.request.fire(
            request_type="SSE", name=name, response_time=seconds * 1000, response_length=size,
            exception=error, context={}, url=STREAM,
        )  # fmt: skip

    def get(self, below: str) -> Any:
        """An answer as JSON, or None if there is none."""
        answer, body = wire.Answer(), bytearray()
        try:
            sock = self.connect()
            try:
                path = STREAM + below + self.query
                sock.sendall(wire.request(self.netloc, path, self.token))
                while not answer.over:
                    piece = sock.recv(READ_BYTES)
                    if not piece:
                        return None
                    body += answer.feed(piece)
            finally:
                sock.close()
        except (OSError, wire.BadAnswer):
            return None
        return orjson.loads(body) if answer.status == 200 else None


class Streaming(Client):
    """One who reads the stream until the run is over, and comes back when it is cut."""

    abstract = True
    receive_buffer: ClassVar[int | None] = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        kind = type(self).__name__
        self.watcher = Watcher(kind, self.scope, loader.ledger, loader.offset_us)
        self.gzip = "gzip" if self.number % 2 else ""  # half of them, where the service can
        self._sock: Any = None

    def on_start(self) -> None:
        loader.streaming.add(self)

    def on_stop(self) -> None:
        loader.streaming.discard(self)
        self.cut()

    def cut(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes who reads it
            except OSError:
                pass

    @task
    def watch(self) -> None:
        """One connection, from its begin to its end."""
        name = type(self).__name__
        began = time.perf_counter()
        last_id = self.watcher.connecting(time.time_ns() // 1000)
        try:
            sock = self._sock = self.connect(self.receive_buffer)
            loader.ledger.sample("connect", (time.perf_counter() - began) * 1e6)
        except OSError as error:
            loader.ledger.counts["refused connections"] += 1
            self.tell(f"{name}: connect", time.perf_counter() - began, error=error)
            gevent.sleep(1)
            return
        why = "closed"
        try:
            sock.sendall(wire.request(self.netloc, STREAM + self.query, self.token,
                                      Accept="text/event-stream", Accept_Encoding=self.gzip,
                                      Last_Event_ID=last_id))  # fmt: skip
            why = self._read(sock, began)
        except (OSError, wire.BadAnswer, ValueError) as error:
            why = "silent" if isinstance(error, TimeoutError) else type(error).__name__
            loader.ledger.complaints.append(f"{name}: {error!r}"[:200])
        finally:
            mine = self._sock is None
            self._sock = None
            sock.close()
        goodbye = self.watcher.dashboard.goodbye
        if mine or why == "dropped":
            return
        reason = f"evicted: {goodbye or why}"
        loader.ledger.counts[reason] += 1
        self.tell(f"{name}: {reason}", time.perf_counter() - began, error=OSError(reason))
        gevent.sleep(random.uniform(0.5, 1) * (self.watcher.retry_ms or 1000) / 1000)

    def _read(self, sock: Any, began: float) -> str:
        """Read until the stream ends; why it did."""
        name, watcher = type(self).__name__, self.watcher
        joining, told_at = True, 0.0
        while not self.enough(began):
            piece = self.receive(sock)
            if not piece:
                return "closed"
            now = time.time_ns() // 1000
            watcher.feed(piece, now)
            if joining and watcher.live:
                joining = False
                told_at = time.perf_counter()
                self.tell(f"{name}: until live", told_at - began, watcher.answer.received)
            elif watcher.worst_us and time.perf_counter() - told_at > 1:
                # Locust's own table gets one line a second: its statistics cost as much as a
                # frame. All latencies are in the histograms.
                told_at = time.perf_counter()
                self.tell(f"{name}: publish → receive, worst of 1 s", watcher.worst_us / 1e6)
                watcher.worst_us = 0
            if watcher.answer.over:
                return "ended"
        return "dropped"

    def receive(self, sock: Any) -> bytes:
        return bytes(sock.recv(READ_BYTES))

    def enough(self, began: float) -> bool:
        return False


class Dashboard(Streaming):
    """A NOC's wall: all calls."""

    weight = 10


class CompanyDashboard(Streaming):
    """A customer's: the calls of one company, and never another's."""

    weight = 5
    role = "user"

    def look(self) -> tuple[Scope, dict[str, str]]:
        return Scope(company_id=str(101 + self.number % loader.companies)), {}


class FilteredDashboard(Streaming):
    """A NOC's, narrowed: what is being talked, or what one trunk carries."""

    weight = 1

    def look(self) -> tuple[Scope, dict[str, str]]:
        if self.number % 2:
            return Scope(states=frozenset({"answered"})), {"state": "answered"}
        return Scope(trunks=frozenset({"mil-sbc-1"})), {"trunk": "mil-sbc-1"}


class SlowReader(Streaming):
    """Behind a thin line: 32 KB/s, less than what all calls need. Gets the newest state."""

    weight = 1
    receive_buffer = 4096

    def receive(self, sock: Any) -> bytes:
        if loader.quiet:
            return bytes(sock.recv(READ_BYTES))
        gevent.sleep(SLOW_SECONDS)
        return bytes(sock.recv(SLOW_BYTES))


class Flapper(Streaming):
    """On a train: drops every few seconds and resumes."""

    weight = 1

    def on_start(self) -> None:
        super().on_start()
        self.patience = random.uniform(2, 8)

    def enough(self, began: float) -> bool:
        if loader.quiet or time.perf_counter() - began < self.patience:
            return False
        self.patience = random.uniform(2, 8)
        gevent.sleep(random.uniform(0.1, 1.5))  # away: what comes now is not read
        loader.ledger.counts["drops of our own"] += 1
        return True


class Poller(Client):
    """How it was done before: asks for everything every two seconds."""

    weight = 1

    @task
    def poll(self) -> None:
        began = time.perf_counter()
        table = None if loader.quiet else self.get("/snapshot")
        spent = time.perf_counter() - began
        if table is not None:
            loader.ledger.sample("poll", spent * 1e6)
        elif not loader.quiet:
            loader.ledger.counts["polls that failed"] += 1
        if not loader.quiet:
            self.tell("Poller: snapshot", spent, error=None if table else OSError("no answer"))
        gevent.sleep(max(0, 2 - spent))
