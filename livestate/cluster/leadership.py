"""Which of several engines publishes: the one that holds the lease in Redis.

The others fold and are silent. An engine that leads goes on when Redis is away, for then no other
one can take over; it stops when Redis names another writer. An old leader that was stopped
meanwhile, and does not know that yet, has the lower fence, and edges ignore it.
"""

from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """:class:`livestate.store.lease.Lease` in the service."""

    holder: str
    writer: str
    fence: int


class Leadership:
    """``fence`` is the highest that this engine has held; it goes with every message."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._fence = 0

    @property
    def fence(self) -> int:
        self._fence = max(self._fence, self._lease.fence)
        return self._fence

    @property
    def leads(self) -> bool:
        """Whether this engine publishes. Where Redis has never answered, every engine does: then
        edges follow one of them for as long as it is heard."""
        return self._lease.fence > 0 or self._lease.writer in ("", self._lease.holder)
