"""The document of ``GET /api/v1/live/ended``: calls that ended in the last five minutes, with why.

They are in memory as tombstones of the view of all calls, or of a company's own view, so nothing
in a company's document depends on others. One document that is narrowed is made at a time: somebody
may ask for a new filter with each request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from api.panels.documents import Wanted
from livestate.contract.quality import FIGURES
from livestate.fanout.patch import ending, record
from livestate.process.slices import SLICE_SECONDS
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.view import View

LATELY_MS: Final = 300_000
MOST_SHOWN: Final = 500
FIELDS: Final = ("from", "to", "company_id", "trunk", "direction", "node", "call_id", "setup_at",
                 "answered_at", "sip_reason", "by", "detail", *FIGURES)  # fmt: skip


class EndedDocuments:
    """Makes the document from this process's own table. ``clock``: ms since the epoch; ``steady``:
    ms on the scale of the table's tombstones."""

    def __init__(
        self, table: ActiveCalls, clock: Callable[[], int], steady: Callable[[], int]
    ) -> None:
        self._table = table
        self._clock = clock
        self._steady = steady
        self._narrowed = asyncio.Semaphore(1)

    async def make(self, wanted: Wanted) -> bytes:
        """The JSON object. The loop runs other callbacks every few milliseconds."""
        if wanted.trunks or wanted.code is not None:
            async with self._narrowed:
                return await self._make(wanted)
        return await self._make(wanted)

    async def _make(self, wanted: Wanted) -> bytes:
        views = self._table.views.by_tenant.get(wanted.company_id)
        oldest, total = self._steady() - LATELY_MS, 0
        shown: list[dict[str, Any]] = []
        began = time.perf_counter()
        for number, (when, call) in enumerate(_departed(views[0]) if views else ()):
            if when < oldest:
                break
            if call is not None and _fits(call, wanted):
                total += 1
                if len(shown) < MOST_SHOWN:
                    shown.append(_row(call))
            if number % 50 == 0 and time.perf_counter() - began > SLICE_SECONDS:
                await asyncio.sleep(SLICE_SECONDS)  # as much for the others
                began = time.perf_counter()
        document = {
            "as_of": self._clock(),
            "company_id": wanted.company_id,
            "window_seconds": LATELY_MS // 1000,
            "total": total,
            "calls": shown,
        }
        return orjson.dumps(document)


def _departed(view: View) -> Iterator[tuple[int, Call | None]]:
    """(when, call) of what left the view, the latest first; None: the call is back, or left again
    later, or is another company's now."""
    for when, key, version in reversed(view.departed()):
        yield when, view.gone(key) if view.rows.get(key) == version else None


def reason_of(call: Call) -> str:
    """What ended a call: a SIP response, else the outcome; as panels name it."""
    outcome, code = call.conclusion, call.attributes.sip_code
    answered = call.attributes.answered_at is not None or call.state == "ended"
    return outcome if answered or code is None or code < 300 else str(code)


def _fits(call: Call, wanted: Wanted) -> bool:
    return (not wanted.trunks or call.attributes.trunk in wanted.trunks) and (
        wanted.code is None or reason_of(call) == wanted.code
    )


def _row(call: Call) -> dict[str, Any]:
    known = record(call)
    return {
        "key": call.key,
        "reason": reason_of(call),
        **{name: known[name] for name in FIELDS if name in known},
        **ending(call),
    }
