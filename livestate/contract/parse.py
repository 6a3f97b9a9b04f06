"""From bytes to an event of the contract: :func:`parse` for messages, :func:`parse_batch` for those
with several events, :func:`parse_cdr` for CDRs.

The pipeline, the bridge and the commands call these for everything that comes in. The result is a
model of :mod:`livestate.contract.events`, or :class:`~livestate.contract.errors.Rejected` is raised
with one of the contract's reasons. Nothing else is raised, whatever the bytes are.

A caller chooses display names, Call-IDs and header texts. So a text for people that is too long, or
that holds half a surrogate pair, is repaired, and a bad item of a list is refused alone: else a
caller could hide a call by its name, or hide other calls of the same node. A figure of the quality
that is none is left out alone: ``left_out`` of each function is called with its name and reason.
Everything else that is not of the contract is rejected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from livestate.contract.errors import Rejected, UnknownPhase
from livestate.contract.events import (
    CALL_PHASES,
    CDR,
    ENVELOPE,
    EVENT,
    LIST_PHASES,
    LISTED_ITEM,
    MAX_CALLS_A_PART,
    MAX_EVENTS_A_BATCH,
    MAX_MESSAGE_BYTES,
    SUBJECT_PREFIX,
    SUBJECTS,
    CallPhase,
    Copies,
    Ended,
    Failed,
    Heartbeat,
    Lost,
    RefusedCall,
    Sync,
    batches,
)
from livestate.contract.quality import remove_bad
from livestate.contract.validation import (
    SPACED_COLON,
    first_problem,
    items_of,
    mendable,
    refuse_repeated_keys,
)


class BadEvent(NamedTuple):
    """An event of a batch that is not of the contract: why, and its own bytes."""

    rejected: Rejected
    data: bytes


# Called with the name of a field that was left out of its event, and the contract's reason.
LeftOut: TypeAlias = Callable[[str, str], None]
Parsed: TypeAlias = CallPhase | Heartbeat | Sync | Copies | Lost
# The adapter's own ``validate_json`` hands on options that are never set: 0.3 µs an event.
_event_of = EVENT.validator.validate_json


def ignore(name: str, reason: str) -> None:
    """A :data:`LeftOut` that does nothing."""


def parse(subject: str, data: bytes, left_out: LeftOut = ignore) -> Parsed:
    """One message from ``call.events.<phase>`` into one event.

    Raises :class:`~livestate.contract.errors.Rejected`; for a phase that this version does not
    know, :class:`~livestate.contract.errors.UnknownPhase` if the envelope at least is sound.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    phase = SUBJECTS.get(subject)
    if phase is None:
        raise _unknown_phase(subject, data)
    try:
        event: Parsed = _event_of(data)
    except ValidationError as error:
        event = _repaired(EVENT, data, error, left_out, listed=phase in LIST_PHASES)
    if event.phase != phase:
        raise Rejected("phase_mismatch", f"{event.phase} on {subject}")
    if phase in LIST_PHASES:
        if (event.phase == "sync" or event.phase == "copies") and event.part > event.parts:
            raise Rejected("out_of_range", f"part {event.part} of {event.parts}")
        return event
    # pydantic takes the last of two equal keys, another reader may take the first. To look for them
    # costs a second parse, so count first: every key has its colon, and as many colons as fields
    # that were set means that no key comes twice. More colons (in a text, or of unknown keys) or a
    # space before one only lead to the slower look.
    if _may_repeat_keys(data, len(event.__pydantic_fields_set__)):
        refuse_repeated_keys(data)
    return event


