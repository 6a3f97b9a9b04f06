"""Publishes the traffic, as a process: ``python -m loadtest.publish --rate 200``, to the NATS that
``LOADTEST_NATS_URL`` names.

A simulated network (:mod:`livestate.devtools.simulator`) starts in the middle of its day, so calls
are up and events arrive at a steady rate from the first second. The schedule is fixed before
anything is sent, so a slow service cannot slow it down. When the file ``--quiet`` appears, calls
stop changing and only heartbeats continue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

from livestate.contract.events import SUBJECT_PREFIX
from livestate.contract.messages import Outgoing
from livestate.devtools.publisher import Publisher
from livestate.devtools.simulator import HEARTBEAT_MS, Network, Traffic
from livestate.process.clock import now_ms
from loadtest import event_trace

TALK_SECONDS: Final = 20.0
RING_SECONDS: Final = 4.0
PAST_MS: Final = 180_000  # simulated time before the start; most calls are shorter
SAMPLE_CALLS: Final = 4_000
SAVE_SECONDS: Final = 1.0


def traffic(rate: float, companies: int, seed: int) -> Traffic:
    """Traffic with ``rate`` events a second; a sample gives the number of events per call."""
    sample = Network(
        Traffic(
            cps=100,
            calls=SAMPLE_CALLS,
            seed=seed,
            talk_seconds=TALK_SECONDS,
            ring_seconds=RING_SECONDS,
        ),
        0,
    )
    events = sum(one.message["phase"] in event_trace.LETTERS for one in sample.due(3_600_000))
    return Traffic(
        cps=rate * SAMPLE_CALLS / events,
        seed=seed,
        companies=companies,
        prefix=event_trace.NODES,
        talk_seconds=TALK_SECONDS,
        ring_seconds=RING_SECONDS,
    )


class Day:
    """A network whose calls carry their trace, and which records how late it was sent."""

    def __init__(self, of: Traffic, start: int, quiet: Path | None = None) -> None:
        self.done = False
        self.network = Network(of, start - PAST_MS)
        self.events = 0
        self.events_in: dict[int, int] = {}  # by second: events handed to NATS
        self.late_ms: dict[int, int] = {}  # by second: the worst delay of an event
        self.quiet_since: int | None = None
        self._quiet = quiet
        self._looked = 0
        self._traces: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._companies: dict[tuple[str, str], str | None] = {}
        for one in self.network.due(start):  # the past: folded into the traces, not published
            self._add_trace(one.message)
        self._next_beat = start

    @property
    def nodes(self) -> Collection[str]:
        return self.network.nodes

    @property
    def live(self) -> int:
        return self.network.live

    def next_at(self) -> int:
        return self._next_beat if self.quiet_since is not None else self.network.next_at()

    def due(self, now: int) -> Iterator[Outgoing]:
        """Messages that are due, each call event with its trace."""
        if self._quiet is not None and self.quiet_since is None and now - self._looked > 50:
            self._looked = now
            if self._quiet.exists():
                self.quiet_since = self._next_beat = now
        if self.quiet_since is not None:
            if now >= self._next_beat:
                self._next_beat = now + HEARTBEAT_MS
                yield from self._beats(now)
            return
        for one in self.network.due(now):
            if one.message["phase"] in event_trace.LETTERS:
                self.events += 1
                second, late = now // 1_000, now_ms() - one.message["ts"]
                self.events_in[second] = self.events_in.get(second, 0) + 1
                self.late_ms[second] = max(self.late_ms.get(second, 0), late)
                self._add_trace(one.message)
            yield one

    def end(self) -> None:
        """No call is up any more: the publisher's last lists say so, and then it ends."""
        self.done = True
        for node in self.network.nodes.values():
            node.live.clear()

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        return self.network.listing(node, now)

    def _beats(self, now: int) -> Iterator[Outgoing]:
        for node in self.network.nodes.values():
            beat = node.envelope(now) | {"phase": "heartbeat", "dialogs": len(node.live)}
            yield Outgoing(SUBJECT_PREFIX + "heartbeat", beat)

    def _add_trace(self, message: dict[str, Any]) -> None:
        """Write the trace into an event. ``ts`` is the scheduled time, not when it is sent."""
        letter = event_trace.LETTERS.get(message["phase"])
        if letter is None or "dialog" not in message:
            return
        name = (message["node"], message["dialog"])
        company = message.get("company_id")
        if letter == "t" and company != self._companies.get(name):
            letter = event_trace.MOVED
        if letter in "zf":
            self._traces.pop(name, None)
            self._companies.pop(name, None)
            return
        self._companies[name] = company
        story = self._traces.setdefault(name, [])
        story.append((letter, message["ts"]))
        message["detail"] = event_trace.write(story)


async def publish(
    url: str,
    day: Day,
    report: Path | None,
    credentials: str | None = None,
    cdrs: bool = True,
    batch: int = 1,
) -> None:
    """Publish until SIGTERM; writes what was published to ``report`` every second."""
    publisher = Publisher(url, day, clock=now_ms, credentials=credentials, cdrs=cdrs, batch=batch)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, day.end)
    publishing = asyncio.create_task(publisher.run())
    began, cpu = time.perf_counter(), time.process_time()
    while not publishing.done():
        await asyncio.wait([publishing], timeout=SAVE_SECONDS)
        now, used = time.perf_counter(), time.process_time()
        state = {
            "events": day.events, "messages": publisher.published, "live": day.live,
            "late_ms": day.late_ms, "events_in": day.events_in, "unsaid": publisher.unsent,
            "quiet_since": day.quiet_since,
            "cpu_share": (used - cpu) / (now - began), "seconds": now - began,
        }  # fmt: skip
        if report is not None:
            beside = report.with_suffix(".new")
            beside.write_text(json.dumps(state))
            beside.replace(report)
    publishing.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--creds", help="credentials file of NATS")
    parser.add_argument("--no-cdrs", action="store_true", help="write no CDRs to cdr.raw")
    parser.add_argument("--batch", type=int, default=1, help="events that may share a message")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--companies", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", type=Path, help="when this file appears, no call changes")
    parser.add_argument("--report", type=Path, help="where to write what was published")
    arguments = parser.parse_args()
    day = Day(
        traffic(arguments.rate, arguments.companies, arguments.seed), now_ms(), arguments.quiet
    )
    try:
        uvloop.run(
            publish(
                os.environ["LOADTEST_NATS_URL"],
                day,
                arguments.report,
                arguments.creds,
                not arguments.no_cdrs,
                arguments.batch,
            )
        )
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
