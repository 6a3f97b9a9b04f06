"""One node of a capture while it is replayed: its numbering, and its calls as the service has them.

:class:`~livestate.devtools.replay.Replay` folds every message of the node in here, events and
lists, and answers from here when the service requests the node's list. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from livestate.contract.events import CallPhase, Sync
from livestate.contract.messages import Message
from livestate.fanout.patch import record
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import position_at

FORGET_MS: Final = 300_000  # how long an ended call stays, for late events
MOST_ENDED: Final = 10_000


class ReplayedNode:
    """The state of one node in one round of the replay. Each round has new epochs and Call-IDs, so
    it begins without the calls of the round before."""

    def __init__(self, name: str, round_: int) -> None:
        self.name = name
        self.round = round_
        self.epoch = -1
        self.seq = 0
        self._table = ActiveCalls(secret=b"", epoch="")
        self._sync_id = ""
        self._parts: set[int] = set()
        self._listed: set[str] = set()  # keys in the parts so far

    @property
    def live(self) -> int:
        """How many calls are up."""
        return self._table.live

    def number(self, epoch: int, seq: int, now: int) -> None:
        """Note that the node gave out this number. A new epoch is a restart of the node: its next
        list shows whether its calls survived (dialogs in a database) or not."""
        if epoch > self.epoch >= 0:
            deque(self._table.sweeps.restarted(self.name, now, position_at(epoch, 0)), 0)
        self.epoch, self.seq = max((epoch, seq), (self.epoch, self.seq))

    def fold(self, event: CallPhase | Sync, now: int) -> None:
        """Fold one event or one part of a list. Raises
        :class:`~livestate.contract.errors.Rejected` for a call beyond the size of the table."""
        if isinstance(event, Sync):
            self._fold_part(event, now)
        else:
            self._table.apply(event, now)
        self._table.trim(now - FORGET_MS, MOST_ENDED)

    def calls(self) -> list[Message] | None:
        """The node's list of dialogs. None between a restart of the node and the first captured
        list after it: only that list shows which calls the node still has."""
        live = [call for call in self._table.calls.values() if call.live]
        if any(call.unconfirmed for call in live):
            return None
        return [
            {name: value for name, value in record(call).items() if name != "unconfirmed"}
            | {"dialog": call.dialog, "held": call.state == "held"}
            for call in live
        ]

    def _fold_part(self, part: Sync, now: int) -> None:
        if part.epoch != self.epoch:
            return
        if part.sync_id != self._sync_id:
            self._sync_id, self._parts, self._listed = part.sync_id, set(), set()
        position = position_at(part.epoch, part.seq, from_sync=True)
        self._parts.add(part.part)
        for item in part.calls:
            key = self._table.key_of(part.node, item.dialog, item.call_id)
            self._listed.add(key)
            self._table.apply_listed(part.node, key, item, position, now)
        if len(self._parts) == part.parts:
            deque(self._table.sweeps.close_missing(part.node, position, self._listed, now), 0)
            self._sync_id = ""
