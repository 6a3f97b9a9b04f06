"""A call as it lies in Redis, and back. Readable JSON, because an engineer will look at it at
three in the morning; checked on the way back, because somebody may have edited it."""

from __future__ import annotations

import sys
from typing import Any, Final, cast, get_args

import orjson

from livestate.call import FACTS, Call, Mark, Phase, Stamp, refold
from livestate.errors import SnapshotUnusable

_WIRE: Final = tuple({"caller": "from", "callee": "to"}.get(name, name) for name in FACTS)
_NUMBERS: Final = frozenset(
    {"attempt", "setup_at", "progress_at", "answered_at", "ended_at", "sip_code"}
)
_SHARED: Final = frozenset({"company_id", "direction", "trunk", "by", "outcome", "sip_reason"})
_NUMBERS_AT: Final = tuple(at for at, name in enumerate(_WIRE) if name in _NUMBERS)
_SHARED_AT: Final = tuple(at for at, name in enumerate(_WIRE) if name in _SHARED)
_GOOD_KINDS: Final[set[tuple[type, ...]]] = set()
_FACTS: Final = {name: name for name in FACTS}
_PHASES: Final[dict[str, Phase]] = {phase: phase for phase in get_args(Phase)}
_SEQ: Final = (1 << 54) - 1
_new: Final = tuple.__new__


def score(call: Call) -> int:
    """Where a call stands in ``active_calls``: its setup, or the first we know of it (ms)."""
    return call.setup_at if call.setup_at is not None else call.marks[0].at


def encode(call: Call, versions: dict[str, int]) -> bytes:
    """One call with the versions at which its scopes last saw it ("" is all calls)."""
    _, node, dialog, call_id, state, stamp, marks, older, unconfirmed, *facts = call
    stored: dict[str, Any] = {
        "state": state, "node": node, "dialog": dialog, "call_id": call_id,
        "stamp": _split(stamp),
        "marks": [
            ((at_stamp >> 54, (at_stamp & _SEQ) >> 1, at_stamp & 1), phase, at)
            for at_stamp, phase, at in marks
        ],
        "v": versions,
    }  # fmt: skip
    if older:
        stored["older"] = {name: _split(told_at) for name, told_at in older.items()}
    if unconfirmed is not None:
        stored["unconfirmed"] = unconfirmed
    for name, told in zip(_WIRE, facts, strict=True):
        if told is not None:
            stored[name] = told
    return orjson.dumps(stored)


def decode(key: str, data: bytes) -> tuple[Call, dict[str, int]]:
    """The call and its versions. The state is folded anew from its marks: what somebody wrote
    into ``state`` by hand does not count.

    Raises :class:`~livestate.errors.SnapshotUnusable`.
    """
    try:
        stored = orjson.loads(data)
        facts = _facts(list(map(stored.get, _WIRE)))
        marks = _marks(stored["marks"])
        older = stored.get("older")
        if older is not None:
            older = {_FACTS[name]: _joined(*stamp) for name, stamp in older.items()}
        if not marks:
            raise ValueError("no marks")
        versions = stored["v"]
        for version in versions.values():
            if type(version) is not int or version < 0:
                raise ValueError(f"{version!r} is no version")
        call = refold(
            (key, sys.intern(stored["node"]), _text(stored["dialog"]), _text(stored["call_id"])),
            _joined(*stored["stamp"]), marks, older or None,
            _flag(stored.get("unconfirmed")), facts,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnusable(key, f"{type(error).__name__}: {error}"[:200]) from None
    return call, versions


def _split(stamp: Stamp) -> tuple[int, int, int]:
    """Epoch, number, and 1 for a list: a stamp has more than the 64 bits JSON parsers like."""
    return stamp >> 54, (stamp & _SEQ) >> 1, stamp & 1


def _joined(epoch: Any, seq: Any, listed: Any) -> Stamp:
    if not type(epoch) is type(seq) is type(listed) is int or epoch | seq | listed < 0:
        raise ValueError(f"{[epoch, seq, listed]} is no stamp")
    stamp: Stamp = epoch << 54 | seq << 1 | listed
    return stamp


def _marks(told: Any) -> tuple[Mark, ...]:
    # Spelled out: a call has several, and tens of thousands of calls hold up a start.
    marks = []
    for (epoch, seq, listed), phase, at in told:
        if (
            not type(epoch) is type(seq) is type(listed) is type(at) is int
            or (epoch | seq | listed | at) < 0
        ):
            raise ValueError(f"{[epoch, seq, listed, at]} is no mark")
        marks.append(_new(Mark, (epoch << 54 | seq << 1 | listed, _PHASES[phase], at)))
    return tuple(marks)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is not text")
    return value


def _flag(value: Any) -> bool | None:
    if value not in (None, True, False) or type(value) is int:
        raise ValueError(f"{value!r} is neither true nor false")
    return cast("bool | None", value)


def _facts(told: list[Any]) -> tuple[Any, ...]:
    """What was told of each of :data:`FACTS`, if it may be so: None, or a number or text."""
    kinds = tuple(map(type, told))
    if kinds not in _GOOD_KINDS:
        for name, value in zip(_WIRE, told, strict=True):
            if value is not None:
                (_whole if name in _NUMBERS else _text)(value)
        _GOOD_KINDS.add(kinds)  # most calls share theirs with many others
    for at in _NUMBERS_AT:
        if (number := told[at]) is not None and number < 0:
            raise ValueError(f"{number} is not a whole number")
    for at in _SHARED_AT:
        if (text := told[at]) is not None:
            told[at] = sys.intern(text)
    return tuple(told)
