"""Counts what came in and what became of it.

The pipeline adds, ``/metrics`` and ``/statusz`` read. Promise C: every message that came in is
counted exactly once as applied, duplicate, stale, rejected or dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Plain numbers since the start of the process."""

    received: int = 0
    applied: int = 0
    duplicate: int = 0  # the sequence number was seen before
    stale: int = 0  # changed nothing, or came after a later list of its node
    dropped: int = 0  # by the NATS client or the backlog, before the pipeline saw them
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    phases: Counter[str] = field(default_factory=Counter)
    irregular: int = 0  # transitions that the transition table does not have
    refused_by_proxy: int = 0
    lists: int = 0  # complete lists of dialogs that were reconciled
    listed_rejected: Counter[str] = field(default_factory=Counter)  # items of lists, by reason
    # Fields left out of their events, by (name, reason); the events are counted as above.
    fields_left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    lists_failed: int = 0  # list messages that were rejected as a whole
    lost: int = 0  # calls closed because a complete list of their node lacked them
    expired: int = 0  # calls closed because they stayed unconfirmed for too long
    cdrs: int = 0  # read from cdr.raw
    cdr_results: Counter[str] = field(default_factory=Counter)  # applied, stale, rejected
    ended_by_cdr: int = 0  # calls that were still live when their CDR came

    def leave_out(self, name: str, reason: str) -> None:
        """Count a field that was left out of its event, see :mod:`livestate.contract.parse`."""
        self.fields_left_out[name, reason] += 1

    @property
    def balanced(self) -> bool:
        """Whether every message and every CDR has been counted once (promise C)."""
        results = self.applied + self.duplicate + self.stale + self.rejected.total() + self.dropped
        return self.received == results and self.cdrs == self.cdr_results.total()
