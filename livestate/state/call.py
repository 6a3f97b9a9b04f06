"""One call and how events fold into it: ``begin(key, event)``, then ``evolve(call, event)``.

The active-calls table calls both for every event; what a list of dialogs does to a call is
:mod:`livestate.state.reconcile`. Nothing here raises, waits or reads a clock, and a call never
changes: each function returns another one, or the same object if the event brings nothing new.

Events may come in any order, twice, late, or not at all. The final call must be the same, so a call
does not store its state only. It stores what the state is computed from:

* its **phase log** (:mod:`livestate.state.phase_log`): for each phase the position of the event
  that counts, which is the last one of that phase (of an answer and of an end the first one). There
  are twelve phases, so the log stays short however many events there were. The state is where the
  transition table leads when the phases are walked in the order of their positions.
* its **attributes**: for each one the value from the latest event that carried it. Events are
  cumulative (each repeats what its node knows of the call), so nearly all values come from the
  latest event; ``attribute_positions`` holds the position of each value that is older than that.

Order is the order of positions (:mod:`livestate.state.position`): the node's own numbers, neither
clocks nor arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeAlias

from livestate.contract.events import CallPhase, Facts
from livestate.contract.states import FINAL_STATES, State
from livestate.state.acyclic import mypyc_attr
from livestate.state.call_fields import (
    FIELDS,
    Attributes,
    CallFields,
    field_values,
    from_field_values,
)
from livestate.state.phase_log import (
    LAST_FROM,
    LAST_TO,
    SHIFTED,
    PhaseLog,
    PhaseRecord,
    has_phase,
    last_at,
    pack,
    records_of,
    state_after,
    with_record,
)
from livestate.state.position import Position
from livestate.state.transitions import ALWAYS_COUNT, BEFORE_ANSWER

# The position of the latest event or list if the phase log does not end with it, the positions of
# older attributes, and whether the call is unconfirmed. Nearly all calls have None instead.
Rare: TypeAlias = tuple[Position | None, Mapping[str, Position] | None, bool | None]
# One object for all calls that a restart marked, and for all that a list confirmed again.
_FLAGS: Final[dict[bool, Rare | None]] = {flag: (None, None, flag) for flag in (True, False)}


@mypyc_attr(acyclic=True)  # see livestate.state.acyclic
class Call(CallFields):
    """A call as its events make it. Nothing assigns to a call once it is made: readers keep one
    while the table goes on.

    It has slots, which the interpreter reads five times as fast as the fields of a named tuple, and
    the fold reads about thirty of them for an event (``python -m bench.gate --only fold``).
    """

    __slots__ = ("call_id", "dialog", "key", "node", "phase_log", "rare", "state")

    def __init__(
        self,
        key: str,
        node: str,
        dialog: str,
        call_id: str,
        state: State,
        position: Position,
        phase_log: PhaseLog,
        attribute_positions: Mapping[str, Position] | None,
        unconfirmed: bool | None,
        attributes: Attributes,
    ) -> None:
        self.key = key  # the opaque name of the call, see ``ActiveCalls.key_of``
        # What makes two events be of one call: these three.
        self.node = node
        self.dialog = dialog
        self.call_id = call_id
        self.state = state
        self.phase_log = phase_log
        self.attributes = attributes
        # Nearly always the latest event is the last of the log, and its position is kept there.
        if position == phase_log[LAST_FROM:LAST_TO]:
            if attribute_positions is not None:
                self.rare: Rare | None = None, attribute_positions, unconfirmed
            else:
                self.rare = None if unconfirmed is None else _FLAGS[unconfirmed]
        else:
            self.rare = position, attribute_positions, unconfirmed

    @property
    def position(self) -> Position:
        """Of the latest event or list that the call was heard of in."""
        rare = self.rare
        if rare is None or rare[0] is None:
            return self.phase_log[LAST_FROM:LAST_TO]  # type: ignore[return-value]
        return rare[0]

    @property
    def attribute_positions(self) -> Mapping[str, Position] | None:
        """The positions of the attributes that are older than the call's, if there are any."""
        return None if self.rare is None else self.rare[1]

    @property
    def unconfirmed(self) -> bool | None:
        """None: it never was. A client that saw True must see False."""
        return None if self.rare is None else self.rare[2]

    @property
    def identity(self) -> tuple[str, str, str]:
        """(node, dialog, Call-ID)."""
        return self.node, self.dialog, self.call_id

    def replaced(self, **parts: Any) -> Call:
        """The call with other ``parts``, named like the arguments of ``Call``."""
        return Call(**(dict(zip(PARTS, _parts_of(self), strict=True)) | parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and _parts_of(self) == _parts_of(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Call{_parts_of(self)}"

    @property
    def live(self) -> bool:
        return self.state not in FINAL_STATES

    @property
    def lost(self) -> bool:
        """The call is missing from its node's list, and no event says how it ended."""
        if self.state not in FINAL_STATES:
            return False
        return not has_phase(self.phase_log, "ended") and not has_phase(self.phase_log, "failed")

    @property
    def phase_records(self) -> tuple[PhaseRecord, ...]:
        """The phases of the call, in the order of their positions."""
        return records_of(self.phase_log)

    @property
    def conclusion(self) -> str:
        """The outcome of a call that is over, also where its node did not state one."""
        outcome = self.attributes.outcome
        if outcome is not None:
            return outcome
        return "lost" if self.lost else "answered" if self.state == "ended" else "failed"

    @property
    def over_at(self) -> int:
        """When a call that is over ended, or was found to be over (ms)."""
        ended_at = self.attributes.ended_at
        return last_at(self.phase_log) if ended_at is None else ended_at


PARTS: Final = (
    "key", "node", "dialog", "call_id", "state", "position", "phase_log", "attribute_positions",
    "unconfirmed", "attributes",
)  # fmt: skip
_parts_of = attrgetter(*PARTS)

# What Attributes(…) does, without passing its arguments twice: the fold runs 5 % faster
# (``python -m bench.gate --only fold``).
new: Final = tuple.__new__
_COUNT: Final = len(Attributes._fields)
_QUALITY: Final = _COUNT - 1  # where Attributes has the quality, and a model the first figure of it
_UNMEASURED: Final = [None, None, None]
# A model finds each of its fields through a ``__getattr__`` of its class; its dict is four times
# as quick, and gives all at once.
_place_of: Final = itemgetter("epoch", "seq", "phase", "ts")


def attributes_of(carried: Facts) -> Attributes:
    """The attributes that an event, or an item of a list, carries. They are its first fields, in
    this order (tests/unit/state/test_call.py): a slice takes half the time of 17 look-ups. Its last
    three are the figures of the quality."""
    values = [*carried.__dict__.values()]
    quality = values[_QUALITY : _QUALITY + 3]
    if quality != _UNMEASURED:
        values[_QUALITY] = tuple(quality)
    return new(Attributes, values[:_COUNT])


def begin(key: str, event: CallPhase) -> Call:
    """The call that is known by this one event: its first, or one from the middle."""
    epoch, seq, phase, at = _place_of(event.__dict__)
    log = pack(epoch, seq << 1, SHIFTED[phase] | at)
    node, dialog, call_id = event.node, event.dialog or "", event.call_id
    attributes = attributes_of(event)
    position: Position = log[LAST_FROM:LAST_TO]  # type: ignore[assignment]
    return rebuild(key, node, dialog, call_id, position, log, None, None, attributes)


def evolve(call: Call, event: CallPhase, state_counts: bool = True) -> Call:
    """``call`` and one more of its events, however late or often it comes.

    ``state_counts`` False adds attributes only: a list of the node that was taken later decides on
    the state. Ends, holds and resumes count all the same (:data:`ALWAYS_COUNT`).
    Returns the same object if the event brings nothing new.
    """
    epoch, seq, phase, at = _place_of(event.__dict__)
    record = pack(epoch, seq << 1, SHIFTED[phase] | at)
    log = call.phase_log
    if state_counts or phase in ALWAYS_COUNT:
        log = with_record(log, record)
    position: Position = record[LAST_FROM:LAST_TO]  # type: ignore[assignment]
    return merge_into(call, position, log, attributes_of(event))


def rebuild(
    key: str,
    node: str,
    dialog: str,
    call_id: str,
    position: Position,
    log: PhaseLog,
    positions: Mapping[str, Position] | None,
    unconfirmed: bool | None,
    attributes: Attributes,
) -> Call:
    """The call that this log and these attributes make. Its state is computed here, nowhere else.

    ``log`` has at least one record.
    """
    state = state_after(log)
    if state in _REFINED_BY_ATTRIBUTES:
        state = _refined(state, log, attributes)
    return Call(
        key, node, dialog, call_id, state, position, log, positions, unconfirmed, attributes
    )


def with_parts(
    old: Call,
    position: Position,
    log: PhaseLog,
    positions: Mapping[str, Position] | None,
    unconfirmed: bool | None,
    attributes: Attributes,
) -> Call:
    """``old``, of which this is known now. Its state is computed anew."""
    return rebuild(
        old.key,
        old.node,
        old.dialog,
        old.call_id,
        position,
        log,
        positions,
        unconfirmed,
        attributes,
    )


_REFINED_BY_ATTRIBUTES: Final = BEFORE_ANSWER | {"failed"}


def _refined(state: State, log: PhaseLog, attributes: Attributes) -> State:
    """The state where events were lost, but the attributes of later ones show that they were."""
    if attributes.answered_at is not None:
        return "ended" if state == "failed" else "answered"
    if (
        state == "trying"
        and attributes.progress_at is not None
        and (attributes.attempt or 1) == 1  # else the first attempt may have rung, not this one
        and not has_phase(log, "reroute")
    ):
        return "ringing"
    return state


def merge_into(call: Call, position: Position, log: PhaseLog, attributes: Attributes) -> Call:
    """``call`` with the attributes that were heard at ``position``: of each the latest wins."""
    if position <= call.position:
        return merge_late(call, position, log, attributes)
    known = call.attributes
    positions: dict[str, Position] | None = None
    for carried, old in zip(attributes, known):  # noqa: B905 - of equal length
        if carried is None and old is not None:
            keeps_older = True
            break
    else:
        keeps_older = (old := known[_QUALITY]) is not None and old != attributes[_QUALITY]
    if keeps_older:
        # Rare, for events are cumulative: a value, or one figure of the quality, stays from before.
        positions = _positions_of_older(call, attributes) or None
        attributes = merge(known, attributes)
    unconfirmed = None if call.rare is None else once_confirmed(call)
    return with_parts(call, position, log, positions, unconfirmed, attributes)


def _positions_of_older(call: Call, attributes: Attributes) -> dict[str, Position]:
    """The positions of the values that ``call`` has and ``attributes`` lack."""
    before: Mapping[str, Position] = call.attribute_positions or {}
    positions: dict[str, Position] = {}
    values = zip(FIELDS, field_values(attributes), field_values(call.attributes), strict=True)
    for name, carried, old in values:
        if carried is None and old is not None:
            positions[name] = before.get(name, call.position)
    return positions


def merge(known: Attributes, attributes: Attributes) -> Attributes:
    """``attributes``, and what is ``known`` where they have no value."""
    pairs = zip(field_values(attributes), field_values(known), strict=True)
    return from_field_values([old if carried is None else carried for carried, old in pairs])


def merge_late(call: Call, position: Position, log: PhaseLog, attributes: Attributes) -> Call:
    """``call`` with attributes that are older than its latest: each fills a gap, or replaces a
    value that is older still. The same object if they do neither and ``log`` is its own."""
    positions = dict(call.attribute_positions) if call.attribute_positions else {}
    merged = field_values(call.attributes)
    for index, (name, carried, old) in enumerate(
        zip(FIELDS, field_values(attributes), merged, strict=True)
    ):
        if carried is not None and (old is None or position > positions.get(name, call.position)):
            merged[index] = carried
            positions[name] = position
    if log is call.phase_log and positions == (call.attribute_positions or {}):
        return call
    return with_parts(
        call, call.position, log, positions or None, call.unconfirmed, from_field_values(merged)
    )


def once_confirmed(call: Call) -> bool | None:
    """The flag ``unconfirmed`` of the call once it is confirmed: None if no client saw it set."""
    return None if call.unconfirmed is None else False


def looks_the_same(before: Call, after: Call) -> bool:
    """Whether clients see no difference: positions and the phase log are not shown."""
    return (
        before.state == after.state
        and before.attributes == after.attributes
        and before.unconfirmed == after.unconfirmed
    )
