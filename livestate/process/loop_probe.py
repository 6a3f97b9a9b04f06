"""Finds which function held the event loop, and for how long, by a thread that polls the loop.

One thread serves every dashboard, so a callback that computes for a second is a second of silence
for all. asyncio's own ``slow_callback_duration`` works in debug mode only and uvloop has nothing
like it, so a second thread posts a callback into the loop (``call_soon_threadsafe``) fifty times a
second. Until it has run, the thread reads the loop's stack every few milliseconds.

It measures two durations. ``round`` is the time until the posted callback ran: everything that was
ready in one round of the loop. ``callback`` is how long one and the same callback ran: the
outermost frame that the loop called stays the same object. A coroutine's frame is the same object
in each of its steps, but a task cannot run a second time before a callback that was posted earlier,
so the same frame until then is one step.

Durations are CPU time of the loop's thread where the system reports it (Linux), because on a busy
machine the loop may wait for a processor. ``Hold.waited`` is wall-clock time: it shows blocking
system calls.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NamedTuple

log = logging.getLogger("livestate")

EVERY_SECONDS: Final = 0.02
LOOK_SECONDS: Final = 0.003
BUDGET_SECONDS: Final = 0.05  # promise K
REMEMBERED: Final = 64
_OURS: Final = ("/livestate/", "/api/", "/loadtest/")


class Hold(NamedTuple):
    """One stretch in which the loop did not answer. Seconds."""

    callback: float  # CPU of one callback
    round: float  # CPU of all that ran before the answer
    waited: float  # by the clock
    function: str  # the innermost function of ours, and what it was calling


_NONE: Final = Hold(0.0, 0.0, 0.0, "")


class LoopProbe:
    """``with LoopProbe(loop) as probe``: watch the loop of this thread. The worst figures are
    kept from the start; :attr:`holds` are the last ones over the budget, oldest first."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        budget: float = BUDGET_SECONDS,
        over_budget: Callable[[Hold], None] | None = None,
    ) -> None:
        self.worst_callback = 0.0
        self.worst_round = 0.0
        self.over = 0  # callbacks over the budget
        self.holds: deque[Hold] = deque(maxlen=REMEMBERED)
        self._lately = _NONE
        self._budget = budget
        self._over_budget = over_budget
        self._loop = loop
        self._watched = threading.get_ident()
        self._clock = _cpu_clock(self._watched)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop probe", daemon=True)

    def __enter__(self) -> LoopProbe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(1.0)

    def lately(self) -> Hold:
        """The longest callback since the last call of this method, seconds."""
        lately, self._lately = self._lately, _NONE
        return lately

    def status(self) -> dict[str, Any]:
        """For ``/statusz``; begins a new stretch of ``since_last_asked``. Seconds."""
        return {
            "over_budget": self.over,
            "worst_callback_seconds": round(self.worst_callback, 4),
            "worst_round_seconds": round(self.worst_round, 4),
            "since_last_asked": self.lately()._asdict(),
            "last": [hold._asdict() for hold in tuple(self.holds)],
        }

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            answered = threading.Event()
            cpu, began = self._clock(), time.monotonic()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(2 * LOOK_SECONDS):
                continue
            self._watch(answered, cpu, began)

    def _watch(self, answered: threading.Event, cpu: float, began: float) -> None:
        """Look at the stack until the loop answers."""
        longest, since, named = 0.0, cpu, ""
        outermost: FrameType | None = None
        seen: Counter[str] = Counter()
        while not answered.wait(LOOK_SECONDS) and not self._stopped.is_set():
            frame = sys._current_frames().get(self._watched)
            root = _outermost(frame)
            if frame is None or root is None:
                continue
            now = self._clock()
            if root is outermost:
                # Seen twice, so it ran all the time in between; once may have been its last
                # moment, when a busy machine kept this thread from looking earlier.
                seen[_name(frame)] += 1
                if now - since > longest:
                    longest, named = now - since, seen.most_common(1)[0][0]
            else:
                since = cpu if outermost is None else now
                outermost, seen = root, Counter([_name(frame)])
            del frame
        outermost = None
        hold = Hold(longest, self._clock() - cpu, time.monotonic() - began, named)
        self.worst_callback = max(self.worst_callback, hold.callback)
        self.worst_round = max(self.worst_round, hold.round)
        if hold.callback >= self._lately.callback:
            self._lately = hold
        if hold.callback > self._budget:
            self.over += 1
            self.holds.append(hold)
            if self._over_budget is not None:
                self._over_budget(hold)


def log_hold(hold: Hold) -> None:
    """Log which function held the event loop. Called by the probe's own thread."""
    log.warning(
        "a callback held the loop: callback_seconds=%.3f round_seconds=%.3f function=%s",
        hold.callback,
        hold.round,
        hold.function,
    )


def _cpu_clock(thread: int) -> Callable[[], float]:
    """CPU seconds of a thread; wall-clock seconds where the system does not report them."""
    of_thread = getattr(time, "pthread_getcpuclockid", None)
    if of_thread is None:
        return time.monotonic
    clock = of_thread(thread)
    return lambda: time.clock_gettime(clock)


def _outermost(frame: FrameType | None) -> FrameType | None:
    """The frame that the loop itself called: the outermost one under the one that runs the loop.
    None where the loop waits for its sockets."""
    below = None
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if name in ("_run_once", "run_forever") or (
            name in ("run_until_complete", "run") and file.endswith(("runners.py", "__init__.py"))
        ):
            return below
        if name != "_run" or not file.endswith("events.py"):  # asyncio's own Handle
            below = frame
        frame = frame.f_back
    return below


def _name(frame: FrameType) -> str:
    """``module.function:line`` of the innermost frame of ours, and the innermost of all."""
    inner = _spelt(frame)
    at: FrameType | None = frame
    while at is not None:
        if any(part in at.f_code.co_filename for part in _OURS):
            ours = _spelt(at)
            return ours if ours == inner else f"{ours} in {inner}"
        at = at.f_back
    return inner


def _spelt(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}:{frame.f_lineno}"
