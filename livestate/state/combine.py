"""Two records of one call become one: where a table adopts the calls of another, and where a warm
engine has heard some of a call's events and Redis holds others. Pure.
"""

from __future__ import annotations

from typing import Any

from livestate.state.call import Call, with_parts
from livestate.state.call_fields import FIELDS, field_values, from_field_values
from livestate.state.phase_log import each_record, with_record
from livestate.state.position import NEVER, Position


def combine(one: Call, other: Call) -> Call:
    """Two records of one call, of which each has heard some of its events: the call that has heard
    all of them. The key and the flag ``unconfirmed`` are those of ``other``."""
    log = one.phase_log
    for record in each_record(other.phase_log):
        log = with_record(log, record)
    position = max(one.position, other.position)
    values: list[Any] = []
    positions: dict[str, Position] = {}
    values_of_both = map(field_values, (one.attributes, other.attributes))
    for name, *pair in zip(FIELDS, *values_of_both, strict=True):
        heard_at = [
            NEVER if value is None else (call.attribute_positions or {}).get(name, call.position)
            for call, value in zip((one, other), pair, strict=True)
        ]
        latest = heard_at[1] >= heard_at[0]
        values.append(pair[latest])
        if pair[latest] is not None and heard_at[latest] != position:
            positions[name] = heard_at[latest]
    unconfirmed = other.unconfirmed
    if unconfirmed is None and one.unconfirmed is not None:
        unconfirmed = False  # a client that saw it marked must see that it is confirmed
    attributes = from_field_values(values)
    return with_parts(other, position, log, positions or None, unconfirmed, attributes)
