"""What the users of one process of the loader share."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import gevent

from api import demo_key
from livestate.access import Scope
from loadtest.ledger import Ledger
from loadtest.pressure import Pressure
from loadtest.watcher import Watcher, differences

COMPARE_SECONDS: Final = 20.0


class Streaming(Protocol):
    """One who reads the stream."""

    watcher: Watcher

    def cut(self) -> None: ...
    def get(self, below: str) -> Any: ...


class Loader:
    """Its ledger, who reads now, and how logins are made."""

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

    def compare(self, seconds: float = COMPARE_SECONDS) -> None:
        """Every client's state against the service's snapshot of its scope, now that all is
        quiet; waits for those who have not read everything yet."""
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
            self.ledger.complain("unequal", f"{user.watcher.kind} never got to the end: at {at}")
        self.ledger.counts["workers that compared"] += 1

    def _compared(self, watcher: Watcher, table: dict[str, Any]) -> bool:
        """Whether it has read as far as the table is; if so, it is counted."""
        if watcher.dashboard.last_id != table["id"]:
            return False
        self.ledger.counts["compared"] += 1
        wrong = differences(watcher.dashboard.calls, table["calls"])
        if wrong:
            self.ledger.complain("unequal", f"{watcher.kind}, {len(wrong)}: {wrong[0]}")
        return True


loader = Loader()