def parse_batch(data: bytes, left_out: LeftOut = ignore) -> Sequence[CallPhase | BadEvent]:
    """One message of ``call.events.batch`` into its events, in its order. An event that is not of
    the contract is in its place as a :class:`BadEvent`; the others are what :func:`parse` makes of
    each of them alone.

    Raises :class:`~livestate.contract.errors.Rejected` for a message that is no list of events.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    try:
        events: tuple[CallPhase, ...] = batches().validate_json(data)
    except ValidationError:
        return _one_by_one(data, left_out)
    if _may_repeat_keys(data, sum([len(event.__pydantic_fields_set__) for event in events])):
        return _one_by_one(data, left_out)
    return events


def _may_repeat_keys(data: bytes, keys: int) -> bool:
    return data.count(b":") != keys and (
        data.count(b'":') != keys or SPACED_COLON.search(data) is not None
    )


def _one_by_one(data: bytes, left_out: LeftOut) -> list[CallPhase | BadEvent]:
    found: list[CallPhase | BadEvent] = []
    for value, item in items_of(data, MAX_EVENTS_A_BATCH):
        phase = value.get("phase") if isinstance(value, dict) else None
        try:
            if not isinstance(phase, str):
                raise Rejected("missing_field", "phase of an event of a batch")
            if phase not in CALL_PHASES and SUBJECT_PREFIX + phase in SUBJECTS:
                raise Rejected("phase_mismatch", f"{phase} in a batch of events of calls")
            found.append(cast("CallPhase", parse(SUBJECT_PREFIX + phase, item, left_out)))
        except Rejected as rejected:
            found.append(BadEvent(rejected, item))
    return found


def parse_cdr(data: bytes, left_out: LeftOut = ignore) -> Ended | Failed:
    """One CDR of ``cdr.raw``: the terminal event of a call, made durable. It has the position of
    that event, so to fold both is to fold one.

    Raises :class:`~livestate.contract.errors.Rejected`.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    try:
        cdr: Ended | Failed = CDR.validate_json(data)
    except ValidationError as error:
        cdr = _repaired(CDR, data, error, left_out, listed=False)
    return cdr


def listed_problem(item: bytes, phase: str) -> Rejected | None:
    """Why one item of a list of this phase is no :class:`~livestate.contract.events.SyncedCall` (of
    ``copies``: no ``CopiedCall``); None if it is one."""
    try:
        LISTED_ITEM[phase].validate_json(item)
    except ValidationError as error:
        return first_problem(error)
    return None


def _unknown_phase(subject: str, data: bytes) -> Rejected:
    try:
        envelope = ENVELOPE.validate_json(data)
    except ValidationError:
        return Rejected("unknown_phase", subject[:80])
    return UnknownPhase(subject[:80], envelope.node, envelope.epoch, envelope.seq)


def _repaired(
    adapter: TypeAdapter[Any],
    data: bytes,
    error: ValidationError,
    left_out: LeftOut,
    *,
    listed: bool,
) -> Any:
    """The event of a message that failed validation, if it can be repaired."""
    value = mendable(data, error, listed=listed)
    if listed and isinstance(value, dict):
        return _repaired_list(adapter, value, left_out)
    bad = remove_bad(value) if isinstance(value, dict) else []
    event = _validated(adapter, value)
    for name, reason in bad:  # not of an event that is rejected
        left_out(name, reason)
    return event


def _repaired_list(adapter: TypeAdapter[Any], value: dict[str, Any], left_out: LeftOut) -> Any:
    """A part of a list with its good items; the others become its ``refused``."""
    items = value.get("calls")
    if not isinstance(items, list) or len(items) > MAX_CALLS_A_PART:
        return _validated(adapter, value)  # which raises and says why
    phase = "copies" if value.get("phase") == "copies" else "sync"
    good, refused, bad = [], [], []
    for item in items:
        bad_of_item = remove_bad(item) if isinstance(item, dict) else []
        problem = listed_problem(json.dumps(item).encode(), phase)
        if problem is None:
            good.append(item)
            bad += bad_of_item
        else:
            refused.append(_refused(item, problem))
    part = _validated(adapter, value | {"calls": good})
    part._refused = tuple(refused)
    for name, reason in bad:
        left_out(name, reason)
    return part


def _refused(item: Any, problem: Rejected) -> RefusedCall:
    fields = item if isinstance(item, dict) else {}
    dialog, call_id = _text(fields.get("dialog")), _text(fields.get("call_id"))
    return RefusedCall(problem.reason, problem.detail, dialog, call_id)


def _validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as again:
        raise first_problem(again) from None
    except RecursionError:
        raise Rejected("not_json", "nested too deep") from None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
