"""The documents of the panels: made once per company while a panel is open, for all readers.

A page polls a panel's document only while the panel is open. Each document is kept for
:data:`FRESH_SECONDS`, with its gzip; requests in that time share it. ``next_seconds`` tells the
page when to ask again: it grows with the number of readers, so that all of them together ask at
most :data:`MOST_A_SECOND` times a second.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple

from livestate.contract.errors import LivestateError
from livestate.process.slices import SLICE_SECONDS

FRESH_SECONDS: Final = 4.0
# Of panels that read all companies or calls for each document. At 1,000 events a second 92,000
# calls take 0.2 and 0.6 s of CPU: `make gate` holds each panel below 2 % of a core.
SLOWER: Final = {"companies": 6.0, "destinations": 30.0, "hints": 60.0}
MOST_A_SECOND: Final = 15.0
LONGEST_SECONDS: Final = 300.0
COUNTED_SECONDS: Final = 10.0
GZIP_LEVEL: Final = 5
MOST_KEPT: Final = 256


class NotAvailable(LivestateError):
    """The document cannot be made now; the text says why and is safe to show."""


async def in_slices(steps: Iterator[object]) -> None:
    """Run all steps. The loop runs other callbacks every few milliseconds."""
    began = time.perf_counter()
    for _ in steps:
        if time.perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(SLICE_SECONDS)  # as much for the others
            began = time.perf_counter()


class Wanted(NamedTuple):
    """What a page asks for: a company (None: all calls), and filters of panels that have some."""

    company_id: str | None
    trunks: tuple[str, ...] = ()
    code: str | None = None  # a SIP response, or an outcome


class Document(NamedTuple):
    """JSON, and the same as gzip."""

    plain: bytes
    gzipped: bytes


class Pace:
    """How long a page should wait. ``clock`` is in seconds and does not jump."""

    def __init__(self, clock: Callable[[], float], fresh: float = FRESH_SECONDS) -> None:
        self.next_seconds = fresh
        self._fresh = fresh
        self._clock = clock
        self._since = clock()
        self._requests = 0

    def count(self) -> None:
        """A page asks."""
        self._requests += 1
        passed = self._clock() - self._since
        if passed >= COUNTED_SECONDS:
            readers = self._requests / passed * self.next_seconds
            wanted = readers / MOST_A_SECOND
            self.next_seconds = min(LONGEST_SECONDS, max(self._fresh, round(wanted)))
            self._since, self._requests = self._clock(), 0


class Documents:
    """The documents of one panel. ``make`` gives the JSON object of what is wanted; it may take
    long, but must not hold the loop."""

    def __init__(
        self, make: Callable[[Wanted], Awaitable[bytes]], clock: Callable[[], float], name: str = ""
    ) -> None:
        self.made = 0
        self._fresh = SLOWER.get(name, FRESH_SECONDS)
        self.pace = Pace(clock, self._fresh)
        self._make = make
        self._clock = clock
        self._kept: dict[Wanted, tuple[float, asyncio.Task[Document]]] = {}

    async def get(self, wanted: Wanted) -> Document:
        """The document of this moment, or of a few seconds ago. Raises what ``make`` raises."""
        self.pace.count()
        now = self._clock()
        found = self._kept.get(wanted)
        if found is None or now - found[0] >= self._fresh or _failed(found[1]):
            self._kept = {
                key: one
                for key, one in tuple(self._kept.items())[-MOST_KEPT:]
                if now - one[0] < self._fresh or not one[1].done()
            }
            found = self._kept[wanted] = now, asyncio.create_task(self._made(wanted))
        # A client that leaves cancels its own waiting only.
        return await asyncio.shield(found[1])

    def forget(self) -> None:
        """What was made is out of date: the next request gets a new document."""
        self._kept = {key: one for key, one in self._kept.items() if not one[1].done()}

    async def _made(self, wanted: Wanted) -> Document:
        self.made += 1
        body = await self._make(wanted)
        plain = b'{"next_seconds":%d,%b' % (self.pace.next_seconds, body[1:])
        # zlib leaves the interpreter to others meanwhile.
        return Document(plain, await asyncio.to_thread(gzip.compress, plain, GZIP_LEVEL, mtime=0))


def _failed(task: asyncio.Task[Document]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
