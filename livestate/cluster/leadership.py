"""Which of several engines publishes: the one that holds the lease in Redis.

The others fold and are silent. An engine that leads goes on when Redis is away, for then no other
one can take over; it stops when Redis names another writer. An old leader that was stopped
meanwhile, and does not know that yet, has the lower fence, and edges ignore it. An engine that has
just got the lease is silent until it has restored what the one before it left.
"""

from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """:class:`livestate.store.lease.Lease` in the service."""

    holder: str
    writer: str
    fence: int


class Claim(Protocol):
    """:class:`livestate.store.projection.Projection` in the service."""

    @property
    def lease(self) -> Lease: ...
    @property
    def restoring(self) -> bool: ...
    @property
    def unanswered(self) -> bool: ...
    @property
    def doubtful(self) -> bool: ...


class Leadership:
    """``fence`` is the highest that this engine has held; it goes with every message."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._fence = 0

    @property
    def fence(self) -> int:
        self._fence = max(self._fence, self._claim.lease.fence)
        return self._fence

    @property
    def doubtful(self) -> bool:
        """Whether this engine stood still, and does not know yet whether it leads."""
        return self._claim.doubtful

    @property
    def leads(self) -> bool:
        """Whether this engine publishes. Where Redis has never answered, every engine does: then
        edges follow one of them for as long as it is heard."""
        claim = self._claim
        if claim.restoring or claim.doubtful:
            return False
        if claim.lease.fence > 0 or claim.unanswered:
            return True
        return claim.lease.writer == claim.lease.holder != ""
