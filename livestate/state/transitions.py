"""What may follow what: the state machine of one call, as a table.

The fold (:mod:`livestate.state.call`) walks this table and knows no other rule. The diagram in
``docs/call-states.md`` is drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from livestate.contract.states import FINAL_STATES, State

Phase: TypeAlias = Literal[
    "setup", "ringing", "early_media", "reroute", "answered", "hold", "resume", "transfer",
    "notice", "ended", "failed", "lost",
]  # fmt: skip
PHASES: Final[frozenset[str]] = frozenset(get_args(Phase))

# state → phase → state. A call begins as "trying". A missing pair leaves the state as it is: the
# event is late, repeated, or a user agent's mistake, and the pipeline counts it as irregular.
TRANSITIONS: Final[Mapping[State, Mapping[Phase, State]]] = MappingProxyType({
    "trying": {
        "setup": "trying", "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "trying", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "ringing": {
        "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "ringing", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "early": {
        "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "early", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "answered": {
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "answered", "ended": "ended", "failed": "ended", "lost": "ended",
    },
    "held": {
        "hold": "held", "resume": "answered", "transfer": "held", "notice": "held",
        "ended": "ended", "failed": "ended", "lost": "ended",
    },
    "ended": {"notice": "ended"},
    "failed": {"notice": "failed"},
})  # fmt: skip

# The same without a missing pair, for the walk along a call's phases. "lost" leaves the state as it
# is: it counts where no phase comes after it, and then the table above says what it does.
STEPS: Final[dict[State, dict[Phase, State]]] = {
    state: {
        phase: state if phase == "lost" else after.get(phase, state) for phase in get_args(Phase)
    }
    for state, after in TRANSITIONS.items()
}

BEFORE_ANSWER: Final = frozenset({"trying", "ringing", "early"})
# Of these phases the first event counts: a call is answered once and ends once, and one that comes
# again with a higher number is a retransmission. Of all other phases the last event counts.
FIRST_COUNTS: Final = FINAL_STATES | {"answered"}
# These count also if a list of dialogs that was taken later contradicts them: a call cannot un-end,
# and some nodes cannot tell in a list whether a call is held.
ALWAYS_COUNT: Final = FINAL_STATES | {"hold", "resume"}

# The event that would have led to a state that a list of dialogs gives.
PHASE_OF_LISTED: Final[Mapping[str, Phase]] = {
    "trying": "setup",
    "ringing": "ringing",
    "early": "early_media",
    "answered": "answered",
    "held": "hold",
}
