"""The weight of a call, by which calls with long texts count as several.

The contract allows 256 characters in each of six texts and 512 in a Call-ID. An ordinary call takes
2.5 kB of memory, one with the longest texts 12 kB. So that a limit on the number of calls is also a
limit on memory, each call weighs 1, and 1 more for each kilobyte of such texts. The active-calls
table adds up weights when it admits a call, :class:`~livestate.state.retention.Retention` when it
keeps an ended one. Pure.
"""

from __future__ import annotations

from operator import itemgetter
from sys import getsizeof
from typing import Final

from livestate.contract.states import FINAL_STATES
from livestate.state.call import Call
from livestate.state.call_fields import Attributes

WEIGHT_BYTES: Final = 1_024  # of text for 1 more; with all else, 1 stands for 3.2 kB at most
_CHARACTERS: Final = 250  # up to this many weigh nothing, in any alphabet
_TEXTS: Final = ("caller", "callee", "from_uri", "to_uri", "sip_reason", "detail")
_texts_of = itemgetter(*map(Attributes._fields.index, _TEXTS))


def extra_weight(call: Call) -> int:
    """What a call weighs beyond 1."""
    call_id = call.call_id
    characters = len(call_id)
    texts = _texts_of(call.attributes)
    for text in texts:
        if text:
            characters += len(text)
    if characters <= _CHARACTERS:
        return 0
    return sum(getsizeof(text or "") for text in (call_id, *texts)) // WEIGHT_BYTES


class ExtraWeights:
    """The sums of what the calls of a table weigh beyond 1: of live ones, and of ended ones."""

    def __init__(self) -> None:
        self.live = 0
        self.ended = 0
        self.by_key: dict[str, tuple[int, bool]] = {}  # key → extra weight, whether live

    def update(self, call: Call, weight: int) -> None:
        """A call is new, or has changed, and has this :func:`extra_weight`. If that is 0 and
        :attr:`by_key` is empty, there is nothing to update."""
        self.forget(call.key)
        if not weight:
            return
        live = call.state not in FINAL_STATES
        self.by_key[call.key] = weight, live
        if live:
            self.live += weight
        else:
            self.ended += weight

    def forget(self, key: str) -> None:
        """A call is no longer in the table."""
        weight, live = self.by_key.pop(key, (0, False))
        if live:
            self.live -= weight
        else:
            self.ended -= weight
