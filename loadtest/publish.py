"""The traffic, in a process of its own: ``python -m loadtest.publish --nats nats://… --rate 200``.

A simulated network (:mod:`livestate.simulator`) of which a part of the day is already over, so
calls are up and events come at their steady rate from the first second. Its schedule is fixed
before anything is sent: a slow service cannot slow it down. When the file ``--quiet`` appears,
no call changes any more, but the nodes go on beating.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

from livestate.bridge.kamailio import Outgoing
from livestate.events import SUBJECT_PREFIX
from livestate.runtime.clock import now_ms
from livestate.runtime.publisher import Publisher
from livestate.simulator import HEARTBEAT_MS, Network, Traffic
from loadtest import tale

TALK_SECONDS: Final = 20.0
RING_SECONDS: Final = 4.0
PAST_MS: Final = 180_000  # of the day, before we begin: most calls are shorter
SAMPLE_CALLS: Final = 4_000
SAVE_SECONDS: Final = 1.0


def traffic(rate: float, companies: int, seed: int) -> Traffic:
    """A day with ``rate`` events a second: how many events a call has is counted on a sample."""
    sample = Network(Traffic(cps=100, calls=SAMPLE_CALLS, seed=seed, talk_seconds=TALK_SECONDS,
                             ring_seconds=RING_SECONDS), 0)  # fmt: skip
    events = sum(one.message["phase"] in tale.LETTERS for one in sample.due(3_600_000))
    return Traffic(cps=rate * SAMPLE_CALLS / events, seed=seed, companies=companies,
                   talk_seconds=TALK_SECONDS, ring_seconds=RING_SECONDS)  # fmt: skip


class Day:
    """A network whose calls carry their tale, and which knows how late it was told."""

    done = False

    def __init__(self, of: Traffic, start: int, quiet: Path | None = None) -> None:
        self.network = Network(of, start - PAST_MS)
        self.events = 0
        self.events_in: dict[int, int] = {}  # by second: how many were handed to NATS
        self.late_ms: dict[int, int] = {}  # by second: how late an event was handed to NATS
        self.quiet_since: int | None = None
        self._quiet = quiet
        self._looked = 0
        self._tales: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._companies: dict[tuple[str, str], str | None] = {}
        for one in self.network.due(start):  # the part that is over: nobody hears of it
            self._tell(one.message)
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
        """What is due, each call's event with its tale."""
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
            if one.message["phase"] in tale.LETTERS:
                self.events += 1
                second, late = now // 1_000, now_ms() - one.message["ts"]
                self.events_in[second] = self.events_in.get(second, 0) + 1
                self.late_ms[second] = max(self.late_ms.get(second, 0), late)
                self._tell(one.message)
            yield one

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        return self.network.listing(node, now)

    def _beats(self, now: int) -> Iterator[Outgoing]:
        for node in self.network.nodes.values():
            beat = node.envelope(now) | {"phase": "heartbeat", "dialogs": len(node.live)}
            yield Outgoing(SUBJECT_PREFIX + "heartbeat", beat)

    def _tell(self, message: dict[str, Any]) -> None:
        """Write the tale into an event. Its ``ts`` is when it was scheduled, not when it is
        sent."""
        letter = tale.LETTERS.get(message["phase"])
        if letter is None or "dialog" not in message:
            return
        name = (message["node"], message["dialog"])
        company = message.get("company_id")
        if letter == "t" and company != self._companies.get(name):
            letter = tale.MOVED
        if letter in "zf":
            self._tales.pop(name, None)
            self._companies.pop(name, None)
            return
        self._companies[name] = company
        story = self._tales.setdefault(name, [])
        story.append((letter, message["ts"]))
        message["detail"] = tale.told(story)


async def publish(url: str, day: Day, report: Path | None) -> None:
    """Until somebody ends this process; what there is to say is in ``report`` all the time."""
    publisher = Publisher(url, day, clock=now_ms)
    publishing = asyncio.create_task(publisher.run())
    began, cpu = time.perf_counter(), time.process_time()
    while not publishing.done():
        await asyncio.wait([publishing], timeout=SAVE_SECONDS)
        now, used = time.perf_counter(), time.process_time()
        said = {
            "events": day.events, "messages": publisher.published, "live": day.live,
            "late_ms": day.late_ms, "events_in": day.events_in, "unsaid": publisher.unsaid,
            "quiet_since": day.quiet_since,
            "cpu_share": (used - cpu) / (now - began), "seconds": now - began,
        }  # fmt: skip
        if report is not None:
            beside = report.with_suffix(".new")
            beside.write_text(json.dumps(said))
            beside.replace(report)
    publishing.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nats", required=True)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--companies", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", type=Path, help="when this file appears, no call changes")
    parser.add_argument("--report", type=Path, help="where to write what was published")
    told = parser.parse_args()
    day = Day(traffic(told.rate, told.companies, told.seed), now_ms(), told.quiet)
    try:
        uvloop.run(publish(told.nats, day, told.report))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
