"""The states of a call and the names of its attributes, as clients and the contract spell them.

Every other module imports them from here: the transition table, the access filters, the encoders
and the generated documents.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

LiveState: TypeAlias = Literal["trying", "ringing", "early", "answered", "held"]
FinalState: TypeAlias = Literal["ended", "failed"]
State: TypeAlias = LiveState | FinalState

LIVE_STATES: Final[frozenset[str]] = frozenset(get_args(LiveState))
FINAL_STATES: Final[frozenset[str]] = frozenset(get_args(FinalState))

# ``from`` is a keyword of Python, so these two attributes are called otherwise inside.
_ON_THE_WIRE: Final = {"caller": "from", "callee": "to"}


def wire_name(attribute: str) -> str:
    """The name of an attribute in events, in Redis and on the stream."""
    return _ON_THE_WIRE.get(attribute, attribute)
