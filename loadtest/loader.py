"""State that the users of one loader process share."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import gevent

from api.auth import demo_key
from livestate.state.access import Scope
from loadtest.loader_health import LoaderHealth
from loadtest.metrics import Metrics
from loadtest.watcher import Watcher, differences

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
        self.keys: Any = demo_key.DIRECTORY
        self.companies = 20
        self.offset_us = 0  # loader clock minus service clock

    def storm(self) -> None:
        """Cut every connection in the same instant."""
        for user in tuple(self.streaming):
            self.ledger.counts["cut by the storm"] += 1
            user.cut()

    def compare(self, seconds: float = COMPARE_SECONDS) -> None:
        """Compare each client's state with the service's snapshot of its scope, once no call
        changes. Waits up to ``seconds`` for clients that have not read everything yet."""
        deadline = time.monotonic() + seconds
        waiting = set(self.streaming)
        while waiting and time.monotonic() < deadline:
            tables: dict[Scope, Any] = {}
            for user in tuple(waiting):
                scope = user.watcher.scope
                if scope not in tables:
                    tables[scope] = user.get("/snapshot")
                if tables[scope] is not None and self._compared(user.watcher, tables[scope]):
                    waiting.discard(user)
            gevent.sleep(0.3)
        for user in waiting:
            at = user.watcher.dashboard.last_id
            self.ledger.complain("unequal", f"{user.watcher.kind} did not reach the end: at {at}")
        self.ledger.counts["workers that compared"] += 1

    def _compared(self, watcher: Watcher, table: dict[str, Any]) -> bool:
        """Whether the client has read up to the snapshot; if so, the comparison is counted."""
        if watcher.dashboard.last_id != table["id"]:
            return False
        self.ledger.counts["compared"] += 1
        wrong = differences(watcher.dashboard.calls, table["calls"])
        if wrong:
            self.ledger.complain("unequal", f"{watcher.kind}, {len(wrong)}: {wrong[0]}")
        return True


loader = Loader()
