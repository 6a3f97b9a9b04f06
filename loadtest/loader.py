"""State that the users of one loader process share."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import gevent

from api.auth import demo_key
from livestate.state.access import Scope
from loadtest.loader_health import LoaderHealth
from loadtest.logins import Logins, Minted
from loadtest.metrics import Metrics
from loadtest.watcher import Watcher

COMPARE_SECONDS: Final = 20.0


class Streaming(Protocol):
    """A user that reads the stream."""

    watcher: Watcher

    def cut(self) -> None: ...
    def get(self, below: str) -> Any: ...


class Loader:
    """Metrics, connected streaming users, and how tokens are made."""

    def __init__(self) -> None:
        self.ledger = Metrics()
        self.pressure = LoaderHealth(self.ledger)
        self.streaming: set[Streaming] = set()
        self.quiet = False  # set before the comparison: users stop slowing, dropping, polling
        self.logins: Logins = Minted(demo_key.DIRECTORY, 20)
        self.offset_us = 0  # loader clock minus publisher clock
        self.alone = True  # no other traffic reaches the service

    def storm(self) -> None:
        """Cut every connection in the same instant."""
        for user in tuple(self.streaming):
            self.ledger.counts["cut by the storm"] += 1
            user.cut()

    def compare(self, seconds: float = COMPARE_SECONDS) -> None:
        """Compare each client's state with the service's snapshot of its scope. A client that is
        behind the snapshot is compared when it gets there; one that was ahead is compared with the
        next snapshot, so calls may go on changing. Waits up to ``seconds`` for all clients."""
        deadline = time.monotonic() + seconds
        waiting = set(self.streaming)
        while waiting and time.monotonic() < deadline:
            tables: dict[Scope, Any] = {}
            for user in waiting:
                scope = user.watcher.scope
                if scope not in tables:
                    tables[scope] = user.get("/snapshot")
                if tables[scope] is not None and not user.watcher.compared:
                    user.watcher.expect(tables[scope]["id"], tables[scope]["calls"])
            gevent.sleep(0.3)
            waiting = {user for user in waiting if not user.watcher.compared}
        for user in waiting:
            at = user.watcher.dashboard.last_id
            self.ledger.complain("unequal", f"{user.watcher.kind} did not reach the end: at {at}")
        self.ledger.counts["workers that compared"] += 1


loader = Loader()
