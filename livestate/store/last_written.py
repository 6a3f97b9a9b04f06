"""Remembers what this writer left in Redis: a hash of each record, and each number as text.

The projection adds what a script has confirmed; the audit compares Redis with it. So any edit of a
value, a field or a key shows as a difference. The hashes are Python's own, 64 bits, valid in this
process only: they take 0.4 µs a record, where a cryptographic digest would cost as much as encoding
the record.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.store.record import encode, score

# 2,000 records of ordinary calls. With long texts a record may have 10 KB, and 20 MB in one command
# would stall the event loop while it is written and Redis while it runs; an operator may also limit
# what Redis accepts from a client (client-query-buffer-limit).
PART_BYTES: Final = 2 * 1024 * 1024
AT_ONCE: Final = 200  # calls encoded in one callback: 1 ms


def hash_of_live(at: float, record: bytes | None) -> int:
    """The hash of a live call: of its score in ``active_calls`` and its record."""
    return hash((at, record))


@dataclass(slots=True)
class Batch:
    """One part of a flush, in the form of the arguments of ``flush.lua``."""

    live: list[bytes | str | int] = field(default_factory=list)
    ended: list[bytes | str | int] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    live_hashes: dict[str, int] = field(default_factory=dict)
    ended_hashes: dict[str, int] = field(default_factory=dict)
    taken: int = 0  # calls
    size: int = 0  # bytes of their records

    def add(self, key: str, call: Call | None, versions: dict[str, int]) -> None:
        """Add a call; ``call`` is None if the table has forgotten it."""
        self.taken += 1
        if call is None:
            self.gone.append(key)
            return
        record = encode(call, versions)
        self.size += len(record)
        if call.live:
            at = score(call)
            self.live += (key, at, record)
            self.live_hashes[key] = hash_of_live(at, record)
        else:
            self.ended += (key, record)
            self.ended_hashes[key] = hash(record)


@dataclass(slots=True)
class Written:
    """The table as Redis must hold it: key → hash, field of ``scopes`` → text, and ``meta``."""

    live: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.live or key in self.ended

    def remember(self, batch: Batch) -> None:
        """Note that the script wrote this batch."""
        live, ended = self.live, self.ended
        for key in (*batch.ended_hashes, *batch.gone):
            live.pop(key, None)
        for key in (*batch.live_hashes, *batch.gone):
            ended.pop(key, None)
        live.update(batch.live_hashes)
        ended.update(batch.ended_hashes)

    @property
    def counts(self) -> list[int]:
        """Members of ``active_calls``, live records, ended records: what a flush returns."""
        return [len(self.live), len(self.live), len(self.ended)]


async def batch_of(table: ActiveCalls, keys: list[str]) -> Batch:
    """A batch of these calls, from the first on, up to ``PART_BYTES`` of records.

    The event loop has a turn after each ``AT_ONCE`` calls. A call that changes meanwhile is dirty
    again, so the next flush writes it."""
    batch = Batch()
    for key in keys:
        if batch.size >= PART_BYTES:
            break
        if batch.taken and batch.taken % AT_ONCE == 0:
            await asyncio.sleep(0)
        call = table.calls.get(key)
        batch.add(key, call, table.versions_of(call) if call is not None else {})
    return batch


def numbers_of(table: ActiveCalls) -> dict[str, int]:
    """The fields of ``scopes``: version and floor of the view of each company."""
    numbers = {}
    for view in table.views:
        if not view.scope.filtered:
            company = view.scope.company_id or ""
            numbers[f"version:{company}"] = view.version
            if view.stored_floor:
                numbers[f"floor:{company}"] = view.stored_floor
    return numbers


def floors_of(table: ActiveCalls) -> dict[str, int]:
    """The floors among :func:`numbers_of`; every part of a flush writes those that changed."""
    return {name: n for name, n in numbers_of(table).items() if name.startswith("floor:")}
