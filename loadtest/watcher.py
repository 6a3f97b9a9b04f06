"""One stream as a dashboard sees it: folded, and everything about it checked. No waiting here.

What is checked, at every frame:

* an id that does not go forward is a **duplicate**;
* a record that is not whole, or contradicts its own :mod:`~loadtest.tale`, is a **gap**: a frame
  that brought the missing part never came;
* a heartbeat whose version, count or digest is not ours is a **divergence**;
* a record that is not in our scope is **foreign**.

Bytes are decoded once for all watchers of a process that get the same ones; each folds for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from livestate.access import Scope
from livestate.client import Dashboard, Parser, ServerEvent
from loadtest import tale
from loadtest.ledger import Ledger
from loadtest.wire import Answer, BadAnswer

SLOW: Final = "SlowReader"  # whose times are told apart: it is late on purpose
_decode = lru_cache(maxsize=512)(orjson.loads)


@lru_cache(maxsize=512)
def _whole(body: bytes) -> tuple[tuple[ServerEvent, Any], ...]:
    """Events that nothing came before. Those that name no id have none here."""
    return tuple((event, _decode(event.data)) for event in Parser().feed(body))


class Watcher:
    """The state of one client over all its connections. Times are µs of the wall clock;
    ``offset_us`` is how far ours is ahead of the publisher's."""

    def __init__(self, kind: str, scope: Scope, ledger: Ledger, offset_us: int = 0) -> None:
        self.kind = kind
        self.scope = scope
        self.ledger = ledger
        self.offset_us = offset_us
        self.dashboard = Dashboard()
        self.answer = Answer()
        self.worst_us = 0  # of what was received since somebody asked
        self._apart = f".{kind}" if kind == SLOW else ""
        self._between, self._receive = f"between frames{self._apart}", f"receive{self._apart}"
        self._begun = False  # an event whose end has not come
        self._seen_at = 0
        self._since: int | None = None  # when it began to want what it lacks
        self._restart()

    @property
    def retry_ms(self) -> int | None:
        return self._parser.retry

    @property
    def live(self) -> bool:
        """Whether this connection has brought what its client lacked."""
        return not self._joining

    def connecting(self, now: int) -> str:
        """A connection begins; the Last-Event-ID for it. Who was refused, or cut off before he had
        what he lacks, has waited since his first attempt."""
        self.ledger.counts["connects"] += 1
        if self._since is None:
            self._since = now
        self._restart()
        self.dashboard.goodbye = None
        return self.dashboard.last_id

    def feed(self, piece: bytes, now: int) -> None:
        """Bytes of this connection, read at ``now``. Raises BadAnswer."""
        body = self.answer.feed(piece)
        self.ledger.counts["bytes"] += len(piece)
        if self.answer.status != 200:
            if self.answer.status:
                raise BadAnswer(f"status {self.answer.status}")
            return
        if not body:
            return
        latencies: list[int] = []
        for event, data in self._events(body):
            if self._seen_at:
                self.ledger.sample(self._between, now - self._seen_at)
            self._seen_at = now
            self._take(event, data, now, latencies)
        if latencies:
            self.worst_us = max(self.worst_us, *latencies)
            if min(latencies) < -2_000:  # ms are whole numbers, clocks are read twice
                self.ledger.complain("before its time", f"{min(latencies)} µs: clocks differ")
            if not self.ledger.measuring:
                latencies = [us for us in latencies if now - us <= self.ledger.rested_us]
            if latencies:
                self.ledger.samples(self._receive, latencies)

    def _events(self, body: bytes) -> Iterable[tuple[ServerEvent, Any]]:
        """The events that these bytes complete, decoded."""
        whole = body.endswith(b"\n\n")
        begun, self._begun = self._begun, not whole
        if whole and not begun and self._parser.retry is not None:
            return _whole(body)  # the same for everybody who gets it, and that is nearly all
        return [(event, _decode(event.data)) for event in self._parser.feed(body)]

    def _restart(self) -> None:
        self.answer = Answer()
        self._parser = Parser()
        self._joining = True
        self._begun = False
        self._seen_at = 0
        self._resuming = bool(self.dashboard.last_id)

    def _take(self, event: ServerEvent, data: Any, now: int, latencies: list[int]) -> None:
        ledger, dashboard = self.ledger, self.dashboard
        ledger.counts["frames"] += 1
        if event.name == "diff":
            self._diff(event, data, now, latencies)
            return
        known = dashboard.calls
        dashboard.fold_decoded(event, data)
        if event.name == "snapshot":
            ledger.counts["snapshot bytes"] += len(event.data)
            if data["part"] == data["parts"]:
                self._snapshot(now, known, latencies)
        elif event.name == "heartbeat":
            ledger.counts["heartbeats"] += 1
            ledger.counts["stale heartbeats"] += data["source"] != "live"
            self._joined(now, "resumed")
            if not dashboard.agrees(data) or data["version"] != self._version:
                ledger.complain("divergence", self._against(data))
        elif event.name == "goodbye":
            ledger.counts[f"goodbye {data['reason']}"] += 1

    @property
    def _version(self) -> int:
        return int(self.dashboard.last_id.rpartition("-")[2] or -1)

    def _joined(self, now: int, how: str) -> None:
        if not self._joining:
            return
        self._joining = False
        waited = now - (now if self._since is None else self._since)
        self._since = None
        if self._resuming:
            self.ledger.counts[f"came back: {how}"] += 1
            self.ledger.sample("come back" + self._apart, waited)
        else:
            self.ledger.counts["joined"] += 1
            self.ledger.sample("snapshot" + self._apart, waited)
            self.ledger.sample("snapshot kB" + self._apart, self.answer.received)  # as they came

    def _snapshot(self, now: int, known: dict[str, dict[str, Any]], latencies: list[int]) -> None:
        """On a stream that goes on, what it brings is as late as in a diff."""
        self.ledger.counts["snapshots"] += 1
        catching_up, moment = self._joining, now - self.offset_us
        self._joined(now, "snapshot")
        for key, record in self.dashboard.calls.items():
            story = self._look(key, record)
            if story is not None and not catching_up:
                stamps = story.stamps[self._first_new(story, known.get(key)) :]
                latencies += [moment - at * 1000 for at in stamps]

    def _diff(self, event: ServerEvent, data: Any, now: int, latencies: list[int]) -> None:
        dashboard, ledger = self.dashboard, self.ledger
        calls, patch = dashboard.calls, data["calls"]
        tag, _, version = event.id.rpartition("-")
        known_tag, _, known_version = dashboard.last_id.rpartition("-")
        if tag == known_tag and int(version) <= int(known_version):
            ledger.complain("duplicates", f"{event.id} after {dashboard.last_id}, {self.kind}")
        before = [(key, calls.get(key)) for key, change in patch.items() if change is not None]
        if not dashboard.complete:
            ledger.complain("gaps", f"a diff before any snapshot, {self.kind}")
        dashboard.fold_decoded(event, data)
        ledger.counts["rows"] += len(patch)
        catching_up, moment = self._joining, now - self.offset_us
        self._joined(now, "resumed")
        calls = dashboard.calls
        for key, known in before:
            story = self._look(key, calls[key])
            if story is not None and not catching_up:
                stamps = story.stamps[self._first_new(story, known) :]
                latencies += [moment - at * 1000 for at in stamps]
                ledger.counts["events that shared a frame"] += max(0, len(stamps) - 1)
        if not catching_up:
            latencies += [moment - one["ended_at"] * 1000 for one in data.get("ended", {}).values()]

    def _look(self, key: str, record: dict[str, Any]) -> tale.Tale | None:
        """Check one record as it is now."""
        if "node" not in record:
            self.ledger.complain("gaps", f"{self.kind}: {key} was never added: {record}")
            return None
        scope = self.scope
        if (
            (scope.company_id is not None and record.get("company_id") != scope.company_id)
            or (scope.states and record["state"] not in scope.states)
            or (scope.trunks and record.get("trunk") not in scope.trunks)
        ):  # fmt: skip
            self.ledger.complain("foreign", f"{self.kind} of {scope}: {record}")
        story = tale.read(record.get("detail", ""))
        if story is not None and not story.must_have.items() <= record.items():
            self.ledger.complain("gaps", f"{self.kind}: {key} contradicts its tale: {record}")
        return story

    def _first_new(self, story: tale.Tale, known: dict[str, Any] | None) -> int:
        """The first event of a tale that this client has not been shown before."""
        if known is None and not self.scope.filtered:
            return story.before_move if self.scope.company_id is not None else 0
        old = None if known is None else tale.read(known.get("detail", ""))
        if old is None:  # known from a list, or come into a filter: how long ago, it cannot tell
            return len(story.stamps) - 1
        return len(old.stamps)

    def _against(self, heartbeat: dict[str, Any]) -> str:
        mine = (self._version, len(self.dashboard.calls), self.dashboard.digest)
        theirs = (heartbeat["version"], heartbeat["calls"], heartbeat["digest"])
        return f"{self.kind}: version, calls, digest {mine}, the service says {theirs}"


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What differs between two tables of calls, a line a call."""
    return [
        f"{key}: here {mine.get(key)}, there {theirs.get(key)}"
        for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)
    ]  # fmt: skip
