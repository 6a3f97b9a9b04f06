"""The sessions in the memory of this instance. Redis holds those of all instances.

:class:`~api.auth.sessions.Sessions` loads, refreshes and saves them. Nothing here waits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from api.auth.session_entry import Entry, entry_identity
from api.auth.session_store import Record

MAX_SESSIONS: Final = 20_000


class KnownSessions(dict[bytes, Entry]):
    """Digest of the cookie → session. ``version`` grows with each session that ended or whose
    rights changed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock()``: seconds since the Unix epoch."""
        super().__init__()
        self.version = 0
        self._clock = clock
        self._streams: Counter[bytes] = Counter()  # by session

    def hold(self, digest: bytes) -> None:
        """A stream uses this session until :meth:`release`."""
        self._streams[digest] += 1

    def release(self, digest: bytes) -> None:
        self._streams[digest] -= 1
        if not self._streams[digest]:
            del self._streams[digest]

    def held(self, digest: bytes) -> bool:
        return digest in self._streams

    def keep(self, digest: bytes, record: Record) -> Entry:
        """Add a session. If there are too many, one without streams leaves; Redis has it."""
        if len(self) >= MAX_SESSIONS:
            for other, entry in self.items():
                if not self.held(other) and not entry.unsaved:
                    del self[other]
                    break
        entry = Entry(
            record, entry_identity(digest, record), self._clock(), self._refresh_at(record)
        )
        self[digest] = entry
        return entry

    def adopt(self, digest: bytes, entry: Entry, record: Record) -> None:
        """Replace a session's record by its refreshed one."""
        identity = entry_identity(digest, record)
        if identity != entry.identity:
            self.version += 1
        entry.record, entry.identity, entry.away = record, identity, False
        entry.refresh_at = self._refresh_at(record)

    def end(self, digest: bytes) -> None:
        self.pop(digest, None)
        self.version += 1

    def _refresh_at(self, record: Record) -> float:
        """When a quarter of its time is left, or a minute if that is less; spread by a tenth."""
        lasts = max(record.expires_at - record.refreshed_at, 0.0)
        return record.expires_at - min(lasts / 4, 60.0) * random.uniform(0.9, 1.1)
