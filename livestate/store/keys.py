"""Names of all keys in Redis, with the prefix of ``LIVESTATE_REDIS_PREFIX``.

Two services with two prefixes can share one Redis: neither touches a key of the other. All names
share one hash tag, ``active_calls`` with its prefix, so a cluster keeps them in one slot: a script
may use them together.
"""

from __future__ import annotations

import re
from typing import Final

RIGHT_PREFIX: Final = "at most 64 letters, digits and . _ : / -"
# No brace, or the hash tag would be another; nothing that is a pattern in a rule of an ACL.
_PREFIX: Final = re.compile(r"[A-Za-z0-9._:/-]{0,64}")


class Keys:
    """The names. ``prefix`` is checked: raises ValueError, which says what would be right."""

    __slots__ = (
        "_staged",
        "acknowledged",
        "active",
        "alarms",
        "calls",
        "countries",
        "ended",
        "flushes",
        "history",
        "logouts",
        "meta",
        "nodes",
        "peaks",
        "prefix",
        "probe",
        "refreshing",
        "scopes",
        "sessions",
        "table",
        "trunk_hour",
        "trunks",
        "unsent",
        "window",
        "writer",
    )  # fmt: skip

    def __init__(self, prefix: str = "") -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError(RIGHT_PREFIX)
        self.prefix = prefix
        self.active = f"{prefix}active_calls"  # ZSET: live calls by setup time
        tag = f"{{{self.active}}}"
        self.calls = f"{tag}:calls"  # HASH: live calls
        self.ended = f"{tag}:ended"  # HASH: ended calls
        self.scopes = f"{tag}:scopes"  # HASH: versions and floors
        self.meta = f"{tag}:meta"  # HASH: epoch, fence, flush, as_of, secret, cdr
        self.writer = f"{tag}:writer"  # STRING: the holder of the lease
        # KEYS[1..6] of flush.lua and swap.lua.
        self.table = (self.active, self.calls, self.ended, self.scopes, self.meta, self.writer)
        self.flushes = f"{tag}:flushes"  # STREAM: which calls each flush of an engine wrote
        self.logouts = f"{tag}:logouts"  # STREAM: api/auth/logout.py
        self.sessions = f"{tag}:sessions"  # HASH: api/auth/session_store.py
        # Of livestate/store/figures.py: a HASH, and two with a number behind.
        self.nodes = f"{tag}:nodes"
        self.peaks = f"{tag}:peaks:"
        self.window = f"{tag}:window:"
        # Of livestate/store/trunk_figures.py: HASHes with a number behind.
        self.trunks = f"{tag}:trunks:"
        self.trunk_hour = f"{tag}:trunk_hour:"
        self.history = f"{tag}:history:"  # HASHes of livestate/store/history.py, one an hour
        # HASHes of livestate/store/alarms.py
        self.alarms = f"{tag}:alarms"
        self.acknowledged = f"{tag}:acknowledged"
        self.unsent = f"{tag}:unsent"
        self.countries = f"{tag}:countries"  # HASH: livestate/store/countries.py
        self.refreshing = f"{tag}:refreshing:"  # and a digest: the instance that refreshes it
        self.probe = f"{tag}:probe"  # never written: livestate/store/rights.py
        self._staged = f"{tag}:new:"

    def staged(self, fence: int) -> tuple[str, ...]:
        """The keys that one writer stages under, in the order of KEYS[7..10] of ``swap.lua``. The
        fence is in their names: a writer that was stopped in the midst must not mix in its own
        calls."""
        return tuple(
            f"{self._staged}{fence}:{name}" for name in ("live", "calls", "ended", "scopes")
        )


UNPREFIXED: Final = Keys()
