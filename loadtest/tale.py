"""The tale of a call: what happened to it and when it was *scheduled*, carried by the call itself.

The publisher writes it into ``detail`` of each event, cumulatively as the contract has it:
``s1795521019763,r512,a4210`` is a setup at that millisecond, ringing 512 ms later, answered 4,210
ms later. So a client can tell, whatever was conflated on the way,

* the scheduled time of **every** event behind what it is shown: one that shares a frame with its
  successor is measured too, from its own time (no coordinated omission, none by conflation);
* what the record must look like: a patch that was lost is missed at the next one, even when the
  digest, which only adds versions, agrees again.

A call's end carries no ``detail`` to dashboards; there ``ended_at`` is the scheduled time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

LETTERS: Final = {
    "setup": "s", "ringing": "r", "early_media": "e", "reroute": "n", "answered": "a",
    "hold": "h", "resume": "u", "transfer": "t", "ended": "z", "failed": "f",
}  # fmt: skip
_STATES: Final = {
    "s": "trying", "r": "ringing", "e": "early", "n": "trying", "a": "answered", "h": "held",
    "u": "answered", "t": "answered", "m": "answered",
}  # fmt: skip
_FACTS: Final = {"s": "setup_at", "r": "progress_at", "e": "progress_at", "a": "answered_at"}
MOVED: Final = "m"  # a transfer to another company: there the tale begins anew


class Tale(NamedTuple):
    """What a tale says: when each event was scheduled (ms), what the record must have, and how
    many events lie before the last move to another company."""

    stamps: tuple[int, ...]
    must_have: dict[str, Any]
    before_move: int


def told(letters: list[tuple[str, int]]) -> str:
    """Letters with their scheduled times as a tale."""
    first = letters[0][1]
    head = f"{letters[0][0]}{first}"
    return ",".join([head, *(f"{letter}{at - first}" for letter, at in letters[1:])])


@lru_cache(maxsize=50_000)  # a hundred clients are shown the same tale
def read(text: str) -> Tale | None:
    """The tale in a ``detail``; None if somebody else wrote it."""
    stamps: list[int] = []
    must_have: dict[str, Any] = {}
    before_move = 0
    for word in text.split(","):
        letter, number = word[:1], word[1:]
        if letter not in _STATES or not number.isdigit():
            return None
        at = int(number) + (stamps[0] if stamps else 0)
        if letter == MOVED:
            before_move = len(stamps)
        stamps.append(at)
        must_have["state"] = _STATES[letter]
        if letter in _FACTS:
            must_have[_FACTS[letter]] = at
    return Tale(tuple(stamps), must_have, before_move)
