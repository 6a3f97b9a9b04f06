"""Keeps the counts of trunks in Redis, for :class:`livestate.store.figures.KeptFigures`.

- ``{active_calls}:trunks:<number>``: HASH, company ("" all calls) → the counts of half a minute
- ``{active_calls}:trunk_hour:<number>``: HASH, ``all`` → the attempts of five minutes by trunk
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import orjson

from livestate.state.kpi.kept_trunks import restore_bucket, restore_slot, scopes_of
from livestate.state.kpi.trunk_hour import SLOT_MS, SLOTS
from livestate.state.kpi.trunk_window import TrunkWindow
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, WINDOW_MS
from livestate.store.keys import Keys

Read: TypeAlias = Callable[[str], Awaitable[dict[str, Any]]]
Put: TypeAlias = Callable[[str, dict[str, bytes], int], Awaitable[int]]

AT_ONCE: Final = 100  # scopes in one request: about 2 ms of encoding
WINDOW_SECONDS: Final = WINDOW_MS // 1000 + 60
HOUR_SECONDS: Final = SLOTS * SLOT_MS // 1000 + 60


class KeptTrunks:
    """The half minutes and the hour of one window."""

    def __init__(self, window: TrunkWindow, keys: Keys) -> None:
        self._window = window
        self._keys = keys

    async def load(self, read: Read, now: int) -> None:
        """Take what Redis holds. ``read(key)``: the hash there, as JSON values."""
        last, slot = now // BUCKET_MS, now // SLOT_MS
        for at in range(last - BUCKETS + 1, last + 1):
            restore_bucket(self._window, at, await read(f"{self._keys.trunks}{at}"))
        for at in range(slot - SLOTS + 1, slot + 1):
            stored = await read(f"{self._keys.trunk_hour}{at}")
            restore_slot(self._window, at, stored.get("all"))

    async def write(self, put: Put, since: int) -> None:
        """Write the half minutes from number ``since`` on. ``put(key, fields, seconds)``."""
        for bucket in tuple(self._window.buckets):
            if bucket.at >= since:
                scopes = scopes_of(bucket)
                for first in range(0, len(scopes), AT_ONCE):
                    some = scopes[first : first + AT_ONCE]
                    fields = {name: orjson.dumps(values) for name, values in some}
                    await put(f"{self._keys.trunks}{bucket.at}", fields, WINDOW_SECONDS)
        for at, slot in self._window.hour.slots(since * BUCKET_MS):
            await put(f"{self._keys.trunk_hour}{at}", {"all": orjson.dumps(slot)}, HOUR_SECONDS)
