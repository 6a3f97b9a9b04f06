"""The figures of a call's audio quality: their names, units and ranges, and what is no such figure.

A source of events may add them to any event of a call: what a media proxy or a telephone measured
(RFC 3611 §4.7, the VoIP metrics of RTCP-XR; RFC 6035 carries the same in SIP). They are extras: a
figure that is not one is left out alone, and counted, so that it costs neither its event nor its
list. :mod:`livestate.contract.parse` and the bridge call this. Pure.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field

MOST_JITTER_MS: Final = 65_535  # RFC 3611 has 16 bits for delays
# name → lowest and highest value, both allowed
RANGES: Final[dict[str, tuple[float, float]]] = {
    "mos": (1, 5), "jitter_ms": (0, MOST_JITTER_MS), "loss_pct": (0, 100),
}  # fmt: skip
FIGURES: Final = tuple(RANGES)

Mos: TypeAlias = Annotated[
    float,
    Field(
        ge=1,
        le=5,
        allow_inf_nan=False,
        description="Mean opinion score, 5 is best (ITU-T P.800, estimated as by G.107). Of the "
        "call's directions the worse one.",
    ),
]
Jitter: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        le=MOST_JITTER_MS,
        allow_inf_nan=False,
        description="Interarrival jitter in ms (RFC 3550 §6.4.1), of the worse direction.",
    ),
]
Loss: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Lost packets in percent, of the worse direction.",
    ),
]


def problem(name: str, value: Any) -> str | None:
    """Why ``value``, as JSON gives it, is not this figure: one of the contract's reasons. None if
    it is, or if it is null, which means unknown."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "wrong_type"
    least, most = RANGES[name]
    return None if math.isfinite(value) and least <= value <= most else "out_of_range"


def remove_bad(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """Remove from the fields of an event, or of an item of a list, the figures that are none.
    Returns the name and the reason of each."""
    found = [(name, problem(name, fields[name])) for name in FIGURES if name in fields]
    bad = [(name, reason) for name, reason in found if reason is not None]
    for name, _ in bad:
        del fields[name]
    return bad
