"""Folds and verifies one stream as a dashboard would, without blocking.

Each frame is checked:

* an id that does not increase is a **duplicate**;
* a record that is incomplete, or contradicts its own :mod:`~loadtest.event_trace`, is a **gap**:
  the frame with the missing part was lost;
* a heartbeat whose version, count or digest differs from the client's is a **divergence**;
* a record outside the client's scope is **foreign**.

Watchers of one process that receive equal bytes decode them once; each folds for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from livestate.client import Fold, Parser, ServerEvent
from livestate.state.access import Scope
from loadtest import event_trace
from loadtest.metrics import Metrics
from loadtest.wire import Answer, BadAnswer

SLOW: Final = "SlowReader"  # its times are listed apart: it is late on purpose
_decode = lru_cache(maxsize=512)(orjson.loads)


@lru_cache(maxsize=512)
def _whole(body: bytes) -> tuple[tuple[ServerEvent, Any], ...]:
    """Events of a body without a remainder before it."""
    return tuple((event, _decode(event.data)) for event in Parser().feed(body))


class Watcher:
    """The state of one client over all its connections. Times are µs of the wall clock;
    ``offset_us`` is how far ours is ahead of the publisher's; ``alone``: no traffic but the load
    test's reaches the service."""

    def __init__(
        self, kind: str, scope: Scope, ledger: Metrics, offset_us: int = 0, alone: bool = True
    ) -> None:
        self.kind = kind
        self.scope = scope
        self.ledger = ledger
        self.offset_us = offset_us
        self.alone = alone
        self.expected: tuple[str, dict[str, Any]] | None = None  # see expect()
        self.compared = False
        self.dashboard = Fold()
        self.answer = Answer()
        self.worst_us = 0  # latency since it was last reset
        self._apart = f".{kind}" if kind == SLOW else ""
        self._between, self._receive = f"between frames{self._apart}", f"receive{self._apart}"
        self._begun = False  # an incomplete event is buffered
        self._seen_at = 0
        self._since: int | None = None  # when it began to wait for its state
        self._restart()

    @property
    def retry_ms(self) -> int | None:
        return self._parser.retry

    @property
    def live(self) -> bool:
        """Whether this connection has delivered the state that the client lacked."""
        return not self._joining

    def connecting(self, now: int) -> str:
        """Begin a connection; returns its Last-Event-ID. Connect time counts from the first
        attempt, retries included."""
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
            if self.expected is not None:
                self._compare()
        if latencies:
            self.worst_us = max(self.worst_us, *latencies)
            if min(latencies) < -2_000:  # ms are whole numbers, clocks are read twice
                self.ledger.complain("before its time", f"{min(latencies)} µs: clocks differ")
            if not self.ledger.measuring:
                latencies = [us for us in latencies if now - us <= self.ledger.rested_us]
            if latencies:
                self.ledger.samples(self._receive, latencies)

    def expect(self, position: str, calls: dict[str, Any]) -> None:
        """Compare this client's state with ``calls`` as soon as it is at this position, which may
        be now."""
        self.expected = (position, calls)
        self._compare()

    def _compare(self) -> None:
        if self.expected is None or self.dashboard.last_id != self.expected[0]:
            return
        _, calls = self.expected
        self.expected, self.compared = None, True
        self.ledger.counts["compared"] += 1
        wrong = differences(self.dashboard.calls, calls)
        if wrong:
            self.ledger.complain("unequal", f"{self.kind}, {len(wrong)}: {wrong[0]}")

    def _events(self, body: bytes) -> Iterable[tuple[ServerEvent, Any]]:
        """The events that these bytes complete, decoded."""
        whole = body.endswith(b"\n\n")
        begun, self._begun = self._begun, not whole
        if whole and not begun and self._parser.retry is not None:
            return _whole(body)  # cached: nearly all clients receive equal bytes
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
            whole = dashboard.joined(event.name, data)
            if whole is not None:
                self._diff(event, whole, now, latencies)
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
            self.ledger.sample("snapshot kB" + self._apart, self.answer.received)  # on the wire

    def _snapshot(self, now: int, known: dict[str, dict[str, Any]], latencies: list[int]) -> None:
        """On an established stream, a snapshot's events count for latency like a diff's."""
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
        # An event without an id has the last one. Then it is new if a record of it is: it is a
        # piece of what was too long for one diff.
        newest = max((change["v"] for change in patch.values() if change is not None), default=0)
        if tag == known_tag and max(int(version), newest) <= int(known_version):
            ledger.complain("duplicates", f"{event.id} after {dashboard.last_id}, {self.kind}")
        before = [(key, calls.get(key)) for key, change in patch.items() if change is not None]
        ended = [
            one["ended_at"]
            for key, one in data.get("ended", {}).items()
            if (event_trace.ours(calls[key]) if key in calls else self.alone)
        ]
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
            latencies += [moment - at * 1000 for at in ended]

    def _look(self, key: str, record: dict[str, Any]) -> event_trace.EventTrace | None:
        """Verify one record."""
        if "node" not in record:
            self.ledger.complain("gaps", f"{self.kind}: {key} was never added: {record}")
            return None
        scope = self.scope
        if (
            (scope.company_id is not None and record.get("company_id") != scope.company_id)
            or (scope.states and record["state"] not in scope.states)
            or (scope.trunks and record.get("trunk") not in scope.trunks)
        ):
            self.ledger.complain("foreign", f"{self.kind} of {scope}: {record}")
        if not event_trace.ours(record):
            return None
        story = event_trace.read(record.get("detail", ""))
        if story is not None and not story.must_have.items() <= record.items():
            self.ledger.complain("gaps", f"{self.kind}: {key} contradicts its trace: {record}")
        return story

    def _first_new(self, story: event_trace.EventTrace, known: dict[str, Any] | None) -> int:
        """Index of the first event of a trace that this client has not received before."""
        if known is None and not self.scope.filtered:
            return story.before_move if self.scope.company_id is not None else 0
        old = None if known is None else event_trace.read(known.get("detail", ""))
        if old is None:  # known from a list, or new in a filter: only the last event is timed
            return len(story.stamps) - 1
        return len(old.stamps)

    def _against(self, heartbeat: dict[str, Any]) -> str:
        mine = (self._version, len(self.dashboard.calls), self.dashboard.digest)
        theirs = (heartbeat["version"], heartbeat["calls"], heartbeat["digest"])
        return f"{self.kind}: version, calls, digest {mine}, the service says {theirs}"


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Differences between two tables of calls, one line per call."""
    return [
        f"{key}: here {mine.get(key)}, there {theirs.get(key)}"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    ]
