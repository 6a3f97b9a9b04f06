"""What a million calls and 100,000 dashboards would take, and a check of that with small numbers.

    python -m bench.partitions            measure, and print both
    python -m bench.partitions --calls 500

The arithmetic of docs/decisions/0113-partitions-by-node.md. It has three kinds of numbers: what is
assumed of the traffic, what is measured here (bytes of an event and of a frame, CPU of the fold),
and what follows. The check folds one seeded day twice, in one table and in a table a partition of
nodes, and compares what adds up.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from api.stream.encoder import SseEncoder
from livestate.cluster import wire
from livestate.cluster.wire import Head
from livestate.contract.encoding import encoded
from livestate.contract.events import CallEvent
from livestate.contract.parse import parse
from livestate.devtools.simulator import Network, Traffic
from livestate.fanout.context import CommitRate
from livestate.process.clock import now_ms
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.kpi.scope_kpis import live_counts

COMMITS_A_SECOND: Final = 10  # of a busy view on a busy edge: LIVESTATE_TICK_MS is 100
FRAMES_A_SECOND: Final = 1 / CommitRate().shortest  # of a view, at most
FLUSHES_A_SECOND: Final = 10  # LIVESTATE_REDIS_FLUSH_MS is 100
NODES: Final = 8


@dataclass(frozen=True, slots=True)
class Demand:
    """What is assumed. ``seconds`` is how long a call is up."""

    calls: int
    seconds: float
    dashboards: int
    companies: int
    see_all: int  # dashboards that see all calls


@dataclass(frozen=True, slots=True)
class Measured:
    """Of the simulated day on this machine."""

    events_per_call: float
    event_bytes: float
    change_bytes: float  # of a frame on NATS, for each changed call
    head_bytes: float  # of a frame on NATS, whatever is in it
    fold_us: float  # CPU of parsing and folding an event


CARRIER: Final = Demand(1_000_000, 180.0, 100_000, 10_000, 200)


def day(traffic: Traffic, start: int, seconds: float) -> Iterator[tuple[str, bytes]]:
    """All messages of a seeded day: subject, payload."""
    network = Network(traffic, start)
    for now in range(start, start + int(seconds * 1000), 20):
        for one in network.due(now):
            for data in encoded(one):
                yield one.subject, bytes(memoryview(data))


def measure(calls: int, partitions: int) -> tuple[Measured, list[str]]:
    """Fold the day in one table and in some, and measure; what did not add up."""
    traffic = Traffic(cps=calls / 20, nodes=NODES, talk_seconds=30, ring_seconds=4, seed=7)
    start = now_ms()
    messages = list(day(traffic, start, 45))
    whole = ActiveCalls(secret=b"x" * 16, epoch="whole")
    parts = [ActiveCalls(secret=b"x" * 16, epoch=f"part{n}") for n in range(partitions)]
    events, spent, size, begun = 0, 0.0, 0, 0
    frames = Frames(whole)
    for subject, data in messages:
        began = time.process_time()
        event = parse(subject, data)
        if not isinstance(event, CallEvent):
            continue
        change = whole.apply(event, event.ts)
        spent += time.process_time() - began
        events, size = events + 1, size + len(data)
        begun += event.phase == "setup"
        if change is not None:
            frames.on_change(change, event.ts)
        parts[int(event.node.rpartition("-")[2]) % partitions].apply(event, event.ts)
    measured = Measured(
        events / max(begun, 1), size / events, frames.bytes / frames.changes, head_bytes(),
        spent / events * 1e6,
    )  # fmt: skip
    return measured, differences(whole, parts)


def head_bytes() -> float:
    """What a frame has on NATS beside its diff."""
    tag = "0" * 16
    head = Head("diff", 12, tag, 123_456, 120_000, 123_455, (tag, 1_234), gone={tag: 123_456})
    return float(len(wire.encode(head)))


class Frames:
    """The frames that an engine would publish of the view of all calls."""

    def __init__(self, table: ActiveCalls) -> None:
        self.bytes = 0
        self.changes = 0
        self._view = table.view(Scope())
        self._encoder = SseEncoder(now_ms)
        self._before: dict[str, Call | None] = {}
        self._since = self._view.version
        self._at = 0

    def on_change(self, change: Change, now: int) -> None:
        key = change.after.key
        self._before[key] = None if key in self._before else change.before
        if now - self._at >= 1000 / COMMITS_A_SECOND:
            frame = self._encoder.diff(self._view, self._since, self._before, None)
            self.bytes += len(frame)
            self.changes += len(self._before)
            self._since, self._before, self._at = self._view.version, {}, now


def differences(whole: ActiveCalls, parts: list[ActiveCalls]) -> list[str]:
    """What of the partitions does not add up to the one table."""
    wrong = []
    companies = {call.company_id for call in whole.calls.values() if call.live}
    for company in (None, *sorted(name for name in companies if name)):
        scope = Scope(company)
        one = whole.view(scope)
        if one.live != sum(part.view(scope).live for part in parts):
            wrong.append(f"live calls of {company}")
    mine = states(whole)
    theirs: Counter[tuple[str, str]] = sum(map(states, parts), Counter())
    if mine != theirs:
        wrong.append("calls by state and company")
    if live_counts(whole.calls.values()).keys() != {
        name for part in parts for name in live_counts(part.calls.values())
    }:
        wrong.append("scopes of KPIs")
    for part in parts:
        view = part.view(Scope())
        if view.digest != sum(version for _, _, version in view.snapshot()):
            wrong.append(f"digest of {part.epoch}")
    return wrong


def states(table: ActiveCalls) -> Counter[tuple[str, str]]:
    return Counter(
        (call.company_id or "", call.state) for call in table.calls.values() if call.live
    )


def arithmetic(
    demand: Demand, found: Measured, partitions: int, edges: int
) -> list[tuple[str, str]]:
    """What follows."""
    begun = demand.calls / demand.seconds
    events = begun * found.events_per_call
    a_company = events / demand.companies
    # Each engine publishes a frame a commit for each view that edges watch. A company's changes are
    # rarer than commits, so each is a frame of its own.
    all_frames = min(events, FRAMES_A_SECOND * partitions)
    company_frames = min(a_company, FRAMES_A_SECOND * partitions) * demand.companies
    frame_bytes = events * found.change_bytes  # each view once: all, and one of a company
    out = 2 * frame_bytes + (all_frames + company_frames) * found.head_bytes
    watched = min(1.0, demand.dashboards / demand.companies / edges)  # of the views, by one edge
    tenants = demand.dashboards - demand.see_all
    deliveries = tenants * min(a_company, COMMITS_A_SECOND)
    deliveries += demand.see_all * COMMITS_A_SECOND
    return [
        ("calls that begin a second", f"{begun:,.0f}"),
        ("events a second", f"{events:,.0f}"),
        ("bytes of events into NATS", f"{events * found.event_bytes / 1e6:,.1f} MB/s"),
        ("cores for parse and fold alone", f"{events * found.fold_us / 1e6:.2f}"),
        ("events a second of one of the partitions", f"{events / partitions:,.0f}"),
        ("frames a second from all engines", f"{all_frames + company_frames:,.0f}"),
        ("bytes of frames from engines to NATS", f"{out / 1e6:,.1f} MB/s"),
        ("bytes from NATS to one edge", f"{(frame_bytes * (1 + watched)) / 1e6:,.1f} MB/s"),
        ("Redis scripts a second", f"{FLUSHES_A_SECOND * partitions:,}"),
        ("calls written to Redis a second, at most", f"{events:,.0f}"),
        ("deliveries a second to dashboards", f"{deliveries:,.0f}"),
        ("of those one edge", f"{deliveries / edges:,.0f}"),
        ("dashboards of one edge", f"{demand.dashboards / edges:,.0f}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000, help="live calls of the small day")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--edges", type=int, default=16)
    options = parser.parse_args()
    found, wrong = measure(options.calls, options.partitions)
    print(f"measured with about {options.calls:,} calls: {found}")
    print(f"does not add up: {', '.join(wrong) or 'nothing'}")
    small = Demand(options.calls, 36.0, 100, 12, 10)
    for title, demand in (("the small day", small), ("1 M calls, 100,000 dashboards", CARRIER)):
        print(f"\n{title}, {options.partitions} partitions, {options.edges} edges")
        for name, value in arithmetic(demand, found, options.partitions, options.edges):
            print(f"  {name:48}{value:>16}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
