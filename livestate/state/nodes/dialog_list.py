"""A node's list of dialogs (``sync``) as it comes in, in parts; the transport may lose some.

A list says which calls are up only when every part of it is here. While a part is missing or was
rejected, the list ends no call. The failure is kept with its reason: a node whose lists all fail is
shown as stale. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from livestate.contract.events import MAX_NAME_CHARS, Copies, RefusedCall, Sync

PART_LATE_MS: Final = 2_000  # behind the part before it
ASK_AGAIN_MS: Final = 2_000
LONGEST_PAUSE_MS: Final = 30_000  # between two requests to a node whose lists fail


class ListTrouble(NamedTuple):
    """Why a node has no complete list: the first failure (ms), the last reason, how many times."""

    since: int
    reason: str
    times: int

    @property
    def ask_again_ms(self) -> int:
        """A list that was rejected is likely to be rejected again: ask for it less and less often
        (2 s, doubled each time, 30 s at most)."""
        pause: int = ASK_AGAIN_MS << min(self.times, 8) - 1
        return min(pause, LONGEST_PAUSE_MS)


@dataclass(slots=True)
class Listing:
    """The parts of one list that are here.

    ``keys`` are the calls that it names. ``dialogs`` and ``call_ids`` are read from refused items.
    ``unnamed`` counts dialogs that the list does not name at all: a call that is missing from the
    list may be one of them.
    """

    sync_id: str
    epoch: int
    seq: int
    parts: int
    began: int  # when its first part came (ms)
    last: int  # when its latest part came (ms)
    have: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    dialogs: set[str] = field(default_factory=set)
    call_ids: set[str] = field(default_factory=set)
    unnamed: int = 0

    @classmethod
    def of(cls, part: Sync | Copies, now: int) -> Listing:
        return cls(part.sync_id, part.epoch, part.seq, part.parts, began=now, last=now)

    @property
    def name(self) -> tuple[str, int, int, int]:
        """Identifies this list among those of its node. ``sync_id`` alone does not: a bridge that
        was restarted may use one again."""
        return self.sync_id, self.epoch, self.seq, self.parts

    def takes(self, part: Sync | Copies) -> bool:
        """Whether ``part`` belongs to this list: two lists are never mixed."""
        return self.name == (part.sync_id, part.epoch, part.seq, part.parts)

    def add(self, part: Sync | Copies, keys: Iterable[str], now: int) -> None:
        """Note one part; the same one twice changes nothing."""
        self.last = now
        self.keys.update(keys)
        if part.part in self.have:
            return
        self.have.add(part.part)
        self.unnamed = max(self.unnamed, part.unlisted or 0)
        for refused in part.refused:
            self._refused(refused)

    @property
    def complete(self) -> bool:
        return len(self.have) == self.parts

    @property
    def missing(self) -> str:
        """The first part that is not here, as text."""
        first = next(number for number in range(1, self.parts + 1) if number not in self.have)
        return f"part {first} of {self.parts}"

    def may_name(self, dialog: str, call_id: str) -> bool:
        """Whether a refused item may be this call."""
        return dialog in self.dialogs or call_id in self.call_ids

    def _refused(self, item: RefusedCall) -> None:
        # The dialog is named by the node; the Call-ID is chosen by the caller, so it comes second.
        if item.dialog and len(item.dialog) <= MAX_NAME_CHARS:
            self.dialogs.add(item.dialog)
        elif item.call_id is not None:
            self.call_ids.add(item.call_id)
        else:
            self.unnamed += 1
