"""A place in a SIP node's numbering: the epoch, the number, and whether a list was taken there.

The fold orders all that it hears of a call by position, never by clocks or by arrival. Every module
that needs one calls :func:`position_at`; positions of one node are compared with ``<`` and ``==``.
No other module knows how the three parts are packed, but :mod:`livestate.state.phase_log`, whose
records begin with one.

A position is 16 bytes: two big-endian numbers of 8 bytes, the epoch and ``seq·2 + from_sync``. So
the order of bytes is the order of (epoch, seq, from_sync), and a call needs no object for its
position where its phase log ends with it (decision 118).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NewType

# The type checker refuses other bytes, such as a phase log.
Position = NewType("Position", bytes)

_TWO: Final = Struct(">QQ")
_pack: Final = _TWO.pack
_unpack: Final = _TWO.unpack
_HIGHEST: Final = (1 << 54) - 1  # the contract allows numbers up to 2⁵³ - 1

NEVER: Final = Position(b"")  # before every position: no list has come, no call is known
NOWHERE: Final = Position(_pack(0, 0))  # at or before all that a node can number


def position_at(epoch: int, seq: int, from_sync: bool = False) -> Position:
    """The position of event ``seq``, or with ``from_sync`` of a list of dialogs that was true at
    ``seq``: it comes after the event ``seq`` and before the event ``seq + 1``."""
    return _pack(epoch, seq << 1 | from_sync)  # type: ignore[return-value]  # NewType is a call


def unpack(position: Position) -> tuple[int, int, int]:
    """(epoch, seq, 1 for a list or 0 for an event). ``position`` is at least NOWHERE."""
    epoch, number = _unpack(position)
    return epoch, number >> 1, number & 1


def epoch_of(position: Position) -> int:
    """The epoch alone; -1 of :data:`NEVER`."""
    return int.from_bytes(position[:8], "big") if position else -1


def is_from_sync(position: Position) -> bool:
    """Whether a list of dialogs says it, not an event."""
    return bool(position) and position[-1] & 1 == 1


def as_from_sync(position: Position) -> Position:
    """The position of a list that was true at the same number."""
    epoch, number = _unpack(position)
    return Position(_pack(epoch, number | 1))


def just_before(position: Position) -> Position:
    """The last position that is lower; of NOWHERE that is NEVER."""
    epoch, number = _unpack(position)
    if number:
        return Position(_pack(epoch, number - 1))
    return Position(_pack(epoch - 1, _HIGHEST)) if epoch else NEVER


def end_of_epoch(position: Position) -> Position:
    """The last position of the same epoch."""
    return Position(_pack(epoch_of(position), _HIGHEST))
