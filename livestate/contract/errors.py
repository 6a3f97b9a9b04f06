"""Every error livestate raises by design, and what each one carries.

    LivestateError
    ├── Rejected                 a message is not of the contract; counted by ``reason``
    │   └── UnknownPhase         … but its number in the node's sequence is known
    └── SnapshotUnusable         what Redis holds cannot be read back as calls

An event that the table does not know after a state is not an error: the table answers for
every pair (see :mod:`livestate.state.call`), because a lost message must not become an exception.
"""

from __future__ import annotations


class LivestateError(Exception):
    """Base of all errors of this package."""


class Rejected(LivestateError):
    """A message that is not a valid event of the contract.

    ``reason`` is one of :data:`livestate.contract.events.REJECT_REASONS` (a bounded set: it becomes
    a metric label), ``detail`` is for the log and may hold up to 200 characters of hostile text.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class UnknownPhase(Rejected):
    """A well-formed envelope with a phase this version does not know.

    A newer bridge may send it; its ``seq`` still counts, or it would look like a loss.
    """

    def __init__(self, phase: str, node: str, epoch: int, seq: int) -> None:
        super().__init__("unknown_phase", phase)
        self.node = node
        self.epoch = epoch
        self.seq = seq


class SnapshotUnusable(LivestateError):
    """A stored record cannot become a call again; ``key`` names it."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"{key}: {detail}")
        self.key = key
        self.detail = detail
