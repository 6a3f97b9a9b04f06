"""The calls that are up or ended lately, and their numbers as digits.

Panels about destinations and hints read them from a view while a user looks, in steps; nothing is
counted for them in the path of an event. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from livestate.state.call import Call
from livestate.state.view import View

LATELY_MS: Final = 300_000  # as long as ended calls are remembered by default
# What people write between digits (RFC 3966 §5.1.1, and spaces).
_SEPARATORS: Final = dict.fromkeys(map(ord, " -.()/\u00a0"))
MAX_DIGITS: Final = 18


def recent(view: View, oldest: int) -> Iterator[Call | None]:
    """Each call of the view that is up, or that ended at ``oldest`` (ms) or later; None for a row
    that is neither. It is the picture of this moment, however long the reading takes."""
    for _, call, _ in view.history():
        fits = call is not None and (call.live or (not call.lost and call.over_at >= oldest))
        yield call if fits else None


def digits_of(text: str | None) -> str:
    """A number as ``+`` and digits where its country code is known, else as it is dialled; empty if
    it is no number."""
    if text is None:
        return ""
    # Nearly all are written without separators.
    number = text if text.isascii() and text[1:].isdecimal() else text.translate(_SEPARATORS)
    if number.startswith("00"):
        number = "+" + number[2:]
    plain = number[1:] if number.startswith("+") else number
    return number[:MAX_DIGITS] if plain.isascii() and plain.isdecimal() else ""
