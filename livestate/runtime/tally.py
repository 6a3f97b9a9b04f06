"""What came in and what became of it, in plain numbers: the hot path adds, ``/metrics`` reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """received = applied + duplicate + stale + rejected + dropped, always."""

    received: int = 0
    applied: int = 0
    duplicate: int = 0  # a number that was here before
    stale: int = 0  # told nothing new, or came after its node's list
    dropped: int = 0  # by the NATS client, before we saw it
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    phases: Counter[str] = field(default_factory=Counter)
    irregular: int = 0  # steps that the transition table does not know
    refused_by_proxy: int = 0
    lists: int = 0  # complete lists of dialogs reconciled
    lost: int = 0  # calls closed because their node's list no longer had them
    given_up: int = 0  # calls closed because nobody could vouch for them for too long
    cdrs: int = 0  # read from cdr.raw
    cdr_results: Counter[str] = field(default_factory=Counter)  # applied, stale, rejected
    ended_by_cdr: int = 0  # calls that were still shown as live when their CDR came

    @property
    def holds(self) -> bool:
        """Promise C."""
        told = self.applied + self.duplicate + self.stale + self.rejected.total() + self.dropped
        return self.received == told and self.cdrs == self.cdr_results.total()
