"""Keeps background tasks running, and cancels tasks reliably."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

log = logging.getLogger("livestate.tasks")

AGAIN_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.5  # before a task that failed begins again; doubled each time
MOST_SECONDS: Final = 30.0
CALM_SECONDS: Final = 60.0  # without a failure: the next pause is a short one again

failures: Final = Counter[str]()  # by name of the task, since this process began


def keep_running(name: str, run: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
    """Start a task that runs ``run`` until it returns or the task is cancelled.

    asyncio reports the exception of a task only when the task is no longer referenced. A service
    whose projection had failed would go on to show calls that it no longer stores. So an unexpected
    error of ``run`` is logged and counted in :data:`failures`, and ``run`` is called again after a
    pause. The same holds for a ``CancelledError`` although this task was not cancelled.
    """
    failures[name] += 0  # a counter of Prometheus must be 0 before it is 1
    return asyncio.create_task(_kept(name, run), name=name)


async def _kept(name: str, run: Callable[[], Awaitable[object]]) -> None:
    now = asyncio.get_running_loop().time
    pause = PAUSE_SECONDS
    while True:
        began = now()
        try:
            await run()
            return
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if now() - began > CALM_SECONDS:
                pause = PAUSE_SECONDS
            failures[name] += 1
            log.exception("a task failed, it is started again: task=%s seconds=%g", name, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, MOST_SECONDS)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended; their exceptions are ignored.

    One cancellation is not enough: it is lost where it meets a time-out of nats-py, or of
    ``wait_for`` on Python 3.11 (https://github.com/python/cpython/issues/86296).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it
