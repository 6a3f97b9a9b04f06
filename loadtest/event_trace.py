"""The trace of a call: each of its events with its *scheduled* time, carried by the call itself.

The publisher writes the trace into ``detail`` of each event, cumulatively like the contract's other
fields: ``s1795521019763,r512,a4210`` is a setup at that millisecond, ringing 512 ms later, answered
4,210 ms later. Whatever was conflated on the way, a client can derive from it

* the scheduled time of **every** event behind the state it receives: an event that shares a frame
  with its successor is measured from its own time (no coordinated omission by conflation);
* what the record must contain: a lost patch is detected at the next one, even if the digest, which
  only adds versions, agrees again.

A call's end carries no ``detail`` to dashboards; there ``ended_at`` is the scheduled time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

NODES: Final = "load"  # nodes of the load test are load-1, load-2 …; others carry no trace
LETTERS: Final = {
    "setup": "s", "ringing": "r", "early_media": "e", "reroute": "n", "answered": "a",
    "hold": "h", "resume": "u", "transfer": "t", "ended": "z", "failed": "f",
}  # fmt: skip
_STATES: Final = {
    "s": "trying", "r": "ringing", "e": "early", "n": "trying", "a": "answered", "h": "held",
    "u": "answered", "t": "answered", "m": "answered",
}  # fmt: skip
_FACTS: Final = {"s": "setup_at", "r": "progress_at", "e": "progress_at", "a": "answered_at"}
MOVED: Final = "m"  # a transfer to another company, for which the trace starts over


class EventTrace(NamedTuple):
    """A parsed trace: when each event was scheduled (ms), what the record must contain, and how
    many events precede the last move to another company."""

    stamps: tuple[int, ...]
    must_have: dict[str, Any]
    before_move: int


def write(letters: list[tuple[str, int]]) -> str:
    """Letters with their scheduled times (ms) as a trace."""
    first = letters[0][1]
    head = f"{letters[0][0]}{first}"
    return ",".join([head, *(f"{letter}{at - first}" for letter, at in letters[1:])])


def ours(record: dict[str, Any]) -> bool:
    """Whether a node of the load test sent the events of this call."""
    return str(record.get("node", "")).startswith(f"{NODES}-")


@lru_cache(maxsize=50_000)  # a hundred clients receive the same trace
def read(text: str) -> EventTrace | None:
    """The trace in a ``detail``; None if it holds something else."""
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
    return EventTrace(tuple(stamps), must_have, before_move)
